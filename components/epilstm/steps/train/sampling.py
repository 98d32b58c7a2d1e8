"""Samples of the training data: ranges of bins spread evenly, and what the matrix holds there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from epilstm.genome.bin_range import BinRange
from epilstm.model.frames import frame_tokens
from epilstm.store.matrix import Matrix


def runs_of(windows: Sequence[BinRange]) -> list[BinRange]:
    """Windows that follow each other within a region, joined."""
    runs: list[BinRange] = []
    for window in windows:
        if runs and not window.begins_region:
            runs[-1] = BinRange(window.chrom, runs[-1].first, window.last)
        else:
            runs.append(BinRange(window.chrom, window.first, window.last))
    return runs


def cut_evenly(runs: Sequence[BinRange], bins: int) -> list[BinRange]:
    """Runs cut into ranges of one length, the last of each moved back to end with it; a shorter run stays whole."""
    ranges = []
    for run in runs:
        for first in range(run.first, max(run.last - bins, run.first) + 1, bins):
            ranges.append(BinRange(run.chrom, first, min(first + bins, run.last)))
        if ranges[-1].last < run.last:
            ranges.append(BinRange(run.chrom, run.last - bins, run.last))
    return ranges


def spread_evenly(ranges: Sequence[BinRange], bins: int) -> list[BinRange]:
    """Ranges spread evenly over all, of at most so many bins together, but one at least."""
    total = sum(each.bins for each in ranges)
    if total <= bins:
        return list(ranges)
    count = max(1, len(ranges) * bins // total)
    places = np.floor((np.arange(count) + 0.5) * len(ranges) / count).astype(int)
    return [ranges[place] for place in places]


def read_ranges(matrix: Path, ranges: Sequence[BinRange]) -> Iterator[tuple[NDArray[np.float16], NDArray[np.bool_]]]:
    """Values (bins, track) and mask (bins,) of each range."""
    stored = Matrix(matrix)
    for each in ranges:
        yield stored.values(each), stored.mask(each)


def token_sequences(
    matrix: Path, ranges: Sequence[BinRange], frame_bins: int
) -> list[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    """Tokens (frame, 3 * track) of each range, and which of its frames have data (frame,)."""
    sequences = []
    for values, mask in read_ranges(matrix, ranges):
        frames = np.add.reduceat(mask, np.arange(0, len(mask), frame_bins)) > 0
        sequences.append((frame_tokens(values, frame_bins), frames))
    return sequences
