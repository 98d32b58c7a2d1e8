"""Precision-recall and ROC curves of the held-out predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from epilstm.errors import DataError
from epilstm.figures.drawing import QUIET, Layout, Plot, legend_above, new_figure, words, wrapped
from epilstm.figures.looks import looks_of
from epilstm.figures.scores import HOLD_OUT, as_compared, drawn_order
from epilstm.store.evaluation_results import EMBEDDING, FoldsUsed, TaskResult

#: Points kept of a curve: more make no visible difference.
POINTS = 160

#: Cell types whose curves are drawn.
CELL_TYPES_DRAWN = 4

#: Size of the panels' titles, which are wrapped.
TITLE_SIZE = 10.5


@dataclass(frozen=True)
class Curves:
    """Both curves of one representation; matching entries of two arrays are one threshold.

    `recall` rises with `precision` beside it; `false_positive_rate` rises with `recall_at_rate` beside it.
    """

    recall: NDArray[np.float64]
    precision: NDArray[np.float64]
    false_positive_rate: NDArray[np.float64]
    recall_at_rate: NDArray[np.float64]


def curves_of(labels: NDArray[np.bool_], scores: NDArray[np.floating]) -> Curves:
    """Curves over all thresholds of (n,) scores, thinned to `POINTS`; both classes are among the labels."""
    from sklearn.metrics import precision_recall_curve, roc_curve

    precision, recall, _ = precision_recall_curve(labels, scores)
    # scikit-learn ends with recall 0 at precision 1, where nothing is called; the first real threshold takes its place.
    recall, precision = recall[-2::-1], precision[-2::-1]
    false_positive_rate, recall_at_rate, _ = roc_curve(labels, scores)
    on_recall, on_rate = _thinned(recall), _thinned(false_positive_rate + recall_at_rate)
    return Curves(recall[on_recall], precision[on_recall], false_positive_rate[on_rate], recall_at_rate[on_rate])


def _thinned(rising: NDArray[np.float64]) -> NDArray[np.int64]:
    """Indices of at most `POINTS` entries, about evenly spaced in value, first and last among them."""
    if len(rising) <= POINTS:
        return np.arange(len(rising))
    places = np.searchsorted(rising, np.linspace(rising[0], rising[-1], POINTS - 1))
    return np.unique(np.append(places, len(rising) - 1))


def cell_types_drawn(task: TaskResult) -> list[str]:
    """Cell types whose curves are drawn: those with the most positives, in the task's order."""
    by_positives = sorted(task.cell_types, key=lambda cell: -task.cell_types[cell].positives)
    return [cell for cell in task.cell_types if cell in by_positives[:CELL_TYPES_DRAWN]]


def read_curves(predictions: Path, task: TaskResult) -> dict[str, dict[str, Curves]]:
    """Curves of a task: cell type -> representation -> curves, over the held-out scores of all folds together.

    Raises
    ------
    DataError
        The file does not have the task's predictions.
    """
    import pyarrow
    import pyarrow.parquet

    curves: dict[str, dict[str, Curves]] = {}
    for cell in cell_types_drawn(task):
        try:
            table = pyarrow.parquet.read_table(
                predictions,
                columns=["representation", "label", "score"],
                filters=[("task", "=", task.name), ("cell_type", "=", cell)],
            )
        except (pyarrow.ArrowException, OSError) as error:
            raise DataError(f"{predictions}: cannot be read: {error}; run evaluate again") from error
        names = table["representation"].to_numpy()
        labels = table["label"].to_numpy().astype(bool)
        scores = table["score"].to_numpy()
        curves[cell] = {}
        for name in as_compared(task.cell_types[cell].representations, task):
            own = names == name
            if own.sum() != task.cell_types[cell].n or len(np.unique(labels[own])) < 2:
                raise DataError(
                    f"{predictions}: not the {task.cell_types[cell].n} predictions of {task.name} in {cell} from "
                    f"{name} that the scores are of; run evaluate again"
                )
            if name != "majority":
                curves[cell][name] = curves_of(labels[own], scores[own])
    if not all(EMBEDDING in each for each in curves.values()):
        raise DataError(f"{predictions}: no predictions of {task.name} from the embedding; run evaluate again")
    return curves


