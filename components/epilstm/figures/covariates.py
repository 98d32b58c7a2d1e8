"""Correlation of an embedding with a quantity along the genome: GC content, or conservation."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from epilstm.errors import DataError
from epilstm.figures.drawing import (
    QUIET,
    Layout,
    Plot,
    bases_as_words,
    legend_above,
    name_rows,
    new_figure,
    round_ticks,
)
from epilstm.figures.sample import SampledBins, bootstrap
from epilstm.genome.bin_range import BinRange
from epilstm.genome.fasta import gc_content
from epilstm.genome.name_matching import those_there
from epilstm.representations.features import Representation
from epilstm.store.manifests import dimension_names
from epilstm.store.matrix import Matrix

Method = Literal["pearson", "spearman"]

#: The option that names a bigWig here.
GIVEN_AS = "--bigwig"

METHODS: dict[Method, str] = {"pearson": "Pearson's correlation", "spearman": "Spearman's correlation"}

#: Lengths of window (base pairs) over which means are correlated.
WINDOWS = (25, 1_000, 10_000)

#: Dimensions with a row of their own; of more, those that correlate best are drawn.
ROWS = 40

#: Windows from short to long.
COLORS, MARKERS = ("#8fc1e3", "#0072B2", "#0b2f4e"), ("^", "o", "s")


def gc_of(path: Path, matrix: Matrix, intervals: Sequence[BinRange]) -> list[NDArray[np.float32]]:
    """GC content of the bins of each interval; NaN where no base is known.

    Raises
    ------
    DataError
        `path` is not the FASTA of the matrix's assembly.
    """
    manifest = matrix.manifest
    chromosomes = dict.fromkeys(interval.chrom for interval in intervals)
    content = gc_content(path, {name: manifest.chromosome_sizes[name] for name in chromosomes}, manifest.bin_size)
    return [_within(content[interval.chrom], interval) for interval in intervals]


def _within(values: NDArray[np.float32], interval: BinRange) -> NDArray[np.float32]:
    """Values of an interval, which may reach past the chromosome's last bin to complete a frame."""
    known = values[interval.first : interval.last]
    return np.concatenate([known, np.full(interval.bins - len(known), np.nan, np.float32)])


def bigwig_of(path: Path, matrix: Matrix, intervals: Sequence[BinRange]) -> list[NDArray[np.float32]]:
    """Mean over the bases that a bigWig (such as phyloP) has a value for, of each bin of each interval; NaN without.

    Or a bedGraph or wiggle file, gzipped or not.

    Raises
    ------
    DataError, TrackError
        Not a bigWig, one of other chromosomes, or without a mean (see `bin_means`).
    """
    from epilstm.tracks.bigwig import BigWig
    from epilstm.tracks.binning import UnusableSignal, bin_means
    from epilstm.tracks.converting import as_bigwig

    size, sizes = matrix.manifest.bin_size, matrix.manifest.chromosome_sizes
    with (
        tempfile.TemporaryDirectory(prefix="epilstm-") as scratch,
        BigWig(
            as_bigwig(path, str(path), sizes, Path(scratch), given_as=GIVEN_AS), str(path), given_as=GIVEN_AS
        ) as bigwig,
    ):
        absent = [interval.chrom for interval in intervals if interval.chrom not in bigwig.chromosomes]
        if absent:
            raise DataError(
                f"{path}: no chromosome {absent[0]}; it has {those_there(absent[0], bigwig.chromosomes)}; give a "
                "bigWig of the data set's assembly, with chromosomes named alike"
            )
        try:
            places = [(interval.chrom, interval.first * size, interval.last * size) for interval in intervals]
            return [bin_means(bigwig.intervals(*place), *place[1:], size, "missing") for place in places]
        except UnusableSignal as error:
            raise DataError(f"{path}: {error}; check {GIVEN_AS}") from error


@dataclass(frozen=True)
class Correlation:
    """Correlation of every dimension with a quantity, over windows of one length.

    Parameters
    ----------
    window : int
        Base pairs.
    value, low, high : (size,) float64 array
        Correlation and the ends of its 95% interval, which resamples intervals; NaN for a constant dimension.
    windows : int
        With data.
    """

    window: int
    value: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    windows: int


