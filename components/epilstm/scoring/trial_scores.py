"""One number per trial, whatever it predicts: average precision of classes, R2 of levels; and its resamples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from epilstm.scoring.regression import weighted_r2
from epilstm.scoring.scores import bootstrap_average_precision, in_batches, mean_average_precision
from epilstm.scoring.trials import Trial
from epilstm.store.evaluation_results import Measure


def measure_of(trials: Sequence[Trial]) -> Measure:
    """What trials of one task are measured by."""
    return "R2" if trials[0].task.of_levels else "average precision"


def measured(trial: Trial, scores: NDArray[np.float32]) -> float:
    """Score of (n,) out-of-fold predictions."""
    once = np.ones((1, len(scores)))
    if trial.examples.levels is not None:
        return float(weighted_r2(trial.examples.levels, scores, once)[0])
    return float(mean_average_precision(trial.examples.labels, scores, trial.folds.fold, once)[0])


def resampled(trial: Trial, scores: NDArray[np.float32], draws: NDArray[np.float32]) -> NDArray[np.float64]:
    """(b,) scores of (n,) out-of-fold predictions in each resample of clusters (`draws`, (b, clusters))."""
    levels = trial.examples.levels
    if levels is not None:
        return in_batches(draws, trial.cluster, lambda weights: weighted_r2(levels, scores, weights))
    return bootstrap_average_precision(trial.examples.labels, scores, trial.folds.fold, trial.cluster, draws)


def by_task(trials: Sequence[Trial]) -> dict[str, list[int]]:
    """Numbers of the trials of each task, in order."""
    numbers: dict[str, list[int]] = {}
    for number, trial in enumerate(trials):
        numbers.setdefault(trial.task.name, []).append(number)
    return numbers


def clusters_of(trials: Sequence[Trial]) -> int:
    """Clusters of the cell type that has most of them."""
    return max(len(np.unique(trial.cluster)) for trial in trials)
