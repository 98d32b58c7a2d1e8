"""Mean signal per bin, and what is counted of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from numba import types

from epilstm.tracks.bigwig import Intervals
from epilstm.tracks.signal_transform import Transform, Uncovered
from epilstm.tracks.transforms import transformed

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

#: Edges of the histograms of arcsinh(signal); what lies beyond is counted in the first and the last bin.
#: A sixteenth is a power of two, so that edges are exact; 12 is the arcsinh of a signal of 81,000.
HISTOGRAM_LOW, HISTOGRAM_STEPS_PER_UNIT, HISTOGRAM_BINS = -4, 16, 256
HISTOGRAM_EDGES = HISTOGRAM_LOW + np.arange(HISTOGRAM_BINS + 1) / HISTOGRAM_STEPS_PER_UNIT


class UnusableSignal(ValueError):
    """Intervals that have no mean; the message names the base."""


FINE, NOT_FINITE, OVERLAPPING, BACKWARDS = 0, 1, 2, 3


def _compile(signature: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        compile_for = partial(numba.njit, signature, nogil=True, error_model="numpy")
        try:
            compiled: Callable[..., Any] = compile_for(cache=True)(function)
        except RuntimeError:  # a container whose file system is read-only has no place for numba's cache
            compiled = compile_for()(function)
        return compiled

    return decorate


_COLUMN = partial(types.Array, ndim=1, layout="A", readonly=True)


@_compile(
    types.UniTuple(types.int64, 4)(
        *(_COLUMN(types.uint32), _COLUMN(types.uint32), _COLUMN(types.float32)),
        *(types.int64, types.int64, types.int64, types.int64),
        *(types.float64[::1], types.int32[::1]),
    )
)
def _add_intervals(
    starts: Any, ends: Any, values: Any, previous_end: Any, first_base: Any, end_base: Any, bin_size: Any,
    total: Any, covered: Any,
) -> tuple[Any, Any, Any, Any]:  # fmt: skip
    """Add each interval to its bins, value x overlap and overlap.

    Return (problem, base of it, end of the last, intervals of length 0 that begin in the region).
    """
    empty = 0
    for i in range(len(starts)):
        start: Any = np.int64(starts[i])
        end: Any = np.int64(ends[i])
        value = values[i]
        if end <= start:
            if end < start:
                return BACKWARDS, start, previous_end, empty
            if first_base <= start < end_base:
                empty += 1
            continue
        if start < previous_end:
            return OVERLAPPING, start, previous_end, empty
        previous_end = end
        if math.isnan(value):
            continue
        start, end = max(start, first_base), min(end, end_base)
        if start >= end:
            continue
        if math.isinf(value):
            return NOT_FINITE, start, previous_end, empty
        index = (start - first_base) // bin_size
        bin_end = first_base + (index + 1) * bin_size
        while start < end:
            bases = min(end, bin_end) - start
            total[index] += value * bases
            covered[index] += bases
            start, bin_end, index = bin_end, bin_end + bin_size, index + 1
    return FINE, 0, previous_end, empty


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
    bins = -(-(end - start) // bin_size)
    total, covered = np.zeros(bins), np.zeros(bins, np.int32)
    previous_end = empty = 0
    for block in blocks:
        problem, base, previous_end, more = _add_intervals(*block, previous_end, start, end, bin_size, total, covered)
        empty += more
        if problem:
            what = {
                NOT_FINITE: "an infinite value",
                OVERLAPPING: "overlapping intervals",
                BACKWARDS: "an interval that ends before it starts",
            }
            raise UnusableSignal(f"{what[problem]} at base {base}")
    # In place: a region is as large as a processor's cache.
    if uncovered == "missing":
        total /= np.maximum(covered, 1)
    elif bins:
        total[:-1] /= bin_size
        total[-1] /= end - start - (bins - 1) * bin_size
    mean: FloatArray = total.astype(np.float32)
    mean[covered == 0] = np.nan
    return mean, empty


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
