"""The matrix, written shard by shard."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from epilstm.errors import DataError
from epilstm.store.arrays import SHARD_BINS, open_array, open_track_array
from epilstm.store.manifests import Manifest, Scaler, SignalManifest
from epilstm.store.shards import BinArray
from epilstm.store.standardisation import places_of, standardise, stored

#: Tracks read at once, which bounds memory to so many rows of a shard in float32 (and fills a cache line of the
#: matrix), and bins of them standardised at once, which stay in a core's cache.
TRACKS_AT_ONCE = 32
BINS_AT_ONCE = 4_000

#: Memory that a run is to keep within where the number of workers is left open, and what a process takes beside the
#: shard that it gathers: Python and its libraries, and the tracks read at once (measured: 83 MB and 35 MB).
MEMORY_BYTES = 1_000_000_000
PROCESS_BYTES = 130_000_000


class CopiedBins(NamedTuple):
    """Bins `first` to before `end` of the matrix's array, `known` of which are in the signal's, from `source` on.

    The last frame of a chromosome reaches past its end, where the signal has no bins.
    """

    first: int
    end: int
    source: int
    known: int


@dataclass(frozen=True)
class MatrixShard:
    """One shard of one of the matrix's arrays, and the bin ranges of it that have regions.

    Parameters
    ----------
    array : str
        Name of the array, in the signal and in the matrix.
    first, end : int
        First and one-past-last bin.
    pieces : tuple of CopiedBins
        In order.
    """

    array: str
    first: int
    end: int
    pieces: tuple[CopiedBins, ...]

    @property
    def bins(self) -> int:
        """Bins in its bin ranges."""
        return sum(piece.end - piece.first for piece in self.pieces)


def shards_of(array: str, signal: Manifest, matrix: Manifest) -> list[MatrixShard]:
    """Shards of an array that have regions, in order.

    Parameters
    ----------
    array : str
        Its name, in both datasets.
    signal, matrix : Manifest
        Of the signal that is read and of the matrix that is written.
    """
    pieces: dict[int, list[CopiedBins]] = {}
    for chrom in matrix.arrays[array]:
        theirs, ours = signal.places[chrom], matrix.places[chrom]
        for begin, last in matrix.bin_ranges[chrom]:
            while begin < last:
                number = (ours.first + begin) // SHARD_BINS
                end = min(last, (number + 1) * SHARD_BINS - ours.first)
                known = max(0, min(end, theirs.bins) - begin)
                piece = CopiedBins(ours.first + begin, ours.first + end, theirs.first + min(begin, theirs.bins), known)
                pieces.setdefault(number, []).append(piece)
                begin = end
    bins = matrix.array_bins(array)
    return [
        MatrixShard(array, number * SHARD_BINS, min((number + 1) * SHARD_BINS, bins), tuple(pieces[number]))
        for number in sorted(pieces)
    ]


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
    for array in dict.fromkeys(manifest.places[chrom].array for chrom in chroms):
        if not (signal / array / "zarr.json").is_file():
            raise DataError(f"{signal}: no array for {array}; {again}")
        for number, track in enumerate(manifest.tracks):
            shards = signal / array / "c" / str(number)
            with_data = any(track.moments.get(chrom, (0, 0, 0))[0] for chrom in manifest.arrays[array])
            if with_data and not (shards.is_dir() and any(shards.iterdir())):
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

    def write(self, shard: MatrixShard) -> npt.NDArray[np.int64]:
        """Standardise and write one shard; no other process may write it.

        Returns
        -------
        (track,) int64 array
            Values of each track that were cut off at the scaler's clip.
        """
        signal = open_track_array(self.signal, shard.array)
        tracks = len(self.rows)
        block = np.full((shard.end - shard.first, tracks), np.nan, np.float16)
        clipped = np.zeros(tracks, np.int64)
        # The pieces follow each other in the signal as in the matrix, so one bin range of it holds them all.
        start = min(piece.source for piece in shard.pieces)
        stop = max(piece.source + piece.known for piece in shard.pieces)
        for track in range(0, tracks, TRACKS_AT_ONCE):
            columns = slice(track, min(track + TRACKS_AT_ONCE, tracks))
            scaler = self.scaler.select(range(tracks)[columns])
            raw = _read_rows(signal, self.rows[columns], start, stop)
            _require_not_negative(raw, scaler, shard.array)
            for piece in shard.pieces:
                for first in range(piece.first, piece.end, BINS_AT_ONCE):
                    last = min(first + BINS_AT_ONCE, piece.end)
                    at = piece.source - start + first - piece.first
                    part = raw[:, at : at + min(last - first, max(0, piece.known - (first - piece.first)))]
                    part = np.pad(part, ((0, 0), (0, last - first - part.shape[1])), constant_values=np.nan)
                    rows = slice(first - shard.first, last - shard.first)
                    values = standardise(part.T, scaler)
                    block[rows, columns] = stored(values)
                    if scaler.clip is not None and (values.max() >= scaler.clip or values.min() <= -scaler.clip):
                        clipped[columns] += ((np.abs(values) >= scaler.clip) & ~np.isnan(part.T)).sum(axis=0)
        array = BinArray(self.matrix / shard.array, open_array(self.matrix, shard.array))
        array.write_shard(shard.first // SHARD_BINS, block)
        return clipped


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
