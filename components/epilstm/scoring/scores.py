"""Average precision and its bootstrap, and the other scores of held-out predictions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from epilstm.store.evaluation_results import (
    FEW_REGIONS,
    MIN_CLUSTERS,
    NO_SPREAD,
    NOT_JUDGED,
    Difference,
    Interval,
    Scores,
    Verdict,
)

#: Weights handled at once, which bounds the bootstrap's memory.
WEIGHTS_AT_ONCE = 4_000_000


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
    ordered = scores[order]
    thresholds = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
    sorted_weights = np.asarray(weights, dtype=np.float64)[:, order]
    total = np.cumsum(sorted_weights, axis=1)[:, thresholds]
    true = np.cumsum(sorted_weights * labels[order], axis=1)[:, thresholds]
    precision = np.divide(true, total, out=np.zeros_like(true), where=total > 0)
    gain = np.diff(true, axis=1, prepend=0.0)
    positives = true[:, -1]
    return _ratio((gain * precision).sum(axis=1), positives)


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


def cluster_draws(clusters: int, resamples: int, seed: int) -> NDArray[np.float32]:
    """How often each cluster is drawn in each bootstrap resample (clusters drawn with replacement): (b, clusters)."""
    random = np.random.default_rng(seed)
    return random.multinomial(clusters, np.full(clusters, 1 / clusters), size=resamples).astype(np.float32)


def bootstrap_average_precision(
    labels: NDArray[np.bool_],
    scores: NDArray[np.floating],
    fold: NDArray[np.integer],
    cluster: NDArray[np.integer],
    draws: NDArray[np.float32],
) -> NDArray[np.float64]:
    """Mean average precision in each bootstrap resample of whole clusters.

    Examples near each other share chromatin, so clusters (stretches of genome), not examples, are resampled. The
    same `draws` for two representations make the differences paired.

    Parameters
    ----------
    labels, scores, fold, cluster : (n,) arrays
        `cluster` indexes the columns of `draws`.
    draws : (b, clusters) float array

    Returns
    -------
    (b,) float64 array
        NaN where no positive was drawn.
    """
    return in_batches(draws, cluster, lambda weights: mean_average_precision(labels, scores, fold, weights))


def in_batches(
    draws: NDArray[np.float32],
    cluster: NDArray[np.integer],
    measure: Callable[[NDArray[np.float32]], NDArray[np.float64]],
) -> NDArray[np.float64]:
    """A measure of every bootstrap resample, a batch of resamples at a time.

    Parameters
    ----------
    draws : (b, clusters) float array
    cluster : (n,) array
        Each example's column of `draws`.
    measure : callable
        From (some, n) weights of examples to (some,) numbers.
    """
    step = max(1, WEIGHTS_AT_ONCE // max(len(cluster), 1))
    return np.concatenate([measure(draws[start : start + step][:, cluster]) for start in range(0, len(draws), step)])


def interval(values: NDArray[np.float64], confidence: float) -> Interval:
    """Percentile interval over the resamples in which the statistic is defined."""
    defined = values[np.isfinite(values)]
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(low=float(low), high=float(high))


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


def score(
    labels: NDArray[np.bool_],
    scores: NDArray[np.float32],
    fold: NDArray[np.integer],
    resampled: NDArray[np.float64],
    confidence: float,
) -> Scores:
    """All scores of one representation's held-out predictions.

    Parameters
    ----------
    labels, scores, fold : (n,) arrays
        Both classes are there.
    resampled : (b,) float64 array
        From `bootstrap_average_precision`.
    confidence : float
    """
    from sklearn.metrics import f1_score

    once = np.ones((1, len(labels)))
    called = scores >= 0.5
    return Scores(
        average_precision=float(mean_average_precision(labels, scores, fold, once)[0]),
        average_precision_ci=interval(resampled, confidence),
        average_precision_pooled=float(weighted_average_precision(labels, scores, once)[0]),
        auroc=mean_auroc(labels, scores, fold),
        f1=float(f1_score(labels, called, zero_division=0)),
        accuracy=float((called == labels).mean()),
        n=len(labels),
        positives=int(labels.sum()),
        folds_scored=len(np.unique(fold[labels])),
    )


def difference(
    baseline: str, delta: float, resampled: NDArray[np.float64], clusters: int, confidence: float
) -> Difference:
    """Embedding minus baseline, and what the interval says of it.

    Below `MIN_CLUSTERS` it is not judged, nor is a difference that does not vary over the resamples but is not 0.

    Parameters
    ----------
    baseline : str
    delta : float
        Difference on the data as they are.
    resampled : (b,) float64 array
        Differences on the same resamples.
    clusters : int
        Number of clusters resampled.
    confidence : float
    """
    ci = interval(resampled, confidence)
    verdict, reason = judge_interval(ci, clusters, FEW_REGIONS)
    if ci.low == ci.high != 0 and verdict != NOT_JUDGED:
        verdict, reason = NOT_JUDGED, NO_SPREAD
    return Difference(baseline=baseline, delta=delta, ci=ci, verdict=verdict, reason=reason)


def judge_interval(ci: Interval, units: int, few: str) -> tuple[Verdict, str]:
    """What the interval of a difference says, above zero being better, and why it says nothing where it does not.

    Parameters
    ----------
    ci : Interval
    units : int
        What was resampled.
    few : str
        The reason where these are fewer than `MIN_CLUSTERS`.
    """
    if units < MIN_CLUSTERS:
        return NOT_JUDGED, few
    verdict: Verdict = "beats" if ci.low > 0 else "is beaten by" if ci.high < 0 else "is indistinguishable from"
    return verdict, ""
