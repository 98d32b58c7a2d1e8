"""How every figure looks, and how it gets into the page: twice, for a wide and for a narrow screen."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from zlib import crc32

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from epilstm.representation_names import Part, known_name, short_distance
from epilstm.store.manifests import dimension_names

#: Dots per inch of what is not drawn as lines: 1.6 per CSS pixel on a laptop.
RASTER_DPI = 160

TEXT, QUIET, LINE, PAPER, NO_DATA = "#1f2933", "#5b6773", "#cfd6dd", "#ffffff", "#c9c9c9"

STYLE: dict[str, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.labelcolor": TEXT,
    "axes.edgecolor": "#8a96a3",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "grid.color": "#e4e8ec",
    "grid.linewidth": 0.7,
    "text.color": TEXT,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.labelcolor": TEXT,
    "ytick.labelcolor": TEXT,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 5.5,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "epilstm",
}


@dataclass(frozen=True)
class Look:
    """How one representation looks in every figure: colour (Okabe and Ito's palette), marker and line."""

    label: str
    color: str
    marker: str
    line: str | tuple[int, tuple[float, ...]]


LOOKS = {
    "embedding": Look("LSTM embedding", "#0072B2", "o", "-"),
    "raw": Look("raw tracks", "#4a4a4a", "s", (0, (5, 1.5))),
    "pca": Look("PCA", "#D55E00", "D", (0, (3, 1.2, 1, 1.2))),
    "nmf": Look("NMF", "#CC79A7", "v", (0, (4, 1, 1, 1, 1, 1))),
    "untrained": Look("untrained encoder", "#009E73", "^", (0, (1.2, 1.2))),
    "majority": Look("majority class", "#8a8a8a", "|", (0, (2, 2))),
}

#: What colours and labels representations that LOOKS does not have, by their parts.
PART_COLORS = {
    **{name: look.color for name, look in LOOKS.items()},
    "bin_code": "#56B4E9",
    "context_code": "#7f5aa8",
    "pca_varimax": "#8c2d04",
    "means": "#8a7a5a",
}
#: Colour of PCA of anything but the raw tracks.
PCA_OF_MORE = "#882255"
PART_LABELS = {
    **{name: look.label for name, look in LOOKS.items()},
    "bin_code": "bin code",
    "context_code": "context code",
    "pca_varimax": "PCA, varimax",
    "means": "means",
}
PART_MARKERS = ("P", "X", "*", "h", "p", "<", ">")
PART_LINES = ((6, 1), (2, 1), (6, 1, 2, 1), (4, 1, 2, 1, 2, 1), (1, 2))

#: Colours left for representations that have no look of their own.
MORE_COLORS, MORE_MARKERS = ("#E69F00", "#56B4E9", "#7f5aa8", "#8c6d31"), ("P", "X", "*", "h")

#: The same for what reconstructs tracks.
RECONSTRUCTION_LOOKS = {
    "model": Look("LSTM, own decoder", "#0072B2", "o", "-"),
    "pca": Look("PCA", "#D55E00", "D", (0, (3, 1.2, 1, 1.2))),
    "untrained": Look("untrained, linear read-out", "#009E73", "^", (0, (1.2, 1.2))),
}


#: Words of task names that the field writes in capitals.
ABBREVIATIONS = {"fire": "FIRE", "tss": "TSS"}


def words(name: str) -> str:
    """A name of the tasks file as words: ``gene_expression`` becomes "Gene expression", ``tss`` "TSS"."""
    text = " ".join(ABBREVIATIONS.get(word, word) for word in name.split("_")).strip()
    return text[:1].upper() + text[1:]


def look_of(name: str) -> Look:
    """How a representation looks; one without a look of its own gets one that follows from its name.

    Sums have a colour of those left over, others that of their kind; marker and line tell one size from another.
    """
    if name in LOOKS:
        return LOOKS[name]
    number, known = crc32(name.encode()), known_name(name)
    rank = number % len(MORE_COLORS)
    if known is not None:
        first = known.parts[0]
        own = PCA_OF_MORE if first.of is not None else PART_COLORS[first.kind]
        color = own if len(known.parts) == 1 else MORE_COLORS[rank]
        marker, line = PART_MARKERS[number % len(PART_MARKERS)], PART_LINES[number % len(PART_LINES)]
        return Look(" + ".join(map(_label_of, known.parts)), color, marker, (0, line))
    return Look(name.replace("_", " "), MORE_COLORS[rank], MORE_MARKERS[rank], (0, (6, 1, 1, 1, 1, 1)))


def _label_of(part: Part) -> str:
    if part.kind == "means":
        return f"means ±{', '.join(map(short_distance, part.distances))}" if part.distances else "means"
    if part.of is not None:
        size = "" if part.size is None else f" {part.size}"
        return f"{PART_LABELS['pca']}{size} of ({' + '.join(map(_label_of, part.of.parts))})"
    return PART_LABELS[part.kind] if part.size is None else f"{PART_LABELS[part.kind]} {part.size}"


@dataclass(frozen=True)
class Layout:
    """Room for a figure: its width in inches, and whether the screen is a phone's."""

    width: float
    narrow: bool


WIDE, NARROW = Layout(9.6, False), Layout(4.1, True)

Draw = Callable[[Layout], Figure]


@dataclass(frozen=True)
class Picture:
    """A figure as the page holds it: data URIs for a wide and a narrow screen, with (width, height) in points."""

    wide: str
    narrow: str
    wide_size: tuple[int, int]
    narrow_size: tuple[int, int]
    alt: str


def picture(draw: Draw, alt: str) -> Picture:
    """Draw a figure for both screens.

    Parameters
    ----------
    draw : callable
        Makes the figure; called with the page's style in force.
    alt : str
        What the figure shows, for those who cannot see it.
    """
    (wide, wide_size), (narrow, narrow_size) = (_drawn(draw, layout) for layout in (WIDE, NARROW))
    return Picture(wide, narrow, wide_size, narrow_size, alt)


def _drawn(draw: Draw, layout: Layout) -> tuple[str, tuple[int, int]]:
    with mpl.rc_context():
        # A reader's own matplotlibrc must change neither the look nor the bytes.
        mpl.rcdefaults()
        settings: Any = mpl.rcParams
        settings.update(STYLE)
        figure = draw(layout)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", dpi=RASTER_DPI, metadata={"Date": None, "Creator": None})
        width, height = figure.get_size_inches()
    return data_uri(lean_svg(stream.getvalue())), (round(width * 72), round(height * 72))


def literal(text: str) -> str:
    """A user's text as a label: a dollar sign begins no formula."""
    return text.replace("$", r"\$")


def lean_svg(text: str) -> str:
    """SVG text without prologue, comments, metadata, white space between tags and decimals that nobody sees."""
    text = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", " " + " ".join(path[0].split())), text)
    return re.sub(r">\s+<", "><", text).strip()


def data_uri(svg: str) -> str:
    """SVG text as a ``data:`` URI."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def new_figure(layout: Layout, height: float) -> Figure:
    """An empty figure of a layout's width and some height, in inches."""
    return Figure(figsize=(layout.width, height), layout="constrained")


def legend_above(figure: Figure, axes: Axes, layout: Layout, *, handle: float = 1.8, narrow_columns: int = 2) -> None:
    """One legend over the whole figure, from the labels of some axes; on a phone in a few columns.

    Parameters
    ----------
    figure : Figure
    axes : Axes
        Has the labelled artists, in the legend's order.
    layout : Layout
    handle : float
        Length of a handle, in font sizes.
    narrow_columns : int
        Columns on a phone.
    """
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside upper left",
        ncols=narrow_columns if layout.narrow else fitting_columns(labels, layout.width, handle),
        borderaxespad=0.2,
        columnspacing=1.4,
        handlelength=handle,
    )


