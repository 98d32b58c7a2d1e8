"""The matrix, written shard by shard."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from epilstm.datasets import Scaler, SignalManifest
from epilstm.errors import DataError
from epilstm.shards import open_bins
from epilstm.store import SHARD_BINS, open_group
from epilstm.transforms import places_of, standardise, stored

#: Tracks read at once, which bounds memory to so many rows of a shard in float32 (and fills a cache line of the
#: matrix), and bins of them standardised at once, which stay in a core's cache.
TRACKS_AT_ONCE = 32
BINS_AT_ONCE = 4_000

#: Memory that a run is to keep within where the number of workers is left open, and what a process takes beside the
#: shard that it gathers: Python and its libraries, and the tracks read at once (measured: 83 MB and 35 MB).
MEMORY_BYTES = 1_000_000_000
PROCESS_BYTES = 130_000_000


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


def workers_within(cores: int, tracks: int) -> int:
    """Worker processes that keep within `MEMORY_BYTES`, their parent counted: one per core at most, one at least.

    Parameters
    ----------
    cores : int
        Cores to use.
    tracks : int
        Tracks of the matrix; each worker holds a shard of them in float16.
    """
    worker = PROCESS_BYTES + SHARD_BINS * tracks * np.dtype(np.float16).itemsize
    return max(1, min(cores, (MEMORY_BYTES - PROCESS_BYTES) // worker))


def require_files(signal: Path, manifest: SignalManifest, chroms: Iterable[str]) -> None:
    """Hold the signal's files of some chromosomes against its manifest: a lost one would read as "no data".

    Raises
    ------
    DataError
        A chromosome's array is missing, or a track that the manifest says has data there has no file.
    """
    again = "pull the dataset again, or remove the ingest cache and run ingest again"
    for chrom in chroms:
        if not (signal / chrom / "zarr.json").is_file():
            raise DataError(f"{signal}: no array for {chrom}; {again}")
        for number, track in enumerate(manifest.tracks):
            shards = signal / chrom / "c" / str(number)
            if track.moments.get(chrom, (0, 0, 0))[0] and not (shards.is_dir() and any(shards.iterdir())):
                raise DataError(f"{shards}: the files of {track.name} are missing; {again}")


@dataclass(frozen=True)
class MatrixWriter:
    """Writes shards; sent to each worker process with its shard.

    Parameters
    ----------
    signal, matrix : Path
        Zarr groups; the matrix's arrays exist.
    scaler : Scaler
        Its tracks are those of the matrix.
    rows : tuple of int
        Row of the signal for each of them.
    """

    signal: Path
    matrix: Path
    scaler: Scaler
    rows: tuple[int, ...]

    def write(self, shard: Shard) -> None:
        """Standardise and write one shard; no other process may write it."""
        signal: Any = open_group(self.signal)[shard.chrom]
        tracks, signal_bins = len(self.rows), signal.shape[1]
        block = np.full((shard.end - shard.first, tracks), np.nan, np.float16)
        for begin, end in shard.pieces:
            known = max(begin, min(end, signal_bins))  # the last frame reaches past the chromosome's end
            for track in range(0, tracks, TRACKS_AT_ONCE):
                columns = slice(track, min(track + TRACKS_AT_ONCE, tracks))
                scaler = self.scaler.select(range(tracks)[columns])
                try:
                    raw = _read_rows(signal, self.rows[columns], begin, known)
                except (ValueError, RuntimeError, OSError) as error:  # what zarr and its codecs raise
                    raise DataError(
                        f"{self.signal}: {shard.chrom}, bins {begin} to {known} cannot be read ({error}); "
                        "remove the ingest cache and run ingest again"
                    ) from error
                _require_not_negative(raw, scaler, shard.chrom)
                for first in range(begin, end, BINS_AT_ONCE):
                    last = min(first + BINS_AT_ONCE, end)
                    part = raw[:, first - begin : last - begin]
                    part = np.pad(part, ((0, 0), (0, last - first - part.shape[1])), constant_values=np.nan)
                    rows = slice(first - shard.first, last - shard.first)
                    block[rows, columns] = stored(standardise(part.T, scaler))
        open_bins(self.matrix)[shard.chrom].write_shard(shard.first // SHARD_BINS, block)


def _require_not_negative(raw: npt.NDArray[np.float32], scaler: Scaler, chrom: str) -> None:
    """Refuse signal below 0 of tracks that are log1p's; only an encoder's scaler can meet any, ingest refuses it."""
    for row in places_of("log1p", scaler.transforms) if scaler.transform != "arcsinh" else ():
        if (raw[row] < 0).any():
            raise DataError(
                f"track {scaler.tracks[row]}: {chrom}: signal below 0 (down to {np.nanmin(raw[row]):g}), which log1p "
                "does not take; is it the kind of signal that the encoder was trained on?"
            )


def _read_rows(signal: Any, rows: Sequence[int], begin: int, end: int) -> npt.NDArray[np.float32]:
    if tuple(rows) == tuple(range(rows[0], rows[0] + len(rows))):
        return np.asarray(signal[rows[0] : rows[0] + len(rows), begin:end], np.float32)
    return np.stack([np.asarray(signal[row, begin:end], np.float32) for row in rows])
