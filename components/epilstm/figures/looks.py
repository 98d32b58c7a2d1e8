"""How each representation looks in every figure: its name, colour, marker and line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeVar
from zlib import crc32

from epilstm.representation_names import Part, known_name, short_distance

Line = str | tuple[int, tuple[float, ...]]
T = TypeVar("T")


@dataclass(frozen=True)
class Look:
    """Colour (Okabe and Ito's palette), marker and line of one representation."""

    label: str
    color: str
    marker: str
    line: Line


LOOKS = {
    "embedding": Look("LSTM embedding", "#0072B2", "o", "-"),
    "raw": Look("raw tracks", "#4a4a4a", "s", (0, (5, 1.5))),
    "pca": Look("PCA", "#D55E00", "D", (0, (3, 1.2, 1, 1.2))),
    "nmf": Look("NMF", "#CC79A7", "v", (0, (4, 1, 1, 1, 1, 1))),
    "untrained": Look("untrained encoder", "#009E73", "^", (0, (1.2, 1.2))),
    "majority": Look("majority class", "#8a8a8a", "|", (0, (2, 2))),
}

#: The same for what reconstructs tracks.
RECONSTRUCTION_LOOKS = {
    "model": replace(LOOKS["embedding"], label="LSTM, own decoder"),
    "pca": LOOKS["pca"],
    "untrained": replace(LOOKS["untrained"], label="untrained, linear read-out"),
}

#: Labels and colours of the parts of a name that `LOOKS` does not have.
PARTS = {
    **{name: (look.label, look.color) for name, look in LOOKS.items()},
    "bin_code": ("bin code", "#56B4E9"),
    "context_code": ("context code", "#7f5aa8"),
    "pca_varimax": ("PCA, varimax", "#8c2d04"),
    "means": ("means", "#8a7a5a"),
    "own": ("own cell type", "#4a4a4a"),
}

#: For everything else: sums, PCA of other features than the tracks, and other models' embeddings.
MORE_COLORS = ("#E69F00", "#56B4E9", "#7f5aa8", "#8c6d31", "#1b3a6b", "#a3b300")
MORE_MARKERS = ("P", "X", "*", "h", "p", "<", ">")
MORE_LINES: tuple[Line, ...] = tuple(
    (0, dashes) for dashes in ((6, 1), (2, 1), (6, 1, 2, 1), (4, 1, 2, 1, 2, 1), (1, 2), (6, 1, 1, 1, 1, 1))
)


def look_of(name: str) -> Look:
    """Look of a representation on its own; see `looks_of` for several in one figure."""
    if name in LOOKS:
        return LOOKS[name]
    number = crc32(name.encode())
    color = _own_color(name) or MORE_COLORS[number % len(MORE_COLORS)]
    return Look(label_of(name), color, MORE_MARKERS[number % len(MORE_MARKERS)], MORE_LINES[number % len(MORE_LINES)])


def looks_of(names: Iterable[str]) -> dict[str, Look]:
    """Looks of representations that are drawn together: no two kinds share a colour, as long as there are colours.

    Sizes of one kind (``pca:6``, ``pca:12``) share its colour and differ in marker and line. The looks do not depend
    on the order of the names.
    """
    names = list(dict.fromkeys(names))
    looks: dict[str, Look] = {}
    colors: dict[str, str] = {}
    for name in sorted(names, key=lambda each: (each not in LOOKS, _own_color(each) is None, each)):
        look, kind = look_of(name), _kind_of(name)
        if kind not in colors:
            colors[kind] = _free(look.color, MORE_COLORS, set(colors.values()))
        color = colors[kind]
        alike = [each for each in looks.values() if each.color == color]
        marker = _free(look.marker, MORE_MARKERS, {each.marker for each in alike})
        line = _free(look.line, MORE_LINES, {each.line for each in alike})
        looks[name] = Look(look.label, color, marker, line)
    return {name: looks[name] for name in names}


def label_of(name: str) -> str:
    """Name of a representation in figures and tables, such as "PCA 12 + context code"."""
    known = known_name(name)
    return name.replace("_", " ") if known is None else " + ".join(map(_part_label, known.parts))


def _part_label(part: Part) -> str:
    label = PARTS[part.kind][0]
    if part.kind == "means":
        return f"{label} ±{', '.join(map(short_distance, part.distances))}" if part.distances else label
    sized = label if part.size is None else f"{label} {part.size}"
    if part.kind == "own" and part.of is not None:
        return f"{label}: {' + '.join(map(_part_label, part.of.parts))}"
    return sized if part.of is None else f"{sized} of ({' + '.join(map(_part_label, part.of.parts))})"


def _own_color(name: str) -> str | None:
    """Colour of a name that is one part computed from the tracks; None for others."""
    known = known_name(name)
    return PARTS[known.parts[0].kind][1] if known and len(known.parts) == 1 and known.parts[0].of is None else None


def _kind_of(name: str) -> str:
    """The name without its sizes."""
    known = known_name(name)
    return name if known is None else "+".join(str(replace(part, size=None)) for part in known.parts)


def _free(wanted: T, others: tuple[T, ...], taken: set[T]) -> T:
    return next((each for each in (wanted, *others) if each not in taken), wanted)