def fitting_columns(labels: Sequence[str], width: float, handle: float) -> int:
    """Columns of a legend that fit into a width (inches), by the length of its labels, which fill it by columns."""
    for columns in range(len(labels), 1, -1):
        rows, taller = divmod(len(labels), columns)
        # matplotlib gives each of the first columns one row more until none is left.
        firsts = [number * rows + min(number, taller) for number in range(columns + 1)]
        longest = [max(map(len, labels[first:end])) for first, end in pairwise(firsts)]
        if sum(0.066 * letters + 0.118 * (handle + 2.2) for letters in longest) <= width:
            return columns
    return 1


def round_ticks(most: int) -> MaxNLocator:
    """At most so many ticks, at multiples of 1, 2, 2.5 or 5 times a power of ten."""
    return MaxNLocator(nbins=most, steps=[1, 2, 2.5, 5, 10], min_n_ticks=2)


def name_dimensions(axes: Axes, size: int, most: int) -> None:
    """Name rows of dimensions, from 0 at the top, as files do (``e0``); with many, every second, fifth, ... only."""
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, size) if -(-size // step) <= most or step >= size)
    places = list(range(0, size, step))
    axes.set_yticks(places, [dimension_names(size)[place] for place in places])
    axes.tick_params(axis="y", length=0)


def mark_levels(axes: Axes, size: int, context_size: int) -> None:
    """Part the rows of a heat map of dimensions, of which the last `context_size` tell of the context."""
    if not 0 < context_size < size:
        return
    own, left = size - context_size, -8 - 6 * len(dimension_names(size)[-1])
    axes.axhline(own - 0.5, color="black", linewidth=0.8)
    for text, middle in (("bin code", (own - 1) / 2), ("context", own + (context_size - 1) / 2)):
        axes.annotate(
            text, (0, middle), xycoords=("axes fraction", "data"), xytext=(left, 0), textcoords="offset points",
            rotation=90, ha="right", va="center", fontsize=8,
        )  # fmt: skip
    axes.yaxis.labelpad = 26


def runs_of(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Runs of true entries as (first, one past last)."""
    steps = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(first), int(last)) for first, last in steps.reshape(-1, 2)]
