"""Scores of a task against the baselines, and its precision-recall and ROC curves."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from epilstm.figures.curves import Curves, as_compared
from epilstm.figures.drawing import LOOKS, QUIET, Layout, legend_above, look_of, new_figure, round_ticks
from epilstm.representation_names import known_name
from epilstm.store.evaluation_results import EMBEDDING, REPRESENTATIONS, Interval, RegressionResult, TaskResult

#: The baseline that is drawn as a line; all others are points and curves.
MAJORITY = "majority"

#: Cell types with a row of their own; the table has them all.
ROWS = 16

#: Height of a row, in inches, and of what surrounds the rows.
ROW_HEIGHT, SURROUNDINGS = 0.62, 0.85

#: A score below this is drawn at the edge: how far below tells no more.
LOWEST_SCORE = -0.5

#: Name of a row, and the score of each representation with its interval.
ScoreRow = tuple[str, dict[str, tuple[float, Interval]]]


def drawn_order(names: Iterable[str]) -> list[str]:
    """Representations that are points and curves.

    The embedding, other embeddings by name, the usual baselines, then all others as they are given.
    """

    def place(name: str) -> tuple[float, str]:
        if name in REPRESENTATIONS:
            return REPRESENTATIONS.index(name), ""
        return (0.5, name) if known_name(name) is None else (len(REPRESENTATIONS), "")

    return sorted((name for name in names if name != MAJORITY), key=place)


def score_rows(task: TaskResult) -> list[ScoreRow]:
    """Rows of the figure in average precision; the mean over cell types comes first."""

    def scored(scores: Mapping[str, Any]) -> dict[str, tuple[float, Interval]]:
        return {
            name: (scores[name].average_precision, scores[name].average_precision_ci)
            for name in as_compared(scores, task)
        }

    rows = [(cell, scored(each.representations)) for cell, each in task.cell_types.items()]
    return _with_mean(rows, scored(task.summary))


def level_rows(task: RegressionResult, measure: Literal["r2", "spearman"]) -> list[ScoreRow]:
    """Rows of the figure of a task of levels, in R2 or Spearman's correlation; the mean comes first."""

    def scored(scores: Mapping[str, Any]) -> dict[str, tuple[float, Interval]]:
        return {
            name: (getattr(scores[name], measure), getattr(scores[name], f"{measure}_ci"))
            for name in as_compared(scores, task)
        }

    rows = [(cell, scored(each.representations)) for cell, each in task.cell_types.items()]
    return _with_mean(rows, scored(task.summary))


def _with_mean(rows: list[ScoreRow], mean: dict[str, tuple[float, Interval]]) -> list[ScoreRow]:
    return rows if len(rows) == 1 else [(f"mean of {len(rows)}", mean), *rows[:ROWS]]


def score_figure(task: TaskResult, layout: Layout) -> Figure:
    """Average precision of every representation and its interval, per cell type; the majority class is dashed."""
    rows = score_rows(task)
    figure = new_figure(layout, SURROUNDINGS + ROW_HEIGHT * len(rows) + (0.3 if layout.narrow else 0))
    axes = figure.subplots()
    draw_scores(axes, rows, layout)
    axes.set_xlabel("average precision" if layout.narrow else "average precision (mean over folds)")
    legend_above(figure, axes, layout, handle=1.2)
    return figure


def level_figure(task: RegressionResult, layout: Layout) -> Figure:
    """R2 and Spearman's correlation of every representation with their intervals, per cell type."""
    rows = level_rows(task, "r2")
    one_below_the_other = 2 if layout.narrow else 1
    figure = new_figure(layout, SURROUNDINGS + (ROW_HEIGHT * len(rows) + 0.25) * one_below_the_other)
    pair = figure.subplots(2, 1) if layout.narrow else figure.subplots(1, 2, sharey=True)
    draw_scores(pair[0], rows, layout, lowest=LOWEST_SCORE, majority="mean level")
    draw_scores(pair[1], level_rows(task, "spearman"), layout, lowest=LOWEST_SCORE, majority="mean level")
    pair[0].set_xlabel("R²")
    pair[1].set_xlabel("Spearman's correlation")
    legend_above(figure, pair[0], layout, handle=1.2)
    return figure


