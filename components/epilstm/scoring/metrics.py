"""Metrics of out-of-fold predictions under many weightings of the examples at once.

A bootstrap weights each example by how often it is drawn, so one call scores all resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from epilstm.scoring.bootstrap import in_batches
from epilstm.scoring.trials import Trial
from epilstm.store.evaluation_results import Measure

Predicted = NDArray[np.floating]
Weights = NDArray[np.floating]


@dataclass(frozen=True)
class Metric:
    """One number per trial: how good its out-of-fold predictions are.

    Parameters
    ----------
    field : str
        Its key in ``scores.json``.
    weighted : callable
        From a trial, its (n,) predictions and (b, n) weights of its examples to (b,) values.
    by_cluster : callable, optional
        From a trial, its predictions and (b, clusters) weights of its clusters to the same, where sums over clusters
        are enough.
    """

    field: str
    weighted: Callable[[Trial, Predicted, Weights], NDArray[np.float64]]
    by_cluster: Callable[[Trial, Predicted, Weights], NDArray[np.float64]] | None = None

    def value(self, trial: Trial, predicted: Predicted) -> float:
        """Score of the predictions, every example counted once."""
        return float(self.weighted(trial, predicted, np.ones((1, len(predicted))))[0])

    def resampled(self, trial: Trial, predicted: Predicted, draws: NDArray[np.float32]) -> NDArray[np.float64]:
        """(b,) scores in each resample of clusters (`draws`, (b, clusters))."""
        if self.by_cluster is not None:
            return self.by_cluster(trial, predicted, draws)
        return in_batches(draws, trial.cluster, lambda weights: self.weighted(trial, predicted, weights))


def levels_of(trial: Trial) -> NDArray[np.float64]:
    """Levels of a trial of a task of levels."""
    assert trial.examples.levels is not None
    return trial.examples.levels


def weighted_average_precision(
    labels: NDArray[np.bool_], scores: NDArray[np.floating], weights: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Average precision under many weightings at once, as scikit-learn defines it (ties are one threshold).

    Parameters
    ----------
    labels : (n,) bool array
    scores : (n,) float array
    weights : (b, n) float array
        Each row weights the examples once.

    Returns
    -------
    (b,) float64 array
        NaN where no positive has weight.
    """
    order = np.argsort(-scores, kind="stable")
    tie = np.cumsum(np.diff(scores[order], prepend=scores[order[:1]]) != 0)
    places = np.flatnonzero(labels[order])
    # Recall rises at scores that positives have, so weights are added up from one of these to the next.
    rises, first = np.unique(tie[places], return_index=True)
    if not len(rises):
        return np.full(len(weights), np.nan)
    ends = np.searchsorted(tie, rises, side="right")
    counted = np.add.reduceat(weights[:, order[: ends[-1]]], np.append(0, ends[:-1]), axis=1, dtype=np.float64)
    gain = np.add.reduceat(weights[:, order[places]], first, axis=1, dtype=np.float64)
    total, true = np.cumsum(counted, axis=1), np.cumsum(gain, axis=1)
    precision = np.divide(true, total, out=np.zeros_like(true), where=total > 0)
    return _ratio((gain * precision).sum(axis=1), true[:, -1])


