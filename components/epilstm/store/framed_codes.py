"""Codes of frames: how they lie on disk, and how they become codes of bins.

The context codes of a model that cell types share are many numbers that change slowly: between the centres of frames
they are straight lines. So they are stored once per frame, in a group beside that of the bin codes, and bins get them
when they are read. No codec makes up for it: the bits of a straight line's values do not repeat.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from epilstm.errors import DataError
from epilstm.genome.frames import spread_codes
from epilstm.params import Codec
from epilstm.store.arrays import SHARD_BINS, create_array, written_files
from epilstm.store.manifests import EmbeddingsManifest
from epilstm.store.packing import Place
from epilstm.store.shards import BinArray, BinArrays, BinRows, open_bins

#: Groups of an embeddings dataset: numbers stored for every bin, and for every frame.
EMBEDDINGS, CONTEXT = "embeddings.zarr", "context.zarr"


def frame_count(bins: int, frame_bins: int) -> int:
    """Frames of an array; the last one may be shorter."""
    return -(-bins // frame_bins)


def stored_frames(bins: int, matrix_bins: int, frame_bins: int) -> int:
    """Frames of an array of codes, of which shards have as many as there are shards of bins.

    Parameters
    ----------
    bins, matrix_bins : int
        Of the array of bins, which ends where the chromosome does, and of the matrix, which completes the last frame:
        the last bins may lie before the centre of theirs, and so depend on the one behind.
    frame_bins : int
        Bins per frame, a divisor of `SHARD_BINS`.
    """
    return min(frame_count(matrix_bins, frame_bins), frame_count(bins, SHARD_BINS) * (SHARD_BINS // frame_bins))


def frame_places(places: Mapping[str, Place], frame_bins: int, frames: Mapping[str, int]) -> dict[str, Place]:
    """Where chromosomes lie in arrays of frames; in one that they share each begins with a frame.

    Parameters
    ----------
    places : mapping of str to Place
        Of the matrix.
    frames : mapping of str to int
        Frames of each array.
    """
    found = {}
    for chrom, place in places.items():
        first = place.first // frame_bins
        count = min(frame_count(place.bins, frame_bins), frames[place.array] - first)
        found[chrom] = Place(place.array, first, count)
    return found


def create_frame_array(
    group: zarr.Group,
    name: str,
    frames: int,
    columns: int,
    frame_bins: int,
    codec: Codec,
    ranges: Sequence[tuple[int, int]],
) -> zarr.Array:
    """Make a (frame, column) float32 array whose shards are those of the array of bins.

    Parameters
    ----------
    frames : int
        As many as `stored_frames` counts.
    frame_bins : int
        Bins per frame.
    ranges : sequence of (int, int)
        First and one-past-last bin of each region: shards that hold any of them are always written.
    """
    shard = SHARD_BINS // frame_bins
    return create_array(
        group,
        name,
        (frames, columns),
        "float32",
        chunks=(shard, columns),
        shards=(shard, columns),
        codec=codec,
        fill_value=float("nan"),
        written=written_files(((first, min(last, frames * frame_bins)) for first, last in ranges), SHARD_BINS),
    )


class FramedRows:
    """One chromosome's rows (bin, column): the numbers of each bin, then its context code, from those of frames.

    Parameters
    ----------
    frame_bins : int
        Bins per frame.
    regions : sequence of (int, int)
        First and one-past-last bin of each region; a code does not reach beyond its own.
    columns : sequence of int, optional
        Those that are read, first some of the bins', then some of the contexts'; all if not given.
    """

    __slots__ = ("basename", "bins", "chunks", "columns", "dtype", "frame_bins", "frames", "path", "regions", "shape")

    def __init__(
        self,
        bins: BinArray | BinRows,
        frames: BinArray | BinRows,
        frame_bins: int,
        regions: Sequence[tuple[int, int]],
        columns: Sequence[int] | None = None,
    ) -> None:
        self.bins, self.frames, self.frame_bins = bins, frames, frame_bins
        # A region that ends with the chromosome has all frames, the last of which may reach beyond.
        end = frames.shape[0] * frame_bins
        self.regions = [(first, end if last >= bins.shape[0] else last) for first, last in regions]
        self.path, self.basename, self.dtype, self.chunks = bins.path, bins.basename, bins.dtype, bins.chunks
        own, together = bins.shape[1], bins.shape[1] + frames.shape[1]
        chosen = list(range(together)) if columns is None else list(columns)
        self.columns = [each for each in chosen if each < own], [each - own for each in chosen if each >= own]
        self.shape = bins.shape[0], len(chosen)

    def __getitem__(self, bins: slice) -> NDArray[Any]:
        """Rows of a range of bins, (bins, column); NaN where there is no data."""
        first, last, _ = bins.indices(self.shape[0])
        rows = np.full((max(last - first, 0), self.shape[1]), np.nan, self.dtype)
        own = len(self.columns[0])
        rows[:, :own] = self.bins[first:last][:, self.columns[0]]
        for region_first, region_last in self.regions:
            begin, end = max(first, region_first), min(last, region_last)
            if begin < end:
                rows[begin - first : end - first, own:] = self._codes(begin, end, region_first, region_last)
        rows[np.isnan(rows[:, 0]), own:] = np.nan
        return rows

    def of_bins(self) -> ColumnRows:
        """The chosen numbers that are stored for every bin."""
        return ColumnRows(self.bins, self.columns[0])

    def of_frames(self, first: int, last: int) -> NDArray[Any]:
        """The chosen numbers of frames `first` to before `last`, (frame, column)."""
        return self.frames[first:last][:, self.columns[1]]

    def _codes(self, begin: int, end: int, region_first: int, region_last: int) -> NDArray[np.float32]:
        size = self.frame_bins
        # The frame before and the one behind, between whose centres the outermost bins may lie.
        start = max(region_first, (begin // size - 1) * size)
        stop = min(region_last, (frame_count(end, size) + 1) * size)
        codes = self.frames[start // size : frame_count(stop, size)][:, self.columns[1]]
        return spread_codes(codes, stop - start, size)[begin - start : end - start]


class ColumnRows:
    """Some columns of one chromosome's rows (bin, column)."""

    __slots__ = ("basename", "chunks", "columns", "dtype", "path", "rows", "shape")

    def __init__(self, rows: BinArray | BinRows, columns: Sequence[int]) -> None:
        self.rows, self.columns = rows, list(columns)
        self.path, self.basename, self.dtype, self.chunks = rows.path, rows.basename, rows.dtype, rows.chunks
        self.shape = rows.shape[0], len(self.columns)

    def __getitem__(self, bins: slice) -> NDArray[Any]:
        """Rows of a range of bins, (bins, column)."""
        return self.rows[bins][:, self.columns]


