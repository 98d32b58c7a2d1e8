"""Scores of a task against the baselines, and its precision-recall and ROC curves."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from epilstm.evaluation import EMBEDDING, Interval, TaskResult
from epilstm.report.curves import Curves
from epilstm.report.drawing import LOOKS, QUIET, Layout, legend_above, new_figure, round_ticks

#: Representations drawn as points and curves; the majority class is a line.
DRAWN = (EMBEDDING, "raw", "pca", "untrained")

#: Cell types with a row of their own; the table has them all.
ROWS = 16


def score_rows(task: TaskResult) -> list[tuple[str, dict[str, tuple[float, Interval]]]]:
    """Rows of the figure: name, and representation -> average precision with its interval; the mean comes first."""
    rows = [
        (
            cell,
            {
                name: (each.average_precision, each.average_precision_ci)
                for name, each in scored.representations.items()
            },
        )
        for cell, scored in task.cell_types.items()
    ]
    if len(rows) == 1:
        return rows
    mean = {name: (each.average_precision, each.average_precision_ci) for name, each in task.summary.items()}
    return [(f"mean of {len(rows)}", mean), *rows[:ROWS]]


def score_figure(task: TaskResult, layout: Layout) -> Figure:
    """Average precision of every representation and its interval, per cell type; the majority class is dashed."""
    rows = score_rows(task)
    figure = new_figure(layout, 0.85 + 0.62 * len(rows) + (0.3 if layout.narrow else 0))
    axes = figure.subplots()
    step = 0.8 / len(DRAWN)
    for row, (_, scores) in enumerate(rows):
        for rank, name in enumerate(DRAWN):
            value, ci = scores[name]
            at, look = row + (rank - (len(DRAWN) - 1) / 2) * step, LOOKS[name]
            axes.plot([ci.low, ci.high], [at, at], color=look.color, linewidth=1.6, solid_capstyle="butt", zorder=2)
            axes.plot(
                [value], [at], look.marker, color=look.color, markeredgecolor="white", markeredgewidth=0.6,
                label=look.label if row == 0 else None, zorder=3,
            )  # fmt: skip
        majority = scores["majority"][0]
        axes.plot(
            [majority, majority], [row - 0.46, row + 0.46], color=LOOKS["majority"].color, linestyle=(0, (2, 1.5)),
            linewidth=1.3, label="majority class" if row == 0 else None, zorder=1,
        )  # fmt: skip
        if row:
            axes.axhline(row - 0.5, color="#cfd6dd", linewidth=0.8)
    axes.set_yticks(range(len(rows)), [name for name, _ in rows])
    axes.get_yticklabels()[0].set_fontweight("bold" if len(rows) > 1 else "normal")
    axes.set_ylim(len(rows) - 0.5, -0.5)
    values = [bound for _, scores in rows for value, ci in scores.values() for bound in (value, ci.low, ci.high)]
    margin = max(0.02, 0.04 * (max(values) - min(values)))
    axes.set_xlim(max(0, min(values) - margin), min(1, max(values) + margin))
    axes.xaxis.set_major_locator(round_ticks(5 if layout.narrow else 10))
    axes.set_xlabel("average precision" if layout.narrow else "average precision (mean over folds)")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)
    legend_above(figure, axes, layout, handle=1.2)
    return figure


def curves_figure(task: TaskResult, curves: Mapping[str, Mapping[str, Curves]], layout: Layout) -> Figure:
    """Precision-recall and ROC curves, a pair of panels per cell type."""
    cells = list(curves)
    if layout.narrow:
        figure = new_figure(layout, 0.75 + 2.15 * len(cells))
        grid = figure.subplots(len(cells), 2, squeeze=False)
        pairs = [(grid[row, 0], grid[row, 1]) for row in range(len(cells))]
    elif len(cells) == 1:
        figure = new_figure(layout, 3.6)
        grid = figure.subplots(1, 2, squeeze=False)
        pairs = [(grid[0, 0], grid[0, 1])]
    else:
        figure = new_figure(layout, 0.5 + 2 * min(3.6, layout.width / len(cells)))
        grid = figure.subplots(2, len(cells), squeeze=False)
        pairs = [(grid[0, column], grid[1, column]) for column in range(len(cells))]
    for cell, (precision_recall, roc) in zip(cells, pairs, strict=True):
        for rank, name in enumerate(DRAWN):
            look, curve = LOOKS[name], curves[cell][name]
            style = {
                "zorder": 5 - rank,
                "color": look.color,
                "linestyle": look.line,
                "linewidth": 1.5 if name == EMBEDDING else 1.2,
            }
            precision_recall.plot(curve.recall, curve.precision, drawstyle="steps-pre", label=look.label, **style)
            roc.plot(curve.false_positive_rate, curve.recall_at_rate, label=look.label, **style)
        rate = task.cell_types[cell].base_rate
        chance = {"color": QUIET, "linewidth": 0.9, "linestyle": (0, (2, 2)), "zorder": 0, "label": "chance"}
        precision_recall.plot([0, 1], [rate, rate], **chance)
        roc.plot([0, 1], [0, 1], **chance)
        _unit_square(precision_recall, f"{cell}: PR", "recall", "precision")
        _unit_square(roc, f"{cell}: ROC", "false positive rate", "true positive rate")
    for _, axes in pairs[1:] if not layout.narrow else []:
        axes.set_ylabel("")
    for axes, _ in pairs[1:] if not layout.narrow else []:
        axes.set_ylabel("")
    legend_above(figure, pairs[0][0], layout)
    return figure


def _unit_square(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set(title=title, xlabel=x, ylabel=y, xlim=(-0.02, 1.02), ylim=(-0.02, 1.04), aspect="equal")
    ticks = np.array([0, 0.5, 1])
    axes.set_xticks(ticks, ["0", "0.5", "1"])
    axes.set_yticks(ticks, ["0", "0.5", "1"])
    axes.grid()
