"""Precision-recall and ROC curves of the held-out predictions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from epilstm.errors import DataError
from epilstm.store.evaluation_results import EMBEDDING, RegressionResult, TaskResult

#: Points kept of a curve: more could not be told apart in a figure.
POINTS = 160

#: Cell types whose curves are drawn.
CELL_TYPES_DRAWN = 4


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
    """Curves over all thresholds, thinned to `POINTS`.

    Parameters
    ----------
    labels, scores : (n,) arrays
        Both classes are there.
    """
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


def as_compared(names: Iterable[str], task: TaskResult | RegressionResult) -> list[str]:
    """Names of representations in the order of the evaluation: JSON sorts keys, but not the list of differences."""
    place = {each.baseline: number for number, each in enumerate(task.differences)}
    return sorted(names, key=lambda name: place.get(name, -1))


def read_curves(predictions: Path, task: TaskResult) -> dict[str, dict[str, Curves]]:
    """Curves of a task: cell type -> representation -> curves, over the held-out scores of all folds together.

    Parameters
    ----------
    predictions : Path
        ``predictions.parquet``.
    task : TaskResult

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
                    f"{name} that the scores tell of; run evaluate again"
                )
            if name != "majority":
                curves[cell][name] = curves_of(labels[own], scores[own])
    if not all(EMBEDDING in each for each in curves.values()):
        raise DataError(f"{predictions}: no predictions of {task.name} from the embedding; run evaluate again")
    return curves