#: Rows of an embeddings dataset, by chromosome.
EmbeddingRows = BinArray | BinRows | FramedRows | ColumnRows


def open_embedding_rows(
    folder: Path, manifest: EmbeddingsManifest, columns: Sequence[int] | None = None
) -> Mapping[str, EmbeddingRows]:
    """The rows (bin, dim) of each chromosome of an embeddings dataset, however they are stored.

    Parameters
    ----------
    manifest : EmbeddingsManifest
        As the dataset has it.
    columns : sequence of int, optional
        Those that are read, in ascending order; all if not given.

    Raises
    ------
    DataError
        A group or a shard is missing, or bins and frames do not belong together.
    """
    bins = open_bins(folder / EMBEDDINGS, complete=True)
    size = manifest.context_frame_bins
    if size is None and columns is None:
        return bins
    if size is None:
        return BinArrays(folder / EMBEDDINGS, {chrom: ColumnRows(rows, columns or ()) for chrom, rows in bins.items()})
    frames = open_bins(folder / CONTEXT, complete=True)
    for chrom, rows in bins.items():
        if chrom not in frames or frames[chrom].shape[0] < frame_count(rows.shape[0], size):
            raise DataError(f"{folder / CONTEXT}: has not the frames of {chrom}; run embed again")
    return BinArrays(
        folder / EMBEDDINGS,
        {
            chrom: FramedRows(rows, frames[chrom], size, manifest.bin_ranges.get(chrom, ()), columns)
            for chrom, rows in bins.items()
        },
    )
