"""Mean signal per bin, and what is counted of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from epilstm.tracks.bigwig import Intervals
from epilstm.tracks.signal_transform import Transform, Uncovered
from epilstm.tracks.transforms import transformed

FloatArray = npt.NDArray[np.float32]

#: Edges of the histograms of arcsinh(signal); what lies beyond is counted in the first and the last bin.
#: A sixteenth is a power of two, so that edges are exact; 12 is the arcsinh of a signal of 81,000.
HISTOGRAM_LOW, HISTOGRAM_STEPS_PER_UNIT, HISTOGRAM_BINS = -4, 16, 256
HISTOGRAM_EDGES = HISTOGRAM_LOW + np.arange(HISTOGRAM_BINS + 1) / HISTOGRAM_STEPS_PER_UNIT


#: Intervals that are binned at once, or one block: their arrays stay in a processor's cache.
BATCH_INTERVALS = 8192


class UnusableSignal(ValueError):
    """Intervals that have no mean; the message names the base."""


@dataclass
class _BinSums:
    """Sums over the bins of a region, as far as it has been read.

    Parameters
    ----------
    first_base, end_base, bin_size : int
        Of the region, in base pairs.
    """

    first_base: int
    end_base: int
    bin_size: int

    def __post_init__(self) -> None:
        bins = -(-(self.end_base - self.first_base) // self.bin_size)
        #: Of each bin, signal x bases, and bases with signal.
        self.total, self.covered = np.zeros(bins), np.zeros(bins, np.uint32)
        #: Intervals of length 0 that begin in the region.
        self.empty = 0
        self._previous_end = 0

    def add(self, blocks: list[Intervals]) -> None:
        """Add the intervals that follow, value x overlap and overlap.

        Additions to a bin are made in order of position, so that their rounding does not depend on how the intervals
        come in blocks.

        Raises
        ------
        UnusableSignal
            See `bin_means_and_empty`.
        """
        starts, ends = (np.concatenate([block[column] for block in blocks], dtype=np.uint32) for column in (0, 1))
        values = np.concatenate([block.values for block in blocks], dtype=np.float64)
        if not len(starts):
            return
        in_order = starts[0] >= self._previous_end and not (starts[1:] < ends[:-1]).any()
        if not in_order or not (starts < ends).all() or not np.isfinite(values).all():
            starts, ends, values = self._usable(starts, ends, values)
        else:
            self._previous_end = int(ends[-1])
        first, last = np.searchsorted(ends, self.first_base, "right"), np.searchsorted(starts, self.end_base)
        if first < last:
            self._add(starts[first:last], ends[first:last], values[first:last])

    def _usable(
        self, starts: npt.NDArray[np.uint32], ends: npt.NDArray[np.uint32], values: npt.NDArray[np.float64]
    ) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32], npt.NDArray[np.float64]]:
        """Intervals with a length and a value; those that have no mean are an error."""
        begins_here = (starts >= self.first_base) & (starts < self.end_base)
        empty = starts == ends
        latest_end = np.maximum.accumulate(np.where(empty, 0, ends))
        before = np.concatenate([[self._previous_end], np.maximum(latest_end[:-1], self._previous_end)])
        overlaps_region = (starts < self.end_base) & (ends > self.first_base)
        problems = {
            "an interval that ends before it starts": ends < starts,
            "overlapping intervals": (starts < before) & ~empty,
            "an infinite value": np.isinf(values) & overlaps_region & ~empty,
        }
        found = [(int(np.argmax(where)), what) for what, where in problems.items() if where.any()]
        if found:
            place, what = min(found)
            base = int(starts[place])
            raise UnusableSignal(f"{what} at base {max(base, self.first_base) if 'infinite' in what else base}")
        self.empty += int((empty & begins_here).sum())
        self._previous_end = max(self._previous_end, int(latest_end[-1]))
        kept = ~empty & ~np.isnan(values)
        return starts[kept], ends[kept], values[kept]

    def _add(
        self, starts: npt.NDArray[np.uint32], ends: npt.NDArray[np.uint32], values: npt.NDArray[np.float64]
    ) -> None:
        """Add intervals that overlap the region, in order, apart, and each with a finite value."""
        starts[0], ends[-1] = max(int(starts[0]), self.first_base), min(int(ends[-1]), self.end_base)
        starts, ends = starts - np.uint32(self.first_base), ends - np.uint32(self.first_base)
        size, one = np.uint32(self.bin_size), np.uint32(1)
        first_bins = starts // size
        last_bins = (ends - one) // size
        edges = last_bins - first_bins
        # Bases in the first bin, and in the last one if that is another.
        heads = first_bins + one
        heads *= size
        np.minimum(heads, ends, out=heads)
        heads -= starts
        tails = ends - last_bins * size
        tails *= edges > 0
        # A bin is the last one of the interval that reaches into it, and then the first one of those that begin in it.
        for bins, bases in ((last_bins.astype(np.intp), tails), (first_bins.astype(np.intp), heads)):
            np.add.at(self.total, bins, values * bases)
            np.add.at(self.covered, bins, bases)
        wide = np.flatnonzero(edges > 1)
        if len(wide):  # each bin between the first and the last is this interval's alone
            counts = edges[wide].astype(np.intp) - 1
            begin = first_bins[wide].astype(np.intp) + 1 - (np.cumsum(counts) - counts)
            between = np.repeat(begin, counts)
            between += np.arange(len(between))
            self.total[between] = np.repeat(values[wide] * size, counts)
            self.covered[between] = size


def _batches(blocks: Iterable[Intervals]) -> Iterator[list[Intervals]]:
    """Blocks that are binned at once."""
    batch: list[Intervals] = []
    count = 0
    for block in blocks:
        batch.append(block)
        count += len(block.starts)
        if count >= BATCH_INTERVALS:
            yield batch
            batch, count = [], 0
    if batch:
        yield batch


def bin_means(
    blocks: Iterable[Intervals], start: int, end: int, bin_size: int, uncovered: Uncovered = "zero"
) -> FloatArray:
    """Mean signal of each bin of a region; see `bin_means_and_empty`."""
    return bin_means_and_empty(blocks, start, end, bin_size, uncovered)[0]


def bin_means_and_empty(
    blocks: Iterable[Intervals], start: int, end: int, bin_size: int, uncovered: Uncovered = "zero"
) -> tuple[FloatArray, int]:
    """Mean signal of each bin of a region, by the field's recipe, and the intervals of length 0 that were skipped.

    A base without signal (not covered, or NaN) counts as 0, and the mean is over the bases of the bin that lie in the
    region: fewer than `bin_size` in the last bin of a chromosome. Where uncovered bases are `missing`, the mean is
    over the covered ones. A bin without any covered base is NaN.

    Parameters
    ----------
    blocks : iterable of Intervals
        In order of position, without overlaps; what lies outside the region is left out.
    start, end : int
        In base pairs; `start` is a multiple of `bin_size`, and so is `end` unless the chromosome ends there.
    bin_size : int
        In base pairs.
    uncovered : {'zero', 'gap', 'missing'}
        What a base without signal is.

    Returns
    -------
    (bin,) float32 array
    int
        Of the intervals of length 0, those that begin in the region.

    Raises
    ------
    UnusableSignal
        An infinite value, intervals that overlap, or one that ends before it starts.
    """
    sums = _BinSums(start, end, bin_size)
    for batch in _batches(blocks):
        sums.add(batch)
    total, covered, bins = sums.total, sums.covered, len(sums.total)
    # In place: a region is as large as a processor's cache.
    if uncovered == "missing":
        total /= np.maximum(covered, 1)
    elif bins:
        total[:-1] /= bin_size
        total[-1] /= end - start - (bins - 1) * bin_size
    mean: FloatArray = total.astype(np.float32)
    mean[covered == 0] = np.nan
    return mean, sums.empty


@dataclass
class SignalSummary:
    """Moments of the transformed signal over covered bins, and counts of arcsinh(signal), whatever the transform.

    Parameters
    ----------
    covered : int
        Bins with signal.
    total, squares : float
        Sum and sum of squares.
    histogram : (`HISTOGRAM_BINS`,) int64 array
        Counts between `HISTOGRAM_EDGES`.
    transform : {'arcsinh', 'log1p', 'none'}
        The track's.
    """

    covered: int
    total: float
    squares: float
    histogram: npt.NDArray[np.int64]
    transform: Transform = "arcsinh"

    @classmethod
    def empty(cls, transform: Transform = "arcsinh") -> SignalSummary:
        """Return the summary of nothing."""
        return cls(0, 0.0, 0.0, np.zeros(HISTOGRAM_BINS, np.int64), transform)

    def add(self, signal: FloatArray) -> None:
        """Count further bins; NaN is a bin without signal."""
        known = signal[~np.isnan(signal)]
        on_axis = np.arcsinh(known)
        values = on_axis if self.transform == "arcsinh" else transformed(known, self.transform)
        exact = values.astype(np.float64)
        self.covered += len(known)
        self.total += float(exact.sum())
        self.squares += float(np.square(exact).sum())
        self.histogram += histogram(on_axis)


def histogram(values: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
    """Counts of arcsinh(signal) between `HISTOGRAM_EDGES`; NaN must be left out before."""
    # the shift comes last: added to a small value before, it would swallow its sign
    place = np.floor(values * HISTOGRAM_STEPS_PER_UNIT) - HISTOGRAM_LOW * HISTOGRAM_STEPS_PER_UNIT
    place = np.clip(place, 0, HISTOGRAM_BINS - 1).astype(np.int64)
    return np.bincount(place, minlength=HISTOGRAM_BINS).astype(np.int64)
