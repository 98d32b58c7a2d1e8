"""Colours of tracks in a genome browser."""

from __future__ import annotations

import re
from collections.abc import Sequence

Colour = tuple[int, int, int]

#: Okabe and Ito's palette, and darker shades of it; distinguishable by the colour-blind, readable on white.
PALETTE: tuple[Colour, ...] = (
    (0, 114, 178),
    (213, 94, 0),
    (0, 158, 115),
    (204, 121, 167),
    (230, 159, 0),
    (86, 180, 233),
    (100, 100, 100),
    (120, 60, 140),
    (0, 76, 119),
    (142, 63, 0),
    (0, 105, 77),
    (136, 81, 111),
)

#: What the Roadmap project's browser shows assays in, about.
ASSAYS: dict[str, Colour] = {
    "H3K4me3": (200, 0, 0),
    "H3K4me1": (215, 140, 0),
    "H3K27ac": (240, 80, 0),
    "H3K9ac": (240, 80, 0),
    "H3K36me3": (0, 128, 0),
    "H3K79me2": (0, 160, 90),
    "H3K27me3": (110, 110, 110),
    "H3K9me3": (100, 60, 160),
    "DNase": (40, 40, 40),
    "ATAC": (40, 40, 40),
    "CTCF": (0, 90, 180),
}


def colours_of(kinds: Sequence[str]) -> list[Colour]:
    """A colour for each column's kind (a track's assay, a dimension's name): an assay's own, else the palette's."""
    others = [kind for kind in dict.fromkeys(kinds) if plain(kind) not in ASSAYS]
    known = {kind: PALETTE[place % len(PALETTE)] for place, kind in enumerate(others)}
    return [ASSAYS.get(plain(kind), known.get(kind, PALETTE[0])) for kind in kinds]


def plain(assay: str) -> str:
    """An assay without what some labs add to its name: ``ATAC`` for ``ATAC-seq``."""
    return re.sub(r"[-_ ]?seq$", "", assay, flags=re.IGNORECASE)
