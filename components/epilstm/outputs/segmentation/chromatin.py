"""Which chromatin state a state of the segmentation is like, by the signal that it carries; and the colours of these.

Names and colours are those of the Roadmap project's 15-state ChromHMM model, as genome browsers show it, with active
enhancers from its 18-state model, insulators from ENCODE's model and accessible elements without marks from ENCODE's
registry of elements.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from epilstm.outputs.segmentation.colours import Colour
from epilstm.tracks.identity import TrackSet


@dataclass(frozen=True)
class Kind:
    """A kind of chromatin state: its mnemonic, its name and its colour."""

    mnemonic: str
    name: str
    colour: Colour


TSS = Kind("TssA", "active TSS", (255, 0, 0))
TSS_FLANK = Kind("TssAFlnk", "flanking active TSS", (255, 69, 0))
TSS_BIVALENT = Kind("TssBiv", "bivalent or poised TSS", (205, 92, 92))
ENHANCER_ACTIVE = Kind("EnhA", "active enhancer", (255, 195, 77))
ENHANCER = Kind("Enh", "enhancer", (255, 255, 0))
ENHANCER_GENIC = Kind("EnhG", "genic enhancer", (194, 225, 5))
ENHANCER_BIVALENT = Kind("EnhBiv", "bivalent enhancer", (189, 183, 107))
TRANSCRIBED = Kind("Tx", "strong transcription", (0, 128, 0))
TRANSCRIBED_WEAK = Kind("TxWk", "weak transcription", (0, 100, 0))
ZNF = Kind("ZNF", "ZNF genes and repeats", (102, 205, 170))
HETEROCHROMATIN = Kind("Het", "heterochromatin", (138, 145, 208))
POLYCOMB = Kind("ReprPC", "repressed, Polycomb", (128, 128, 128))
POLYCOMB_WEAK = Kind("ReprPCWk", "weakly repressed, Polycomb", (192, 192, 192))
INSULATOR = Kind("CTCF", "insulator", (10, 190, 254))
OPEN = Kind("Open", "accessible, without marks", (6, 218, 147))
QUIESCENT = Kind("Quies", "quiescent, low signal", (255, 255, 255))

#: What an assay speaks for; names are compared without case, punctuation and a "seq" at the end.
ROLES: Mapping[str, tuple[str, ...]] = {
    "promoter": ("H3K4ME3",),
    "enhancer": ("H3K4ME1",),
    "active": ("H3K27AC", "H3K9AC"),
    "transcribed": ("H3K36ME3", "H3K79ME2"),
    "polycomb": ("H3K27ME3",),
    "heterochromatin": ("H3K9ME3",),
    "insulator": ("CTCF",),
    "open": ("DNASE", "DNASEI", "ATAC"),
}
#: Roles of which there must be at least two: with fewer, nearly every state would be of one kind.
DEFINING = ("promoter", "enhancer", "transcribed", "polycomb", "heterochromatin")

#: Mean standardised signal (over cell types) from which a state carries an assay, and carries it strongly.
CARRIED, STRONG = 0.5, 1.0
#: A mark is part of what a state is if it has at least this share of the signal of the state's main one.
SHARE = 1 / 3


def roles_of(assays: Sequence[str]) -> dict[str, list[int]]:
    """Role -> places of the assays that speak for it; roles without an assay are absent."""
    plain = [re.sub(r"SEQ$", "", re.sub(r"[^A-Z0-9]", "", assay.upper())) for assay in assays]
    found = {role: [place for place, assay in enumerate(plain) if assay in meant] for role, meant in ROLES.items()}
    return {role: places for role, places in found.items() if places}


def kinds_of(tracks: TrackSet, levels: NDArray[np.floating]) -> list[Kind] | None:
    """The kind of each state; None where too few of the assays that distinguish kinds are there.

    Parameters
    ----------
    levels : (state, track) array
        Mean standardised signal; NaN counts as none.
    """
    assays, means = by_assay(tracks, levels)
    roles = roles_of(assays)
    if sum(role in roles for role in DEFINING) < 2:
        return None
    scores = {role: means[:, places].max(axis=1) for role, places in roles.items()}
    return [kind_of({role: float(values[state]) for role, values in scores.items()}) for state in range(len(levels))]


def by_assay(tracks: TrackSet, levels: NDArray[np.floating]) -> tuple[list[str], NDArray[np.float64]]:
    """Assays in order of first appearance, and the mean of each over cell types: (state, assay)."""
    names = tracks.assays
    assays = list(dict.fromkeys(names))
    filled = np.nan_to_num(np.asarray(levels, dtype=np.float64))
    columns = [filled[:, [name == assay for name in names]].mean(axis=1) for assay in assays]
    return assays, np.stack(columns, axis=1)


def kind_of(scores: Mapping[str, float]) -> Kind:
    """The kind of a state by its signal.

    Parameters
    ----------
    scores : mapping of str to float
        Role -> mean standardised signal; roles without an assay are absent.
    """
    carried = {role: score for role, score in scores.items() if score >= CARRIED}
    if not carried:
        return QUIESCENT
    promoter, enhancer, active, polycomb = (
        carried.get(role, 0.0) for role in ("promoter", "enhancer", "active", "polycomb")
    )
    regulatory = max(promoter, enhancer, active)
    quiet_marks = ("transcribed", "polycomb", "heterochromatin")
    main = max(quiet_marks, key=lambda role: carried.get(role, 0.0))
    if regulatory >= SHARE * carried.get(main, 0.0) and regulatory > 0:
        if polycomb >= SHARE * regulatory:
            return TSS_BIVALENT if promoter >= SHARE * regulatory else ENHANCER_BIVALENT
        if promoter and promoter >= SHARE * max(enhancer, active):
            return TSS if promoter >= enhancer else TSS_FLANK
        if carried.get("transcribed", 0.0) >= SHARE * regulatory:
            return ENHANCER_GENIC
        return ENHANCER_ACTIVE if active else ENHANCER
    if main in carried:
        return _without_regulation(carried, main)
    return INSULATOR if "insulator" in carried else OPEN


def _without_regulation(carried: Mapping[str, float], main: str) -> Kind:
    strong = carried[main] >= STRONG
    both = all(carried.get(role, 0.0) >= SHARE * carried[main] for role in ("transcribed", "heterochromatin"))
    if both:
        return ZNF
    if main == "transcribed":
        return TRANSCRIBED if strong else TRANSCRIBED_WEAK
    if main == "heterochromatin":
        return HETEROCHROMATIN
    return POLYCOMB if strong else POLYCOMB_WEAK


def marks_of(tracks: TrackSet, levels: NDArray[np.floating]) -> list[str]:
    """What each state carries, strongest first, as ``H3K4me3 2.9, H3K27ac 1.4``; empty for none."""
    assays, means = by_assay(tracks, levels)
    found = []
    for row in means:
        order = sorted(range(len(assays)), key=lambda place: -row[place])
        found.append(", ".join(f"{assays[place]} {row[place]:.1f}" for place in order if row[place] >= CARRIED))
    return found
