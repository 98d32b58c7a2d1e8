"""What every figure shares: its description, the style, the layouts, legends and axes."""

from __future__ import annotations

import base64
import io
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextToPath
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

#: Dots per inch of what a page holds as pixels: 1.6 per CSS pixel on a laptop.
RASTER_DPI = 160

TEXT, QUIET, LINE, PAPER, NO_DATA = "#1f2933", "#5b6773", "#cfd6dd", "#ffffff", "#c9c9c9"

STYLE: dict[str, Any] = {
    "font.family": ["DejaVu Sans"], "font.size": 9, "text.color": TEXT,
    "axes.titlesize": 9.5, "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.labelsize": 9,
    "axes.labelcolor": TEXT, "axes.edgecolor": "#8a96a3", "axes.linewidth": 0.8, "axes.spines.top": False,
    "axes.spines.right": False, "axes.axisbelow": True, "axes.formatter.useoffset": False,
    "grid.color": "#e4e8ec", "grid.linewidth": 0.7,
    "xtick.color": QUIET, "xtick.labelsize": 8.5, "xtick.labelcolor": TEXT,
    "ytick.color": QUIET, "ytick.labelsize": 8.5, "ytick.labelcolor": TEXT,
    "legend.fontsize": 8.5, "legend.frameon": False, "lines.linewidth": 1.6, "lines.markersize": 5.5,
    "figure.facecolor": PAPER, "savefig.facecolor": PAPER,
    "pdf.fonttype": 42, "svg.fonttype": "path", "svg.hashsalt": "epilstm",
}  # fmt: skip

#: Metadata without which the bytes of a file would depend on the day or the machine.
METADATA: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}

CAPTION_SIZE = 7.5

#: Words of task names that the field writes in capitals.
ABBREVIATIONS = {"fire": "FIRE", "tss": "TSS"}

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Layout:
    """Space for a figure: its width in inches, and whether the screen is a phone's."""

    width: float
    narrow: bool


WIDE, NARROW = Layout(9.6, False), Layout(4.1, True)

Draw = Callable[[Layout], Figure]


@dataclass(frozen=True)
class Plot:
    """A figure and its description, which the report and `epilstm plot` share.

    Parameters
    ----------
    draw : callable
        From a layout to the figure; called with `STYLE` in force.
    caption : str
        What is shown, of how many, measured how.
    alt : str
        What the figure shows, for those who cannot see it.
    numbers : callable
        Makes the numbers behind the figure: rows that all have the same keys; none where a table has them.
    """

    draw: Draw
    caption: str
    alt: str
    numbers: Callable[[], Rows] = list

    @property
    def rows(self) -> Rows:
        """The numbers behind the figure."""
        return self.numbers()


@dataclass(frozen=True)
class Picture:
    """A figure as a page holds it: data URIs for a wide and a narrow screen, with (width, height) in points."""

    wide: str
    narrow: str
    wide_size: tuple[int, int]
    narrow_size: tuple[int, int]
    alt: str
    caption: str = ""


def picture(draw: Draw, alt: str, caption: str = "") -> Picture:
    """Draw a figure for both screens."""
    (wide, wide_size), (narrow, narrow_size) = (_for_page(draw, layout) for layout in (WIDE, NARROW))
    return Picture(wide, narrow, wide_size, narrow_size, alt, caption)


def _for_page(draw: Draw, layout: Layout) -> tuple[str, tuple[int, int]]:
    content, (width, height) = render(draw, layout, "svg", RASTER_DPI)
    svg = lean_svg(content.decode("utf-8"))
    uri = "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
    return uri, (round(width * 72), round(height * 72))


def render(
    draw: Draw, layout: Layout, form: Literal["png", "svg", "pdf"], dpi: float, caption: str = ""
) -> tuple[bytes, tuple[float, float]]:
    """Draw a figure, with a caption below where one is given: the file's content, and its size in inches."""
    with mpl.rc_context():
        # A reader's own matplotlibrc must change neither the look nor the bytes.
        mpl.rcdefaults()
        settings: Any = mpl.rcParams
        settings.update(STYLE)
        figure = draw(layout)
        if caption:
            _add_caption(figure, caption)
        stream = io.BytesIO()
        figure.savefig(stream, format=form, dpi=dpi, metadata=METADATA[form])
        width, height = figure.get_size_inches()
    return stream.getvalue(), (float(width), float(height))


def _add_caption(figure: Figure, caption: str) -> None:
    """Set a caption below a figure, in lines of the figure's width, and make the figure that much higher."""
    width, height = figure.get_size_inches()
    kept_together = caption.replace("n = ", "n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}")
    lines = wrapped(kept_together, width - 0.2, CAPTION_SIZE)
    figure.set_size_inches(width, height + 1.35 * len(lines) * CAPTION_SIZE / 72 + 0.06)
    figure.supxlabel("\n".join(lines), x=0.008, ha="left", fontsize=CAPTION_SIZE, color=QUIET, linespacing=1.25)


def lean_svg(text: str) -> str:
    """SVG text without prologue, comments, metadata, white space between tags and decimals that nobody sees."""
    text = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", " " + " ".join(path[0].split())), text)
    return re.sub(r">\s+<", "><", text).strip()


def words(name: str) -> str:
    """A name of the tasks file as words: ``gene_expression`` becomes "Gene expression", ``tss`` "TSS"."""
    text = " ".join(ABBREVIATIONS.get(word, word) for word in name.split("_")).strip()
    return text[:1].upper() + text[1:]


