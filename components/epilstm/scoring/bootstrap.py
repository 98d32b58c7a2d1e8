"""The bootstrap over clusters of examples: draws, intervals, and verdicts on differences.

Examples near each other share chromatin, so clusters (bin ranges of the genome), not examples, are resampled. The same
draws for two representations make their differences paired.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from epilstm.store.evaluation_results import (
    EMBEDDING,
    FEW_REGIONS,
    MIN_CLUSTERS,
    NO_SPREAD,
    NO_VERDICT,
    Difference,
    Interval,
    Verdict,
)

#: Weights handled at once, which bounds the bootstrap's memory.
WEIGHTS_AT_ONCE = 4_000_000


def cluster_draws(clusters: int, resamples: int, seed: int) -> NDArray[np.float32]:
    """How often each cluster is drawn in each bootstrap resample (clusters drawn with replacement): (b, clusters)."""
    random = np.random.default_rng(seed)
    return random.multinomial(clusters, np.full(clusters, 1 / clusters), size=resamples).astype(np.float32)


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


def difference(
    baseline: str, delta: float, resampled: NDArray[np.float64], clusters: int, confidence: float
) -> Difference:
    """Embedding minus baseline, with the verdict that follows from the interval.

    There is no verdict with fewer than `MIN_CLUSTERS` clusters, or where a difference other than 0 does not vary over
    the resamples.

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
    verdict, reason = verdict_of(ci, clusters, FEW_REGIONS)
    if ci.low == ci.high != 0 and verdict != NO_VERDICT:
        verdict, reason = NO_VERDICT, NO_SPREAD
    return Difference(baseline=baseline, delta=delta, ci=ci, verdict=verdict, reason=reason)


def verdict_of(ci: Interval, units: int, few: str) -> tuple[Verdict, str]:
    """Verdict on a difference from its interval, above zero being better, and the reason where there is none.

    Parameters
    ----------
    ci : Interval
    units : int
        Number of what was resampled.
    few : str
        The reason where these are fewer than `MIN_CLUSTERS`.
    """
    if units < MIN_CLUSTERS:
        return NO_VERDICT, few
    verdict: Verdict = "beats" if ci.low > 0 else "is beaten by" if ci.high < 0 else "is indistinguishable from"
    return verdict, ""


def against_baselines(
    scores: Mapping[str, float],
    draws: Mapping[str, NDArray[np.float64]],
    clusters: int,
    confidence: float,
    minuend: str = EMBEDDING,
) -> list[Difference]:
    """One representation, the embedding unless another is named, minus each of the others, in their order.

    Parameters
    ----------
    scores : mapping of str to float
        Representation -> score, the minuend among them.
    draws : mapping of str to (b,) array
        The same on the same resamples.
    clusters : int
        Number of clusters resampled.
    confidence : float
    minuend : str
    """
    return [
        difference(name, scores[minuend] - scores[name], draws[minuend] - draws[name], clusters, confidence)
        for name in scores
        if name != minuend
    ]
