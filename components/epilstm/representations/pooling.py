"""From bins to windows: each window's features are statistics over its bins that have data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import DTypeLike, NDArray

from epilstm.genome.bin_range import BinRange

#: Bins of a window that a quantile is taken of, at most; a longer window gives every k-th of its bins, which bounds the
#: memory that windows across blocks need.
QUANTILE_BINS = 1_000

#: Rows between two edges of windows, on average, from which on summing them apart is faster than a running sum.
ROWS_PER_EDGE = 16


def quantile_of(statistic: str) -> float | None:
    """Share that ``q10`` and its like name; None for other statistics."""
    return int(statistic[1:]) / 100 if statistic.startswith("q") else None


@dataclass(frozen=True)
class WindowTable:
    """Distinct windows, in bins.

    Parameters
    ----------
    chroms : (n,) array of str
    first, last : (n,) int64 arrays
        Half-open; equal where a window is empty.
    """

    chroms: NDArray[np.str_]
    first: NDArray[np.int64]
    last: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.chroms)

    def by_chromosome(self) -> Iterator[tuple[str, NDArray[np.intp]]]:
        """Each chromosome with the numbers of its windows."""
        order = np.argsort(self.chroms, kind="stable")
        names, starts = np.unique(self.chroms[order], return_index=True)
        yield from zip(names.tolist(), np.split(order, starts)[1:], strict=True)

    def widened(self, bins: int) -> WindowTable:
        """The same windows, `bins` longer at either end, from bin 0 on."""
        return WindowTable(self.chroms, np.maximum(self.first - bins, 0), self.last + bins)


def window_bins(
    starts: NDArray[np.int64], ends: NDArray[np.int64], bin_size: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and one-past-last bin that overlap windows given in base pairs; equal for empty windows."""
    first = starts // bin_size
    return first, np.where(ends > starts, -(-ends // bin_size), first)


def distinct_windows(
    windows: Sequence[tuple[NDArray[np.str_], NDArray[np.int64], NDArray[np.int64]]],
) -> tuple[WindowTable, list[NDArray[np.intp]]]:
    """Gather windows of any shapes into one table without repeats.

    Parameters
    ----------
    windows : sequence of (chroms, first, last)
        Three arrays of one shape each.

    Returns
    -------
    WindowTable
    list of int arrays
        For each entry, the row of each of its windows in the table, in the entry's shape.
    """
    chroms = np.concatenate([entry[0].ravel() for entry in windows])
    names, codes = np.unique(chroms, return_inverse=True)
    spans = [np.concatenate([entry[i].ravel() for entry in windows]) for i in (1, 2)]
    table, rows = np.unique(np.stack([codes, *spans], axis=1), axis=0, return_inverse=True)
    places = np.split(rows.ravel(), np.cumsum([entry[0].size for entry in windows])[:-1])
    shaped = [place.reshape(entry[0].shape) for place, entry in zip(places, windows, strict=True)]
    return WindowTable(names[table[:, 0]], table[:, 1], table[:, 2]), shaped


class WindowStatistics:
    """Accumulates statistics of windows from blocks of bins that arrive in any order.

    Sums are differences of cumulative sums (float64), maxima one `numpy.maximum.reduceat` per block. Quantiles (linear
    interpolation) are of a window's bins, or of `QUANTILE_BINS` evenly spread ones of a longer window.

    Parameters
    ----------
    first, last : (n,) int64 arrays
        Windows in bins of one chromosome, half-open.
    size : int
        Numbers per bin.
    statistics : sequence of str
        Of ``mean``, ``max``, ``std`` (population) and ``q1`` to ``q99``.
    """

    def __init__(self, first: NDArray[np.int64], last: NDArray[np.int64], size: int, statistics: Sequence[str]) -> None:
        self.first, self.last, self.size, self.statistics = first, last, size, list(statistics)
        self.count = np.zeros(len(first), dtype=np.int64)
        self._sum = np.zeros((len(first), size)) if {"mean", "std"} & set(statistics) else None
        self._squares = np.zeros((len(first), size)) if "std" in statistics else None
        self._max = np.full((len(first), size), -np.inf, dtype=np.float32) if "max" in statistics else None
        shares = [quantile_of(statistic) for statistic in statistics]
        self._shares = [share for share in shares if share is not None]
        self._quantiles = np.full((len(self._shares), len(first), size), np.nan, dtype=np.float32)
        self._kept: dict[int, list[NDArray[np.float32]]] = {}
        self._seen: dict[int, int] = {}

    def touched(self, first: int, last: int) -> NDArray[np.intp]:
        """Windows that have bins in ``[first, last)``."""
        return np.flatnonzero((self.first < last) & (self.last > first) & (self.first < self.last))

    def add(self, first: int, values: NDArray[np.float32], valid: NDArray[np.bool_]) -> None:
        """Take in a block.

        Parameters
        ----------
        first : int
            The block's first bin.
        values : (bins, size) float32 array
        valid : (bins,) bool array
            Bins that count.
        """
        rows = self.touched(first, first + len(values))
        if not len(rows):
            return
        low = np.maximum(self.first[rows] - first, 0)
        high = np.minimum(self.last[rows] - first, len(values))
        self.count[rows] += _range_sums(valid[:, None], low, high, np.int64)[:, 0]
        counted = values if valid.all() else np.where(valid[:, None], values, 0)
        if self._sum is not None:
            self._sum[rows] += _range_sums(counted, low, high, np.float64)
        if self._squares is not None:
            self._squares[rows] += _range_sums(np.square(counted, dtype=np.float64), low, high, np.float64)
        if self._max is not None:
            padded = np.full((len(values) + 1, self.size), -np.inf, dtype=np.float32)
            padded[:-1][valid] = values[valid]
            bounds = np.stack([low, high], axis=1).ravel()
            self._max[rows] = np.maximum(self._max[rows], np.maximum.reduceat(padded, bounds, axis=0)[::2])

        if self._shares:
            self._add_quantiles(rows, first, low, high, values, valid)

    def _add_quantiles(
        self,
        rows: NDArray[np.intp],
        first: int,
        low: NDArray[np.int64],
        high: NDArray[np.int64],
        values: NDArray[np.float32],
        valid: NDArray[np.bool_],
    ) -> None:
        lengths = self.last[rows] - self.first[rows]
        for row, start, end, length in zip(rows.tolist(), low.tolist(), high.tolist(), lengths.tolist(), strict=True):
            step = -(-length // QUANTILE_BINS)
            places = slice(start + (int(self.first[row]) - first - start) % step, end, step)
            part = values[places][valid[places]]
            if end - start == length:
                self._take_quantiles(row, part)
                continue
            self._kept.setdefault(row, []).append(part.copy())
            self._seen[row] = self._seen.get(row, 0) + end - start
            if self._seen[row] == length:
                self._take_quantiles(row, np.concatenate(self._kept.pop(row)))

    def _take_quantiles(self, row: int, values: NDArray[np.float32]) -> None:
        if len(values):
            self._quantiles[:, row] = np.quantile(values, self._shares, axis=0)

    def features(self) -> NDArray[np.float32]:
        """(n, statistics * size) float32: each statistic's numbers side by side; NaN where no bin counted."""
        empty = self.count == 0
        count = np.maximum(self.count, 1)[:, None]
        columns: list[NDArray] = []
        for row in list(self._kept):
            self._take_quantiles(row, np.concatenate(self._kept.pop(row)))
        quantiles = iter(self._quantiles)
        for statistic in self.statistics:
            if statistic == "max":
                assert self._max is not None
                columns.append(self._max)
                continue
            if quantile_of(statistic) is not None:
                columns.append(next(quantiles))
                continue
            assert self._sum is not None
            mean = self._sum / count
            if statistic == "std":
                assert self._squares is not None
                columns.append(np.sqrt(np.maximum(self._squares / count - mean**2, 0)))
            else:
                columns.append(mean)
        features = np.concatenate(columns, axis=1, dtype=np.float32, casting="same_kind")
        features[empty] = np.nan
        return features


def _range_sums(values: NDArray, low: NDArray[np.int64], high: NDArray[np.int64], dtype: DTypeLike) -> NDArray:
    """Sums over the rows `low` to before `high` of each range, added up in `dtype`.

    Rows are summed between one edge of a range and the next, and these sums are added up: eighteen times as fast as a
    running sum of every row, with 380 columns and windows of some hundred bins.
    """
    edges = np.unique(np.concatenate([low, high]))
    if len(edges) * ROWS_PER_EDGE > len(values):
        sums = np.zeros((len(values) + 1, values.shape[1]), dtype)
        np.cumsum(values, axis=0, dtype=dtype, out=sums[1:])
        return sums[high] - sums[low]
    sums = np.zeros((len(edges), values.shape[1]), dtype)
    for number, (first, last) in enumerate(pairwise(edges.tolist()), start=1):
        np.sum(values[first:last], axis=0, dtype=dtype, out=sums[number])
    np.cumsum(sums, axis=0, out=sums)
    return sums[np.searchsorted(edges, high)] - sums[np.searchsorted(edges, low)]


def touched_blocks(blocks: Iterable[BinRange], first: NDArray[np.int64], last: NDArray[np.int64]) -> list[BinRange]:
    """BinRanges of a chromosome that hold a bin of one of its windows, which are from `first` to before `last`."""
    return [block for block in blocks if bool(np.any((first < block.last) & (last > block.first)))]
