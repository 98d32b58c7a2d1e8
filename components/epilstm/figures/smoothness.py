"""How fast a representation changes along the genome: the distance between bins, against how far apart they lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from epilstm.errors import DataError
from epilstm.figures.intervals import STRETCH_BINS
from epilstm.representations.features import Representation
from epilstm.store.matrix import Block, Matrix

Distance = Literal["euclidean", "cosine"]

#: Largest lag (bins): from half a stretch on, few pairs are left. Lags are about evenly spaced in their logarithm.
MAX_LAG = STRETCH_BINS // 2
LAGS = 24

#: Random pairs, drawn from this many bins, whose mean distance is the unit.
RANDOM_PAIRS = 50_000
RANDOM_BINS = 5_000

#: Resamples of the interval, and its ends.
RESAMPLES = 500
PERCENTILES = (2.5, 97.5)

SEED = 1


@dataclass(frozen=True)
class Smoothness:
    """Mean distance of a representation's bins at some lags, in units of that of random pairs of bins.

    Parameters
    ----------
    lags : (n,) int64 array
        In bins, rising.
    distance, low, high : (n,) float64 array
        Mean distance and the ends of its 95% interval, over that of random pairs.
    pairs : (n,) int64 array
        Pairs of bins with data behind each.
    random : float
        Mean distance of random pairs, in the representation's own unit.
    """

    lags: NDArray[np.int64]
    distance: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    pairs: NDArray[np.int64]
    random: float


def spaced_lags(largest: int, count: int = LAGS) -> NDArray[np.int64]:
    """At most `count` lags from 1 to `largest` bins, about evenly spaced in their logarithm."""
    return np.unique(np.geomspace(1, largest, count).round().astype(np.int64))


def measure(
    representation: Representation,
    matrix: Matrix,
    stretches: list[Block],
    lags: NDArray[np.int64],
    distance: Distance = "euclidean",
) -> Smoothness:
    """Mean distance between bins at each lag, over the pairs inside a stretch of which both have data.

    Parameters
    ----------
    representation : Representation
    matrix : Matrix
        Says which bins have data.
    stretches : list of Block
        One is held in memory at a time. The interval resamples them.
    lags : (n,) int64 array
        In bins.
    distance : str
        ``euclidean``, or ``cosine``: one minus the cosine of the angle between vectors, seen from the mean vector.

    Raises
    ------
    DataError
        Fewer than two bins have data, no two of them at a lag, or the representation is constant.
    """
    pool = _pool(representation, matrix, stretches)
    center = pool.mean(axis=0, dtype=np.float64).astype(np.float32)
    random = _random_distance(_prepared(pool, center, distance), distance)
    if not random > 1e-9:
        raise DataError("the same vector at every bin: a smoothness cannot be told of it")
    sums, pairs = np.zeros((len(stretches), len(lags))), np.zeros((len(stretches), len(lags)), np.int64)
    for row, stretch in enumerate(stretches):
        values = _prepared(representation.block(stretch), center, distance)
        mask = matrix.mask(stretch)
        values[~mask] = 0
        for column, lag in enumerate(lags):
            both = mask[lag:] & mask[:-lag]
            sums[row, column] = _distances(values[lag:], values[:-lag], distance)[both].sum(dtype=np.float64)
            pairs[row, column] = both.sum()
    total = pairs.sum(axis=0)
    if not total.all():
        raise DataError(f"no two bins with data lie {lags[total == 0][0]} bins apart; choose a smaller largest lag")
    resampled = _resampled(sums, pairs)
    low, high = np.nanpercentile(resampled, PERCENTILES, axis=0) / random
    return Smoothness(lags, sums.sum(axis=0) / total / random, low, high, total, random)


def _pool(representation: Representation, matrix: Matrix, stretches: list[Block]) -> NDArray[np.float32]:
    each = -(-RANDOM_BINS // len(stretches))
    rows = []
    for stretch in stretches:
        known = np.flatnonzero(matrix.mask(stretch))
        if len(known):
            chosen = known[np.unique(np.linspace(0, len(known) - 1, min(each, len(known))).astype(int))]
            rows.append(representation.block(stretch)[chosen])
    if sum(map(len, rows)) < 2:
        raise DataError("fewer than two bins have data on these chromosomes; choose others")
    return np.concatenate(rows)


def _prepared(values: NDArray[np.float32], center: NDArray[np.float32], distance: Distance) -> NDArray[np.float32]:
    if distance == "euclidean":
        return np.array(values, dtype=np.float32)
    centered = values - center
    lengths = np.linalg.norm(centered, axis=1, keepdims=True)
    return np.asarray(centered / np.maximum(lengths, 1e-12), dtype=np.float32)


def _distances(one: NDArray[np.float32], other: NDArray[np.float32], distance: Distance) -> NDArray[np.float32]:
    if distance == "cosine":
        return np.asarray(1 - np.einsum("ij,ij->i", one, other), dtype=np.float32)
    between = one - other
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", between, between)), dtype=np.float32)


def _random_distance(pool: NDArray[np.float32], distance: Distance) -> float:
    generator = np.random.default_rng(SEED)
    one = generator.integers(len(pool), size=RANDOM_PAIRS)
    other = (one + generator.integers(1, len(pool), size=RANDOM_PAIRS)) % len(pool)  # never the same bin
    parts = np.array_split(np.arange(RANDOM_PAIRS), -(-RANDOM_PAIRS * pool.shape[1] // 2_500_000))
    total = sum(float(_distances(pool[one[part]], pool[other[part]], distance).sum(dtype=np.float64)) for part in parts)
    return total / RANDOM_PAIRS


def _resampled(sums: NDArray[np.float64], pairs: NDArray[np.int64]) -> NDArray[np.float64]:
    generator = np.random.default_rng(SEED)
    drawn = generator.integers(len(sums), size=(RESAMPLES, len(sums)))
    weights = np.stack([np.bincount(each, minlength=len(sums)) for each in drawn]).astype(np.float64)
    counts = weights @ pairs
    means: NDArray[np.float64] = np.full(counts.shape, np.nan)
    np.divide(weights @ sums, counts, out=means, where=counts > 0)
    return means
