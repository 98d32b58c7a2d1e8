"""Correlation of each dimension with a quantity along the genome."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from epilstm.figures.covariates import Correlation, Method
from epilstm.figures.drawing import QUIET, Layout, legend_above, new_figure, round_ticks
from epilstm.figures.smoothness_curves import bases_as_words

#: Dimensions with a row of their own; of more, those that correlate best are drawn.
ROWS = 40

#: Windows from short to long.
COLORS, MARKERS = ("#8fc1e3", "#0072B2", "#0b2f4e"), ("^", "o", "s")

METHODS: dict[Method, str] = {"pearson": "Pearson's correlation", "spearman": "Spearman's correlation"}


def dimensions_drawn(correlations: Sequence[Correlation]) -> list[int]:
    """Dimensions that have a row, in their order."""
    best = np.nan_to_num(np.abs(np.stack([each.value for each in correlations]))).max(axis=0)
    return sorted(np.argsort(-best, kind="stable")[:ROWS].tolist())


def covariate_figure(correlations: Sequence[Correlation], quantity: str, method: Method, layout: Layout) -> Figure:
    """Correlation of every dimension with its interval, at several lengths of window.

    Parameters
    ----------
    correlations : sequence of Correlation
        By rising window, at most three.
    quantity : str
        Named on the axis.
    method : str
    layout : Layout
    """
    rows = dimensions_drawn(correlations)
    figure = new_figure(layout, 1.0 + 0.3 * len(rows))
    axes = figure.subplots()
    step = 0.75 / len(correlations)
    for rank, each in enumerate(correlations):
        color = COLORS[rank + len(COLORS) - len(correlations)]
        at = np.arange(len(rows)) + (rank - (len(correlations) - 1) / 2) * step
        axes.hlines(at, each.low[rows], each.high[rows], color=color, linewidth=1.6, zorder=2)
        axes.plot(
            each.value[rows], at, linestyle="none", marker=MARKERS[rank], color=color, markeredgecolor="white",
            markeredgewidth=0.6, label=f"{bases_as_words(each.window)} windows (n = {each.windows:,})", zorder=3,
        )  # fmt: skip
    axes.axvline(0, color=QUIET, linewidth=0.9, zorder=1)
    for row in range(1, len(rows)):
        axes.axhline(row - 0.5, color="#e4e8ec", linewidth=0.7, zorder=0)
    axes.set_yticks(range(len(rows)), [f"e{row}" for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    ends = np.concatenate([np.concatenate([each.low, each.high, each.value])[:] for each in correlations])
    known = ends[np.isfinite(ends)]
    reach = min(1.0, max(0.1, 1.08 * float(np.abs(known).max()))) if len(known) else 1.0
    axes.set_xlim(-reach, reach)
    axes.xaxis.set_major_locator(round_ticks(5 if layout.narrow else 10))
    axes.set(xlabel=f"{METHODS[method]} with {quantity}", ylabel="embedding dimension")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)
    legend_above(figure, axes, layout, handle=1.2, narrow_columns=1)
    return figure