def mean_average_precision(
    labels: NDArray[np.bool_], scores: NDArray[np.floating], fold: NDArray[np.integer], weights: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Average precision within each fold, mean over the folds whose positives have weight.

    Parameters
    ----------
    labels, scores, fold : (n,) arrays
    weights : (b, n) float array

    Returns
    -------
    (b,) float64 array
        NaN where no positive has weight.
    """
    per_fold = np.stack(
        [
            weighted_average_precision(labels[test], scores[test], weights[:, test])
            for test in (fold == number for number in np.unique(fold))
        ]
    )
    scored = np.isfinite(per_fold)
    count = scored.sum(axis=0)
    total = np.where(scored, per_fold, 0).sum(axis=0)
    return _ratio(total, count)


def _ratio(above: NDArray[np.float64], below: NDArray) -> NDArray[np.float64]:
    undefined = np.full(len(above), np.nan)
    return np.asarray(np.divide(above, below, out=undefined, where=below > 0), dtype=np.float64)


def mean_auroc(labels: NDArray[np.bool_], scores: NDArray[np.floating], fold: NDArray[np.integer]) -> float | None:
    """Area under the ROC curve within each fold, mean over the folds that hold both classes; None where none does.

    Parameters
    ----------
    labels, scores, fold : (n,) arrays
    """
    from sklearn.metrics import roc_auc_score

    tests = [fold == number for number in np.unique(fold)]
    per_fold = [roc_auc_score(labels[test], scores[test]) for test in tests if len(np.unique(labels[test])) == 2]
    return float(np.mean(per_fold)) if per_fold else None


#: Least variance, relative to the mean square, that counts as varying.
VARIES = 1e-12


def weighted_r2(
    levels: NDArray[np.float64], predicted: NDArray[np.floating], weights: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Coefficient of determination, ``1 - SSE / SST``, under many weightings.

    Parameters
    ----------
    levels, predicted : (n,) arrays
    weights : (b, n) array

    Returns
    -------
    (b,) float64 array
        NaN where the levels with weight do not vary.
    """
    return clustered_r2(levels, predicted, np.arange(len(levels)), weights)


def clustered_r2(
    levels: NDArray[np.float64],
    predicted: NDArray[np.floating],
    cluster: NDArray[np.integer],
    weights: NDArray[np.floating],
) -> NDArray[np.float64]:
    """As `weighted_r2`, with one weight for all examples of a cluster.

    Parameters
    ----------
    levels, predicted : (n,) arrays
    cluster : (n,) int array
        Each example's column of `weights`.
    weights : (b, clusters) array
    """
    exact = np.asarray(weights, dtype=np.float64)

    def summed(values: NDArray[np.float64]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = exact @ np.bincount(cluster, values, minlength=exact.shape[1])
        return found

    # About the mean of all levels, the one-pass variance loses no digits.
    about = levels - levels.mean()
    errors = summed(np.square(levels - np.asarray(predicted, dtype=np.float64)))
    squares = summed(np.square(about))
    total = squares - np.square(summed(about)) / np.maximum(summed(np.ones(len(about))), 1e-300)
    varies = total > VARIES * np.maximum(squares, 1e-300)
    return np.where(varies, 1 - errors / np.where(varies, total, 1), np.nan)


def deviations_within(values: NDArray[np.float64], cluster: NDArray[np.integer]) -> NDArray[np.float64]:
    """(n,) deviations of values from the mean of their cluster."""
    count = np.maximum(np.bincount(cluster), 1)
    found: NDArray[np.float64] = values - (np.bincount(cluster, values) / count)[cluster]
    return found


def weighted_ranks(values: NDArray[np.floating], weights: NDArray[np.floating]) -> NDArray[np.float64]:
    """(b, n) ranks of values that occur `weights` times each; equal values share the mean of their ranks."""
    order = np.argsort(values, kind="stable")
    starts = np.flatnonzero(np.diff(values[order], prepend=np.nan))
    totals = np.add.reduceat(np.asarray(weights, dtype=np.float64)[:, order], starts, axis=1)
    mean_ranks = np.cumsum(totals, axis=1) - (totals - 1) / 2
    tie = np.empty(len(values), dtype=np.intp)
    tie[order] = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(values)))
    return np.asarray(mean_ranks[:, tie])


def weighted_spearman(
    levels: NDArray[np.float64], predicted: NDArray[np.floating], weights: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Spearman's rank correlation of examples that occur `weights` times each, for many weightings.

    Returns
    -------
    (b,) float64 array
        NaN where the levels with weight do not vary, 0 where only the predictions do not.
    """
    exact = np.asarray(weights, dtype=np.float64)
    count = np.maximum(exact.sum(axis=1, keepdims=True), 1)
    true, other = (
        ranks - (exact * ranks).sum(axis=1, keepdims=True) / count
        for ranks in (weighted_ranks(levels, exact), weighted_ranks(predicted, exact))
    )
    true_squares, other_squares = (exact * true**2).sum(axis=1), (exact * other**2).sum(axis=1)
    covariance = (exact * true * other).sum(axis=1)
    # Ranks that differ at all differ by a half or more.
    varies, predicts = true_squares > 1e-6, other_squares > 1e-6
    scale = np.sqrt(np.where(varies & predicts, true_squares * other_squares, 1))
    return np.where(varies, np.where(predicts, covariance / scale, 0), np.nan)


def mean_spearman(
    levels: NDArray[np.float64],
    predicted: NDArray[np.floating],
    fold: NDArray[np.integer],
    weights: NDArray[np.floating],
) -> NDArray[np.float64]:
    """Spearman's correlation within each fold, mean over the folds whose levels vary, by their weight.

    Returns
    -------
    (b,) float64 array
        NaN where the levels vary in no fold.
    """
    tests = [fold == number for number in np.unique(fold)]
    each = np.stack([weighted_spearman(levels[test], predicted[test], weights[:, test]) for test in tests])
    # A resample may leave a fold with a few examples, whose correlation is next to random.
    share = np.where(np.isfinite(each), np.stack([weights[:, test].sum(axis=1) for test in tests]), 0)
    total = share.sum(axis=0)
    mean = (share * np.nan_to_num(each)).sum(axis=0) / np.where(total > 0, total, 1)
    return np.where(total > 0, mean, np.nan)


AVERAGE_PRECISION = Metric(
    "average_precision",
    lambda trial, predicted, weights: mean_average_precision(
        trial.examples.labels, predicted, trial.folds.fold, weights
    ),
)
R2 = Metric(
    "r2",
    lambda trial, predicted, weights: weighted_r2(levels_of(trial), predicted, weights),
    lambda trial, predicted, weights: clustered_r2(levels_of(trial), predicted, trial.cluster, weights),
)
SPEARMAN = Metric(
    "spearman",
    lambda trial, predicted, weights: mean_spearman(levels_of(trial), predicted, trial.folds.fold, weights),
)


def metric_of(trials: Sequence[Trial]) -> tuple[Measure, Metric]:
    """The metric that verdicts about a task are based on, with its name."""
    return ("R2", R2) if trials[0].task.of_levels else ("average precision", AVERAGE_PRECISION)
