"""How fast a representation changes along the genome: the distance between bins, by how far apart they lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator
from numpy.typing import NDArray

from epilstm.errors import DataError, ParamsError
from epilstm.figures.drawing import QUIET, Layout, Plot, bases_as_words, legend_above, new_figure, round_ticks
from epilstm.figures.looks import label_of, looks_of
from epilstm.figures.sample import INTERVAL_BINS, SEED, SampledBins, bootstrap, compared
from epilstm.genome.bin_range import BinRange
from epilstm.representations.features import Representation
from epilstm.store.matrix import Matrix

Distance = Literal["euclidean", "cosine"]

DISTANCES: dict[Distance, str] = {"euclidean": "Euclidean distance", "cosine": "Cosine distance (about the mean)"}

#: Largest distance along the genome (base pairs) unless another is given, and how many are measured.
MAX_DISTANCE = 100_000
LAGS = 24

#: Random pairs, drawn from this many bins, whose mean distance is the unit.
RANDOM_PAIRS = 50_000
RANDOM_BINS = 5_000


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
    intervals: list[BinRange],
    lags: NDArray[np.int64],
    distance: Distance = "euclidean",
) -> Smoothness:
    """Mean distance between bins at each lag, over the pairs inside an interval of which both have data.

    Parameters
    ----------
    representation, matrix
        What is measured, and which bins have data.
    intervals : list of BinRange
        One is held in memory at a time. The confidence interval resamples them.
    lags : (n,) int64 array
        In bins.
    distance : str
        ``euclidean``, or ``cosine``: one minus the cosine of the angle between vectors, seen from the mean vector.

    Raises
    ------
    DataError
        Fewer than two bins have data, no two of them at a lag, or the representation is constant.
    """
    pool = _pool(representation, matrix, intervals)
    center = pool.mean(axis=0, dtype=np.float64).astype(np.float32)
    random = _random_distance(_prepared(pool, center, distance), distance)
    if not random > 1e-9:
        raise DataError("the same vector at every bin, so that its smoothness is undefined")
    sums, pairs = np.zeros((len(intervals), len(lags))), np.zeros((len(intervals), len(lags)), np.int64)
    for row, interval in enumerate(intervals):
        values = _prepared(representation.block(interval), center, distance)
        mask = matrix.mask(interval)
        values[~mask] = 0
        for column, lag in enumerate(lags):
            both = mask[lag:] & mask[:-lag]
            sums[row, column] = _distances(values[lag:], values[:-lag], distance)[both].sum(dtype=np.float64)
            pairs[row, column] = both.sum()
    total = pairs.sum(axis=0)
    if not total.all():
        raise DataError(f"no two bins with data lie {lags[total == 0][0]} bins apart; choose a smaller largest lag")

    def means(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        counts = weights @ pairs
        undefined: NDArray[np.float64] = np.full(counts.shape, np.nan)
        return np.divide(weights @ sums, counts, out=undefined, where=counts > 0) / random

    return Smoothness(lags, sums.sum(axis=0) / total / random, *bootstrap(means, len(intervals)), total, random)


def _pool(representation: Representation, matrix: Matrix, intervals: list[BinRange]) -> NDArray[np.float32]:
    each = -(-RANDOM_BINS // len(intervals))
    rows = []
    for interval in intervals:
        known = np.flatnonzero(matrix.mask(interval))
        if len(known):
            chosen = known[np.unique(np.linspace(0, len(known) - 1, min(each, len(known))).astype(int))]
            rows.append(representation.block(interval)[chosen])
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


def smoothness_plot(sample: SampledBins, distance: Distance = "euclidean", max_distance: int = MAX_DISTANCE) -> Plot:
    """Distance between bins by how far apart they lie, for the embedding, the raw tracks and PCA.

    Raises
    ------
    DataError
        None of them can be measured.
    ParamsError
        The largest distance is less than a bin.
    """
    matrix, size = sample.matrix, sample.matrix.manifest.bin_size
    largest = min(max_distance // size, max(interval.bins for interval in sample.intervals) // 2)
    if largest < 1:
        raise ParamsError(
            f"--max-distance {max_distance}: no two bins to compare; give from {size} to "
            f"{INTERVAL_BINS // 2 * size}, and chromosomes with data"
        )
    measured: dict[str, Smoothness] = {}
    failures: list[str] = []
    for name, representation in compared(matrix, sample.embedding).items():
        try:
            measured[name] = measure(representation, matrix, sample.intervals, spaced_lags(largest), distance)
        except DataError as error:
            failures.append(f"{label_of(name)}: {error}")
    if not measured:
        raise DataError("; ".join(failures))
    failed = "; ".join(failures)
    pca = (
        f"PCA has as many components as the embedding has numbers ({sample.embedding.size})."
        if sample.embedding.size < matrix.tracks
        else "PCA with as many components as there are tracks has the distances of the raw tracks and is left out."
    )
    caption = (
        f"{DISTANCES[distance]} between the vectors of two bins, divided by that of random pairs of bins, by how far "
        f"apart they lie; {sample.described}. Bands: 95% bootstrap intervals over these intervals. {pca} A lower line "
        "is a smoother representation: it describes its neighbourhood more than its bin."
        f"{f' Not drawn: {failed}.' if failed else ''}"
    )
    alt = f"Mean distance between bins by how far apart they lie, for {', '.join(map(label_of, measured))}."
    return Plot(partial(smoothness_figure, measured, size), caption, alt, partial(_numbers, measured, size))


def _numbers(measured: Mapping[str, Smoothness], bin_size: int) -> list[dict[str, Any]]:
    return [
        {
            "representation": name, "distance_bp": int(lag) * bin_size, "mean_distance": float(curve.distance[at]),
            "low": float(curve.low[at]), "high": float(curve.high[at]), "pairs": int(curve.pairs[at]),
        }
        for name, curve in measured.items()
        for at, lag in enumerate(curve.lags)
    ]  # fmt: skip


def smoothness_figure(measured: Mapping[str, Smoothness], bin_size: int, layout: Layout) -> Figure:
    """Mean distance at each lag in units of random pairs, one line per representation; 95% intervals are shaded."""
    figure = new_figure(layout, 3.9 if layout.narrow else 3.7)
    axes = figure.subplots()
    looks = looks_of(measured)
    for name, curve in measured.items():
        look, bases = looks[name], curve.lags * bin_size
        axes.fill_between(bases, curve.low, curve.high, color=look.color, alpha=0.15, linewidth=0)
        axes.plot(
            bases, curve.distance, color=look.color, linestyle=look.line, marker=look.marker, markersize=4,
            label=look.label, zorder=4 if name == "embedding" else 3,
        )  # fmt: skip
    axes.axhline(1, color=QUIET, linewidth=0.9, linestyle=(0, (2, 2)), zorder=0, label="random pairs")
    axes.set_xscale("log")
    first, last = (next(iter(measured.values())).lags[[0, -1]] * bin_size).tolist()
    axes.set_xlim(first * 0.9, last * 1.1)
    round_bases = [base for power in range(1, 9) for base in (10**power, 3 * 10**power) if base > 1.5 * bin_size]
    ticks = [base for base in (bin_size, *round_bases) if first * 0.9 <= base <= last * 1.1]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(ticks, [bases_as_words(base) for base in ticks])
    axes.set(xlabel="distance along the genome", ylabel="mean distance between bins\n(random pairs = 1)")
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(round_ticks(6))
    axes.grid()
    legend_above(figure, axes, layout, handle=2.6)
    return figure