def bases_as_words(bases: int) -> str:
    """A number of base pairs with its unit: 300 becomes "300 bp", 3000 "3 kb"."""
    for size, unit in ((1_000_000, "Mb"), (1_000, "kb")):
        if bases >= size:
            return f"{bases / size:g} {unit}"
    return f"{bases} bp"


def literal(text: str) -> str:
    """A user's text as a label: a dollar sign begins no formula."""
    return text.replace("$", r"\$")


def text_width(text: str, size: float) -> float:
    """Width of a text in inches, in the figures' font."""
    font = FontProperties(family=STYLE["font.family"], size=size)
    width, _, _ = TextToPath().get_text_width_height_descent(text.replace(r"\$", "$"), font, ismath=False)
    return float(width) / 72


def wrapped(text: str, width: float, size: float) -> list[str]:
    """Lines of a text that are at most `width` inches wide, broken between words."""
    lines: list[str] = []
    for word in re.split(r"[ \n]+", text):
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, size) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def new_figure(layout: Layout, height: float) -> Figure:
    """An empty figure of a layout's width and some height, in inches."""
    return Figure(figsize=(layout.width, height), layout="constrained")


def legend_above(figure: Figure, axes: Axes, layout: Layout, *, handle: float = 1.8) -> None:
    """One legend over the whole figure for the labelled artists of some axes; see `legend_of`."""
    legend_of(figure, axes.get_legend_handles_labels()[0], layout, handle=handle)


def legend_of(figure: Figure, handles: Sequence[Any], layout: Layout, *, handle: float = 1.8) -> None:
    """One legend over the whole figure, in as many columns as fit; more rows than one make the figure higher.

    Parameters
    ----------
    handles : sequence of artists
        With labels; a label that is wider than the figure is wrapped.
    handle : float
        Length of a handle, in font sizes.
    """
    if not handles:
        return
    size, spacing, margin, pad = STYLE["legend.fontsize"], 1.4, 1.2, 0.8
    em = size / 72
    available = layout.width - em * margin
    labels = ["\n".join(wrapped(str(each.get_label()), available - em * (handle + pad), size)) for each in handles]
    widths = [max(text_width(line, size) for line in label.split("\n")) + em * (handle + pad) for label in labels]
    columns = _fitting_columns(widths, available, em * spacing)
    rows = -(-len(labels) // columns)
    lines = sum(max(label.count("\n") + 1 for label in labels[row::rows]) for row in range(rows))
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + 1.6 * em * (lines - 1))
    figure.legend(
        handles, labels, loc="outside upper left", ncols=columns, borderaxespad=0.2, columnspacing=spacing,
        handlelength=handle, handletextpad=pad,
    )  # fmt: skip


def _fitting_columns(widths: Sequence[float], available: float, spacing: float) -> int:
    """Columns of a legend, which fills it column by column, that fit into a width."""
    for columns in range(len(widths), 1, -1):
        # As matplotlib does it: the first columns have one entry more where they are not equally long.
        each, more = divmod(len(widths), columns)
        lengths = [each + (column < more) for column in range(columns)]
        ends = np.cumsum([0, *lengths])
        longest = [max(widths[first:last]) for first, last in itertools.pairwise(ends)]
        if sum(longest) + spacing * (columns - 1) <= available:
            return columns
    return 1


def round_ticks(most: int) -> MaxNLocator:
    """At most so many ticks, at multiples of 1, 2, 2.5 or 5 times a power of ten."""
    return MaxNLocator(nbins=most, steps=[1, 2, 2.5, 5, 10], min_n_ticks=2)


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Name the rows of a figure of points, from 0 at the top, with a grid across them and no axis line."""
    axes.set_yticks(range(len(names)), [literal(name) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)


def name_dimensions(axes: Axes, names: Sequence[str], most: int) -> None:
    """Name rows of dimensions, the first at the top, as files do; with many, every second, fifth, ... only."""
    size = len(names)
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, size) if -(-size // step) <= most or step >= size)
    places = list(range(0, size, step))
    axes.set_yticks(places, [literal(names[place]) for place in places])
    axes.tick_params(axis="y", length=0)


def mark_levels(axes: Axes, names: Sequence[str], context_size: int) -> None:
    """Part the rows of a heat map of dimensions, of which the last `context_size` describe the context."""
    size = len(names)
    if not 0 < context_size < size:
        return
    own, left = size - context_size, -8 - 6 * max(map(len, names))
    axes.axhline(own - 0.5, color="black", linewidth=0.8)
    for text, middle in (("bin code", (own - 1) / 2), ("context", own + (context_size - 1) / 2)):
        axes.annotate(
            text, (0, middle), xycoords=("axes fraction", "data"), xytext=(left, 0), textcoords="offset points",
            rotation=90, ha="right", va="center", fontsize=8,
        )  # fmt: skip
    axes.yaxis.labelpad = 26


def color_bar(figure: Figure, image: Any, axes: Axes, layout: Layout, label: str, **options: Any) -> None:
    """Explain the colours of a heat map, at the right or, on a phone, below."""
    place: dict[str, Any] = {"location": "right", "pad": 0.015, "aspect": 20, "fraction": 0.08}
    if layout.narrow:
        place |= {"location": "bottom", "pad": 0.03, "aspect": 30}
    bar = figure.colorbar(image, ax=axes, label=label, **{**place, **options})
    bar.outline.set_visible(False)


def runs_of(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Runs of true entries as (first, one past last)."""
    steps = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(first), int(last)) for first, last in steps.reshape(-1, 2)]
