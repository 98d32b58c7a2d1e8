"""Scores of every representation by task and cell type, with their intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from epilstm.figures.drawing import LINE, Layout, Plot, legend_above, name_rows, new_figure, round_ticks, words
from epilstm.figures.looks import LOOKS, Look, looks_of
from epilstm.representation_names import known_name
from epilstm.store.evaluation_results import (
    FEW_REGIONS,
    NO_VERDICT,
    REPRESENTATIONS,
    EvaluationResults,
    Interval,
    RegressionResult,
    TaskResult,
)

#: The baseline that is drawn as a line; all others are points.
MAJORITY = "majority"

#: Cell types with a row of their own.
ROWS = 16

#: Height of a row, in inches.
ROW_HEIGHT = 0.62

#: A task of levels has no scores drawn below this: they are drawn at the edge.
LOWEST_SCORE = -0.5

#: What folds hold out.
HOLD_OUT = {"chromosome": "whole chromosomes", "region": "whole regions", "random": "random examples (leaky)"}

#: Measures of a task of classes and of one of levels, with their names on the axis.
CLASS_MEASURES = {"average_precision": "average precision"}
LEVEL_MEASURES = {"r2": "R²", "spearman": "Spearman's correlation"}

Task = TaskResult | RegressionResult

#: Name of a row, and the score of each representation with its interval.
ScoreRow = tuple[str, dict[str, tuple[float, Interval]]]


def scores_plot(tasks: Sequence[Task], results: EvaluationResults) -> Plot:
    """Scores of some tasks of an evaluation."""
    names = [words(task.name) for task in tasks]
    counts = "; ".join(
        f"{name}: n = {_counted(list(task.cell_types.values()))}" for name, task in zip(names, tasks, strict=True)
    )
    few = [
        name
        for name, task in zip(names, tasks, strict=True)
        if any(each.verdict == NO_VERDICT for each in task.differences)
    ]
    caption = (
        f"Held-out scores of the same classifier ({results.classifier}) on each representation, "
        f"{results.confidence:.0%} bootstrap intervals; {results.folds.count} folds hold out "
        f"{HOLD_OUT[results.folds.by]}. {counts}. Dashed: the majority class, whose average precision is the share of "
        "positives (for levels, the mean of the training levels)."
    )
    if few:
        caption += f" No verdict for {', '.join(few)}: {FEW_REGIONS}, so that the intervals mean little."
    alt = f"Scores of every representation with their intervals for {', '.join(names)}, by cell type."
    return Plot(partial(scores_figure, tasks), caption, alt, partial(_numbers, tasks))


def _counted(cells: Sequence[Any]) -> str:
    """Examples of each cell type, and how many are positive; of many cell types, the range."""
    counts = [(each.n, getattr(each, "positives", None)) for each in cells]
    if len(cells) <= ROWS:
        return ", ".join(f"{n:,}" if some is None else f"{n:,} ({some:,} positive)" for n, some in counts)
    positives = _span([some for _, some in counts if some is not None])
    positive = f" ({positives} positive)" if positives else ""
    return f"{_span([n for n, _ in counts])}{positive} in {len(cells)} cell types, of which {ROWS} are drawn"


def _span(numbers: Sequence[int]) -> str:
    return " to ".join(f"{number:,}" for number in sorted({min(numbers), max(numbers)})) if numbers else ""


def _numbers(tasks: Sequence[Task]) -> list[dict[str, Any]]:
    return [
        {
            "task": task.name, "cell_type": cell, "representation": name, "measure": measure,
            "score": getattr(each, measure), "low": getattr(each, f"{measure}_ci").low,
            "high": getattr(each, f"{measure}_ci").high, "n": scored.n, "positives": getattr(scored, "positives", None),
        }
        for task in tasks
        for cell, scored in task.cell_types.items()
        for name, each in scored.representations.items()
        for measure in measures_of(task)
    ]  # fmt: skip


def measures_of(task: Task) -> dict[str, str]:
    """Measures of a task: name in the results -> name on the axis."""
    return CLASS_MEASURES if isinstance(task, TaskResult) else LEVEL_MEASURES


def score_rows(task: Task, measure: str) -> list[ScoreRow]:
    """Rows of a panel in one measure; the mean over cell types comes first."""

    def scored(scores: Mapping[str, Any]) -> dict[str, tuple[float, Interval]]:
        return {
            name: (getattr(scores[name], measure), getattr(scores[name], f"{measure}_ci"))
            for name in as_compared(scores, task)
        }

    rows = [(cell, scored(each.representations)) for cell, each in task.cell_types.items()]
    return rows if len(rows) == 1 else [(f"mean of {len(rows)}", scored(task.summary)), *rows[:ROWS]]


def as_compared(names: Iterable[str], task: Task) -> list[str]:
    """Names of representations in the order of the evaluation: JSON sorts keys, but not the list of differences."""
    place = {each.baseline: number for number, each in enumerate(task.differences)}
    return sorted(names, key=lambda name: place.get(name, -1))


def drawn_order(names: Iterable[str]) -> list[str]:
    """Representations that are points and curves.

    The embedding, other embeddings by name, the usual baselines, then all others in the order given.
    """

    def place(name: str) -> tuple[float, str]:
        if name in REPRESENTATIONS:
            return REPRESENTATIONS.index(name), ""
        return (0.5, name) if known_name(name) is None else (len(REPRESENTATIONS), "")

    return sorted((name for name in names if name != MAJORITY), key=place)


@dataclass(frozen=True)
class _Panel:
    title: str
    axis: str
    rows: list[ScoreRow]
    lowest: float
    majority: str


def _panels(task: Task) -> list[_Panel]:
    classes = isinstance(task, TaskResult)
    return [
        _Panel(
            words(task.name),
            f"{axis} of {task.unit}" if isinstance(task, RegressionResult) and measure == "r2" else axis,
            score_rows(task, measure),
            0.0 if classes else LOWEST_SCORE,
            LOOKS[MAJORITY].label if classes else "mean level",
        )
        for measure, axis in measures_of(task).items()
    ]


def scores_figure(tasks: Sequence[Task], layout: Layout) -> Figure:
    """One panel per task and measure, two beside each other where there is space."""
    panels = [panel for task in tasks for panel in _panels(task)]
    columns = 1 if layout.narrow or len(panels) == 1 else 2
    places = -(-len(panels) // columns)
    # Panels side by side are as high as the one with more rows.
    heights = [
        ROW_HEIGHT * max(len(panel.rows) for panel in panels[place * columns : (place + 1) * columns])
        for place in range(places)
    ]
    figure = new_figure(layout, 0.4 + sum(heights) + 0.68 * places)
    grid = figure.subplots(places, columns, squeeze=False, height_ratios=heights).ravel()
    looks = looks_of(name for panel in panels for name in panel.rows[0][1])
    for axes, panel in zip(grid, panels, strict=False):
        _draw_scores(axes, panel, looks)
        axes.xaxis.set_major_locator(round_ticks(5 if layout.narrow else 12 // columns))
        axes.set(title=panel.title, xlabel=panel.axis)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    legend_above(figure, grid[0], layout, handle=1.2)
    return figure


def _draw_scores(axes: Axes, panel: _Panel, looks: Mapping[str, Look]) -> None:
    rows, lowest = panel.rows, panel.lowest
    names = drawn_order(rows[0][1])
    step = 0.8 / len(names)
    for row, (_, scores) in enumerate(rows):
        for rank, name in enumerate(names):
            value, ci = scores[name]
            at, look = row + (rank - (len(names) - 1) / 2) * step, looks[name]
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
                linewidth=1.3, label=panel.majority if row == 0 else None, zorder=1,
            )  # fmt: skip
        if row:
            axes.axhline(row - 0.5, color=LINE, linewidth=0.8)
    name_rows(axes, [name for name, _ in rows])
    axes.get_yticklabels()[0].set_fontweight("bold" if len(rows) > 1 else "normal")
    values = [bound for _, scores in rows for value, ci in scores.values() for bound in (value, ci.low, ci.high)]
    margin = max(0.02, 0.04 * (max(values) - min(values)))
    axes.set_xlim(max(lowest, min(values) - margin), min(1, max(values) + margin))