def draw_scores(
    axes: Axes, rows: list[ScoreRow], layout: Layout, *, lowest: float = 0.0, majority: str = "majority class"
) -> None:
    """Draw rows of scores, points with their intervals.

    Parameters
    ----------
    axes : Axes
    rows : list of ScoreRow
    layout : Layout
    lowest : float
        A score below is drawn here.
    majority : str
        What the dashed line is called.
    """
    names = drawn_order(rows[0][1])
    step = 0.8 / len(names)
    for row, (_, scores) in enumerate(rows):
        for rank, name in enumerate(names):
            value, ci = scores[name]
            at, look = row + (rank - (len(names) - 1) / 2) * step, look_of(name)
            axes.plot(
                np.maximum([ci.low, ci.high], lowest), [at, at], color=look.color, linewidth=1.6,
                solid_capstyle="butt", zorder=2,
            )  # fmt: skip
            axes.plot(
                [max(value, lowest)], [at], look.marker, color=look.color, markeredgecolor="white",
                markeredgewidth=0.6, label=look.label if row == 0 else None, zorder=3,
            )  # fmt: skip
        if MAJORITY in scores:
            base = max(scores[MAJORITY][0], lowest)
            axes.plot(
                [base, base], [row - 0.46, row + 0.46], color=LOOKS[MAJORITY].color, linestyle=(0, (2, 1.5)),
                linewidth=1.3, label=majority if row == 0 else None, zorder=1,
            )  # fmt: skip
        if row:
            axes.axhline(row - 0.5, color="#cfd6dd", linewidth=0.8)
    axes.set_yticks(range(len(rows)), [name for name, _ in rows])
    for label in axes.get_yticklabels()[:1]:  # none beside axes that have them
        label.set_fontweight("bold" if len(rows) > 1 else "normal")
    axes.set_ylim(len(rows) - 0.5, -0.5)
    values = [bound for _, scores in rows for value, ci in scores.values() for bound in (value, ci.low, ci.high)]
    margin = max(0.02, 0.04 * (max(values) - min(values)))
    axes.set_xlim(max(lowest, min(values) - margin), min(1, max(values) + margin))
    axes.xaxis.set_major_locator(round_ticks(5 if layout.narrow else 10))
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)


@dataclass(frozen=True)
class CurvePanel:
    """What a pair of panels shows: the curves of each representation, and the share of positives."""

    title: str
    rate: float
    curves: Mapping[str, Curves]


def curves_figure(task: TaskResult, curves: Mapping[str, Mapping[str, Curves]], layout: Layout) -> Figure:
    """Precision-recall and ROC curves of a task, a pair of panels per cell type."""
    return panels_figure(
        [CurvePanel(cell, task.cell_types[cell].base_rate, each) for cell, each in curves.items()], layout
    )


def panels_figure(panels: Sequence[CurvePanel], layout: Layout) -> Figure:
    """Precision-recall and ROC curves, one above the other, or side by side where there is one pair or a phone."""
    count = len(panels)
    beside = count == 1 or layout.narrow
    side = (layout.width - 0.3) / (2 if beside else count) - 0.6
    titles = [textwrap.fill(panel.title, max(8, round(side * 11))) for panel in panels]
    title_height = 0.17 * max(title.count("\n") + 1 for title in titles)
    if beside:
        side = min(side, 3.2)
        figure = new_figure(layout, 0.45 + count * (side + 0.6 + title_height) + (0.3 if layout.narrow else 0))
        grid = figure.subplots(count, 2, squeeze=False)
        pairs = [(grid[row, 0], grid[row, 1]) for row in range(count)]
    else:
        figure = new_figure(layout, 0.45 + 2 * (side + 0.6) + title_height)
        grid = figure.subplots(2, count, squeeze=False)
        pairs = [(grid[0, column], grid[1, column]) for column in range(count)]
    for panel, title, (precision_recall, roc) in zip(panels, titles, pairs, strict=True):
        for rank, name in enumerate(drawn_order(panel.curves)):
            look, curve = look_of(name), panel.curves[name]
            style = {
                "zorder": 20 - rank,
                "color": look.color,
                "linestyle": look.line,
                "linewidth": 1.5 if name == EMBEDDING else 1.2,
            }
            precision_recall.plot(curve.recall, curve.precision, drawstyle="steps-pre", label=look.label, **style)
            roc.plot(curve.false_positive_rate, curve.recall_at_rate, label=look.label, **style)
        chance = {"color": QUIET, "linewidth": 0.9, "linestyle": (0, (2, 2)), "zorder": 0, "label": "chance"}
        precision_recall.plot([0, 1], [panel.rate, panel.rate], **chance)
        roc.plot([0, 1], [0, 1], **chance)
        _unit_square(precision_recall, title, "recall", "precision")
        _unit_square(roc, "", "false positive rate", "true positive rate")
    for both in pairs[1:] if not beside else []:
        for axes in both:
            axes.set_ylabel("")
    legend_above(figure, pairs[0][0], layout)
    return figure


def _unit_square(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set(title=title, xlabel=x, ylabel=y, xlim=(-0.02, 1.02), ylim=(-0.02, 1.04))
    axes.set_box_aspect(1)
    ticks = np.array([0, 0.5, 1])
    axes.set_xticks(ticks, ["0", "0.5", "1"])
    axes.set_yticks(ticks, ["0", "0.5", "1"])
    axes.grid()
