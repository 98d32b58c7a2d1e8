"""Samples of the training data: ranges of bins spread evenly, and what the matrix holds there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from epilstm.genome.bin_range import BinRange
from epilstm.model.frames import frame_tokens
from epilstm.steps.train.streams import StoredMatrix, Window


def runs_of(windows: Sequence[Window]) -> list[BinRange]:
    """Windows that follow each other within a region, joined."""
    runs: list[BinRange] = []
    for window in windows:
        last = window.first + window.bins
        if runs and not window.fresh:
            runs[-1] = BinRange(window.chrom, runs[-1].first, last)
        else:
            runs.append(BinRange(window.chrom, window.first, last))
    return runs


def cut_evenly(runs: Sequence[BinRange], bins: int) -> list[BinRange]:
    """Runs cut into stretches of a length, the last of each moved back to end with it; a shorter run stays whole."""
    stretches = []
    for run in runs:
        for first in range(run.first, max(run.last - bins, run.first) + 1, bins):
            stretches.append(BinRange(run.chrom, first, min(first + bins, run.last)))
        if stretches[-1].last < run.last:
            stretches.append(BinRange(run.chrom, run.last - bins, run.last))
    return stretches


def spread_evenly(stretches: Sequence[BinRange], bins: int) -> list[BinRange]:
    """Stretches spread evenly over all, of at most so many bins together, but one at least."""
    total = sum(stretch.bins for stretch in stretches)
    if total <= bins:
        return list(stretches)
    count = max(1, len(stretches) * bins // total)
    places = np.floor((np.arange(count) + 0.5) * len(stretches) / count).astype(int)
    return [stretches[place] for place in places]


def read_stretches(
    matrix: Path, stretches: Sequence[BinRange]
) -> Iterator[tuple[NDArray[np.float16], NDArray[np.bool_]]]:
    """Values (bins, track) and mask (bins,) of each stretch."""
    stored = StoredMatrix(matrix, (stretch.chrom for stretch in stretches))
    for stretch in stretches:
        bins = stretch.slice
        yield stored.values[stretch.chrom][bins], stored.masks[stretch.chrom][bins]


def token_sequences(
    matrix: Path, stretches: Sequence[BinRange], frame_bins: int
) -> list[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    """Tokens (frame, 3 * track) of each stretch, and which of its frames have data (frame,)."""
    sequences = []
    for values, mask in read_stretches(matrix, stretches):
        frames = np.add.reduceat(mask, np.arange(0, len(mask), frame_bins)) > 0
        sequences.append((frame_tokens(values, frame_bins), frames))
    return sequences
