"""The matrix, written shard by shard."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zarr

from epilstm.datasets import Scaler
from epilstm.preprocess.standardise import standardise
from epilstm.shards import open_bins
from epilstm.store import SHARD_BINS, open_group

#: Tracks read at once; bounds memory to this many rows of a shard in float32.
TRACKS_AT_ONCE = 32


@dataclass(frozen=True)
class Shard:
    """One shard of one chromosome's matrix, and the stretches of it that have regions.

    Parameters
    ----------
    chrom : str
        Chromosome.
    first, end : int
        First and one-past-last bin.
    pieces : tuple of (int, int)
        First and one-past-last bin of each stretch.
    """

    chrom: str
    first: int
    end: int
    pieces: tuple[tuple[int, int], ...]

    @property
    def bins(self) -> int:
        """Bins in its stretches."""
        return sum(last - first for first, last in self.pieces)


def shards_of(chrom: str, bins: int, ranges: list[tuple[int, int]]) -> Iterator[Shard]:
    """Shards of a chromosome that have regions.

    Parameters
    ----------
    chrom : str
        Chromosome.
    bins : int
        Length of its array.
    ranges : list of (int, int)
        First and one-past-last bin of each region.
    """
    for first in range(0, bins, SHARD_BINS):
        end = min(first + SHARD_BINS, bins)
        pieces = tuple((max(begin, first), min(last, end)) for begin, last in ranges if begin < end and last > first)
        if pieces:
            yield Shard(chrom, first, end, pieces)


@dataclass(frozen=True)
class MatrixWriter:
    """Writes shards; sent to each worker process with its shard.

    Parameters
    ----------
    signal, matrix : Path
        Zarr groups; the matrix's arrays exist.
    scaler : Scaler
        Of the signal's tracks.
    """

    signal: Path
    matrix: Path
    scaler: Scaler

    def write(self, shard: Shard) -> None:
        """Standardise and write one shard; no other process may write it."""
        signal = open_group(self.signal)[shard.chrom]
        assert isinstance(signal, zarr.Array)
        tracks, signal_bins = signal.shape
        block = np.full((shard.end - shard.first, tracks), np.nan, np.float16)
        for begin, end in shard.pieces:
            rows = slice(begin - shard.first, end - shard.first)
            for track in range(0, tracks, TRACKS_AT_ONCE):
                columns = slice(track, min(track + TRACKS_AT_ONCE, tracks))
                raw = np.full((columns.stop - columns.start, end - begin), np.nan, np.float32)
                known = min(end, signal_bins) - begin  # the last frame reaches past the chromosome's end
                if known > 0:
                    raw[:, :known] = signal[columns, begin : begin + known]
                block[rows, columns] = standardise(raw, self.scaler, columns).T
        open_bins(self.matrix)[shard.chrom].write_shard(shard.first // SHARD_BINS, block)
