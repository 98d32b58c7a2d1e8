"""How a genome is cut into windows for an encoder that forgets.

A recurrent state forgets: after some tens of bins its start no longer matters (docs/model.md has the measurement). So a
region need not be run from end to end. It is cut into windows of one length that can be run side by side; each starts
with warm-up bins, whose embeddings are thrown away, and so it ends for an encoder that reads both ways. At a region's
edge there is nothing to warm up on: there the zero state is the right one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from epilstm.genome.bin_range import BinRange

Rows = TypeVar("Rows")


@dataclass(frozen=True)
class ShardRanges:
    """What is written at once of a shard: bins `first` to before `last`, which span its bin ranges to embed."""

    chrom: str
    first: int
    last: int
    bin_ranges: tuple[BinRange, ...]

    @property
    def bins(self) -> int:
        """Bins to embed."""
        return sum(bin_range.bins for bin_range in self.bin_ranges)


@dataclass(frozen=True)
class EncoderWindow:
    """One run of the encoder: over bins `start` to before `stop`, of which `first` to before `last` are kept."""

    start: int
    stop: int
    first: int
    last: int

    @property
    def bins(self) -> int:
        """Bins run."""
        return self.stop - self.start


@dataclass(frozen=True)
class WindowShape:
    """How long windows are.

    Parameters
    ----------
    chunk : int
        Bins kept of a window inside a region.
    before, after : int
        Warm-up bins on either side; `after` is 0 for an encoder of one direction.
    frame : int
        Windows begin at a multiple of it from their region's first bin, up to so many bins less one earlier.
    """

    chunk: int
    before: int
    after: int
    frame: int = 1

    @property
    def bins(self) -> int:
        """Bins run in a window inside a region."""
        return self.before + self.chunk + self.after


def windows_of(bin_range: BinRange, shape: WindowShape) -> Iterator[EncoderWindow]:
    """Windows that together keep every bin of a bin range once, in order.

    All have the same length; only a region shorter than that is run whole. The last window of a region is moved back
    to end with it, which gives it more warm-up, never less.
    """
    length = min(shape.bins, bin_range.region_last - bin_range.region_first)
    first = bin_range.first
    while first < bin_range.last:
        start = min(max(bin_range.region_first, first - shape.before), bin_range.region_last - length)
        stop = start + length
        last = min(bin_range.last, stop if stop == bin_range.region_last else stop - shape.after)
        start -= (start - bin_range.region_first) % shape.frame
        yield EncoderWindow(start, stop, first, last)
        first = last


def shards_of(chrom: str, regions: Iterable[tuple[int, int]], bins: int, shard_bins: int) -> Iterator[ShardRanges]:
    """Shards of a chromosome that have bins to embed, in order.

    Parameters
    ----------
    chrom : str
    regions : iterable of (int, int)
        First and one-past-last bin of each region, in order; the last may reach past the chromosome.
    bins : int
        Bins of the chromosome.
    shard_bins : int
        Bins per shard.
    """
    regions = list(regions)
    for first in range(0, bins, shard_bins):
        last = min(first + shard_bins, bins)
        bin_ranges = tuple(
            BinRange(chrom, max(first, region_first), min(last, region_last), (region_first, region_last))
            for region_first, region_last in regions
            if region_first < last and region_last > first
        )
        if bin_ranges:
            yield ShardRanges(chrom, bin_ranges[0].first, bin_ranges[-1].last, bin_ranges)


def batches_of(runs: Iterable[tuple[EncoderWindow, Rows]], size: int) -> Iterator[list[tuple[EncoderWindow, Rows]]]:
    """Gather windows of the same length, each with its rows, into batches of `size` at most."""
    waiting: dict[int, list[tuple[EncoderWindow, Rows]]] = {}
    for window, rows in runs:
        batch = waiting.setdefault(window.bins, [])
        batch.append((window, rows))
        if len(batch) == size:
            yield waiting.pop(window.bins)
    yield from waiting.values()