@dataclass(frozen=True)
class CurvePanel:
    """What a pair of panels shows: curves of each representation, of one task in one cell type."""

    task: TaskResult
    cell: str
    curves: Mapping[str, Curves]
    title: str


def task_panels(task: TaskResult, predictions: Path) -> list[CurvePanel]:
    """A pair of panels for each cell type that is drawn.

    Raises
    ------
    DataError
        The file does not have the task's predictions.
    """
    return [CurvePanel(task, cell, curves, cell) for cell, curves in read_curves(predictions, task).items()]


def largest_panel(task: TaskResult, predictions: Path) -> CurvePanel:
    """The pair of panels of the cell type with the most positives, titled with the task.

    Raises
    ------
    DataError
        The file does not have the task's predictions.
    """
    curves = read_curves(predictions, task)
    most = max(curves, key=lambda cell: task.cell_types[cell].positives)
    return CurvePanel(task, most, curves[most], words(task.name))


def curves_plot(panels: Sequence[CurvePanel], folds: FoldsUsed) -> Plot:
    """Precision-recall and ROC curves."""
    tasks = list(dict.fromkeys(words(panel.task.name) for panel in panels))
    by_cell, cells = panels[0].title == panels[0].cell, panels[0].task.cell_types
    counts = []
    for panel in panels:
        scored = panel.task.cell_types[panel.cell]
        name = panel.title if by_cell else f"{panel.title} ({panel.cell})"
        counts.append(f"{name}: n = {scored.n:,}, {scored.positives:,} positive")
    left_out = by_cell and len(panels) < len(cells)
    most = f" These are the {len(panels)} of {len(cells)} cell types with the most positives." if left_out else ""
    return Plot(
        partial(curves_figure, panels),
        f"{f'{tasks[0]}: h' if by_cell else 'H'}eld-out predictions of all folds together; {folds.count} folds hold "
        f"out {HOLD_OUT[folds.by]}. {'; '.join(counts)}.{most} Dotted: chance, the share of positives. Folds are "
        "calibrated separately, so these curves can lie a little below the average over folds.",
        f"Precision-recall and ROC curves of {', '.join(tasks)} in {', '.join(panel.cell for panel in panels)}.",
        partial(_numbers, panels),
    )


def _numbers(panels: Sequence[CurvePanel]) -> list[dict[str, Any]]:
    return [
        {
            "task": panel.task.name, "cell_type": panel.cell, "representation": representation, "curve": kind,
            "x": float(x), "y": float(y),
        }
        for panel in panels
        for representation, curve in panel.curves.items()
        for kind, xs, ys in (
            ("precision-recall", curve.recall, curve.precision),
            ("ROC", curve.false_positive_rate, curve.recall_at_rate),
        )
        for x, y in zip(xs, ys, strict=True)
    ]  # fmt: skip


def curves_figure(panels: Sequence[CurvePanel], layout: Layout) -> Figure:
    """Precision-recall and ROC curves, one above the other, or side by side where there is one pair or a phone."""
    count, looks = len(panels), looks_of(name for panel in panels for name in panel.curves)
    beside = count == 1 or layout.narrow
    side = (layout.width - 0.3) / (2 if beside else count) - 0.6
    titles = ["\n".join(wrapped(panel.title, side, TITLE_SIZE)) for panel in panels]
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
        rate = panel.task.cell_types[panel.cell].base_rate
        for rank, name in enumerate(drawn_order(panel.curves)):
            look, curve = looks[name], panel.curves[name]
            style = {
                "zorder": 20 - rank,
                "color": look.color,
                "linestyle": look.line,
                "linewidth": 1.5 if name == EMBEDDING else 1.2,
            }
            precision_recall.plot(curve.recall, curve.precision, drawstyle="steps-pre", label=look.label, **style)
            roc.plot(curve.false_positive_rate, curve.recall_at_rate, label=look.label, **style)
        chance = {"color": QUIET, "linewidth": 0.9, "linestyle": (0, (2, 2)), "zorder": 0, "label": "chance"}
        precision_recall.plot([0, 1], [rate, rate], **chance)
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