def correlate(
    representation: Representation,
    quantity: Sequence[NDArray[np.float32]],
    matrix: Matrix,
    intervals: Sequence[BinRange],
    window_bins: int,
    method: Method,
) -> Correlation:
    """Correlation over windows, from their means over the bins that have both data and the quantity.

    A window counts where at least half of its bins have both; windows do not overlap.

    Parameters
    ----------
    representation, matrix, intervals
        What is correlated, where it has data, and where it is read.
    quantity : sequence of (bins,) float32 array
        One array per interval; NaN where it is not known.
    method : str
        ``pearson``, or ``spearman``: the same of ranks (ties share their mean rank).

    Raises
    ------
    DataError
        Fewer than three windows, or the quantity is the same in all.
    """
    parts = [
        window_means(representation.block(interval), matrix.mask(interval), known, window_bins)
        for interval, known in zip(intervals, quantity, strict=True)
    ]
    vectors, values = (np.concatenate(each) for each in zip(*parts, strict=True))
    if len(values) < 3 or np.ptp(values) == 0:
        raise DataError(
            f"{len(values)} windows of {window_bins * matrix.manifest.bin_size:,} bp have data and "
            f"{'one and the same value' if len(values) >= 3 else 'a value'}: too few for a correlation; choose other "
            "chromosomes"
        )
    if method == "spearman":
        from scipy.stats import rankdata

        vectors, values = rankdata(vectors, axis=0), rankdata(values)
    ends = np.cumsum([len(part[1]) for part in parts])[:-1]
    x, y = vectors - vectors.mean(axis=0), values - values.mean()
    sums = np.stack([_sums(*each) for each in zip(np.split(x, ends), np.split(y, ends), strict=True)])

    def weighted(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return _correlation(np.tensordot(weights, sums, 1))

    value = weighted(np.ones((1, len(parts))))[0]
    low, high = (np.where(np.isfinite(value), end, np.nan) for end in bootstrap(weighted, len(parts)))
    return Correlation(window_bins * matrix.manifest.bin_size, value, low, high, len(values))


def window_means(
    vectors: NDArray[np.float32], mask: NDArray[np.bool_], values: NDArray[np.float32], window_bins: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means over windows of the bins that have both data and a value: (windows, size) and (windows,)."""
    windows = len(values) // window_bins
    used = windows * window_bins
    both = (mask & np.isfinite(values))[:used].reshape(windows, window_bins)
    count = both.sum(axis=1)
    enough = 2 * count >= window_bins
    kept = both.reshape(-1)
    sums = np.where(kept, values[:used], 0).astype(np.float64).reshape(windows, window_bins).sum(axis=1)
    spread = np.where(kept[:, None], vectors[:used], 0).reshape(windows, window_bins, -1).sum(axis=1, dtype=np.float64)
    return spread[enough] / count[enough, None], sums[enough] / count[enough]


def _sums(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """(6, size) sums of 1, x, y, x², y² and xy over the windows of an interval, for (n, size) and (n,) values."""
    y = np.repeat(y[:, None], x.shape[1], axis=1)
    return np.stack([each.sum(axis=0) for each in (np.ones_like(x), x, y, x * x, y * y, x * y)])


def _correlation(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, size) correlations from (n, 6, size) sums; NaN where one of the two is constant."""
    count, *others = np.moveaxis(sums, 1, 0)
    x, y, xx, yy, xy = (each / np.maximum(count, 1) for each in others)
    product = (xx - x * x) * (yy - y * y)
    found: NDArray[np.float64] = np.full(xy.shape, np.nan)
    np.divide(xy - x * y, np.sqrt(np.maximum(product, 1e-18)), out=found, where=product > 1e-18)
    return found


def gc_plot(sample: SampledBins, fasta: Path, method: Method) -> Plot:
    """Correlation of every dimension with GC content."""
    quantity = gc_of(fasta, sample.matrix, sample.intervals)
    return covariate_plot(sample, quantity, "GC content", "known bases only", method)


def conservation_plot(sample: SampledBins, bigwig: Path, method: Method) -> Plot:
    """Correlation of every dimension with conservation."""
    quantity = bigwig_of(bigwig, sample.matrix, sample.intervals)
    return covariate_plot(sample, quantity, "conservation", f"mean of {bigwig.name} over bases with a score", method)


def covariate_plot(
    sample: SampledBins, quantity: Sequence[NDArray[np.float32]], name: str, how: str, method: Method
) -> Plot:
    """Correlation of every dimension with a quantity (one array per interval), over windows of several lengths.

    Raises
    ------
    DataError
        Too few windows have data.
    """
    size = sample.matrix.manifest.bin_size
    longest = max(interval.bins for interval in sample.intervals)
    lengths = sorted({max(1, window // size) for window in WINDOWS if window <= longest * size // 3} | {1})
    measured = [
        correlate(sample.embedding, quantity, sample.matrix, sample.intervals, length, method) for length in lengths
    ]
    caption = (
        f"{METHODS[method]} of each dimension of the embedding with {name} ({how}), of means over windows of "
        f"{', '.join(bases_as_words(each.window) for each in measured)}; {sample.described}. Lines: 95% bootstrap "
        "intervals over these intervals. The sign of a dimension is a convention."
    )
    names = sample.embedding.names
    alt = f"{METHODS[method]} of each of the {sample.embedding.size} dimensions of the embedding with {name}."
    return Plot(
        partial(covariate_figure, measured, name, method, names=names), caption, alt, partial(_numbers, measured, names)
    )


def _numbers(measured: Sequence[Correlation], names: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {
            "dimension": names[at], "window_bp": each.window, "correlation": float(each.value[at]),
            "low": float(each.low[at]), "high": float(each.high[at]), "windows": each.windows,
        }
        for each in measured
        for at in range(len(each.value))
    ]  # fmt: skip


def covariate_figure(
    correlations: Sequence[Correlation], quantity: str, method: Method, layout: Layout, names: Sequence[str] = ()
) -> Figure:
    """Correlation of every dimension with its interval, at up to three lengths of window, shortest first."""
    best = np.nan_to_num(np.abs(np.stack([each.value for each in correlations]))).max(axis=0)
    rows = sorted(np.argsort(-best, kind="stable")[:ROWS].tolist())
    figure = new_figure(layout, 1.0 + 0.3 * len(rows))
    axes = figure.subplots()
    step = 0.75 / len(correlations)
    for rank, each in enumerate(correlations):
        color = COLORS[rank + len(COLORS) - len(correlations)]
        at = np.arange(len(rows)) + (rank - (len(correlations) - 1) / 2) * step
        axes.hlines(at, each.low[rows], each.high[rows], color=color, linewidth=1.6, zorder=2)
        axes.plot(
            each.value[rows], at, linestyle="none", marker=MARKERS[rank], color=color, markeredgecolor="white",
            markeredgewidth=0.6, label=f"{bases_as_words(each.window)} windows (n = {each.windows:,})", zorder=3,
        )  # fmt: skip
    axes.axvline(0, color=QUIET, linewidth=0.9, zorder=1)
    for row in range(1, len(rows)):
        axes.axhline(row - 0.5, color="#e4e8ec", linewidth=0.7, zorder=0)
    name_rows(axes, [(names or dimension_names(len(best)))[row] for row in rows])
    ends = np.concatenate([np.concatenate([each.low, each.high, each.value]) for each in correlations])
    known = ends[np.isfinite(ends)]
    reach = min(1.0, max(0.1, 1.08 * float(np.abs(known).max()))) if len(known) else 1.0
    axes.set_xlim(-reach, reach)
    axes.xaxis.set_major_locator(round_ticks(5 if layout.narrow else 10))
    axes.set(xlabel=f"{METHODS[method]} with {quantity}", ylabel="embedding dimension")
    legend_above(figure, axes, layout, handle=1.2)
    return figure
