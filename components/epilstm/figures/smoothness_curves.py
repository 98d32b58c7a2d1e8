"""Distance between bins against how far apart they lie."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from epilstm.figures.drawing import QUIET, Layout, legend_above, look_of, new_figure, round_ticks
from epilstm.figures.smoothness import Smoothness


def smoothness_figure(measured: Mapping[str, Smoothness], bin_size: int, layout: Layout) -> Figure:
    """Mean distance at each lag in units of random pairs, one line per representation; 95% intervals are shaded."""
    figure = new_figure(layout, 3.9 if layout.narrow else 3.7)
    axes = figure.subplots()
    for name, curve in measured.items():
        look = look_of(name)
        bases = curve.lags * bin_size
        axes.fill_between(bases, curve.low, curve.high, color=look.color, alpha=0.15, linewidth=0)
        axes.plot(
            bases, curve.distance, color=look.color, linestyle=look.line, marker=look.marker, markersize=4,
            label=look.label, zorder=4 if name == "embedding" else 3,
        )  # fmt: skip
    axes.axhline(1, color=QUIET, linewidth=0.9, linestyle=(0, (2, 2)), zorder=0, label="random pairs")
    axes.set_xscale("log")
    first, last = (next(iter(measured.values())).lags[[0, -1]] * bin_size).tolist()
    axes.set_xlim(first * 0.9, last * 1.1)
    ticks = [base for base in _round_bases(bin_size) if first * 0.9 <= base <= last * 1.1]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(ticks, [bases_as_words(base) for base in ticks])
    axes.set(xlabel="distance along the genome", ylabel="mean distance between bins\n(random pairs = 1)")
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(round_ticks(6))
    axes.grid()
    legend_above(figure, axes, layout, handle=2.6)
    return figure


def _round_bases(bin_size: int) -> list[int]:
    return [bin_size, *(base for power in range(1, 9) for base in (10**power, 3 * 10**power) if base > 1.5 * bin_size)]


def bases_as_words(bases: int) -> str:
    """A number of base pairs with its unit: 300 becomes "300 bp", 3000 "3 kb"."""
    for size, unit in ((1_000_000, "Mb"), (1_000, "kb")):
        if bases >= size:
            return f"{bases / size:g} {unit}"
    return f"{bases} bp"
