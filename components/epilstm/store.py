"""Bulk arrays: Zarr v3, one array per chromosome, chunks gathered in shards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec

from epilstm.config import Codec
from epilstm.cores import available_cores as available_cores
from epilstm.errors import DataError

#: Bins per shard of a (bin, column) array, and bytes that its chunks hold at most, above a least number of bins. What
#: a chunk costs beside its codec is the same for every size, so narrow arrays have longer ones; docs/data-formats.md.
SHARD_BINS = 100_000
CHUNK_BYTES = 1_000_000
CHUNK_BINS_CHOICES = (50_000, 20_000, 10_000, 5_000, 2_000)

#: Bins per chunk and per shard of a (track, bin) array: a chunk feeds one shard of the matrix, and a shard (16 MB of
#: one track) keeps the number of files low and the memory of the process that writes it small.
SIGNAL_CHUNK_BINS = 100_000
SIGNAL_SHARD_BINS = 4_000_000

#: Bins per chunk of a mask.
MASK_CHUNK_BINS = 1_000_000


def compressors(codec: Codec, itemsize: int) -> list[Any]:
    """Zarr's compressors for a codec name; a checksum comes last, so that a damaged chunk is an error when it is read.

    Whoever reads the chunk verifies it: `epilstm.shards` does, and so does Zarr itself.
    """
    checksum = Crc32cCodec()
    if codec == "none":
        return [checksum]
    return [BloscCodec(cname=codec, clevel=1, shuffle="bitshuffle", typesize=itemsize), checksum]


def create_group(path: Path) -> zarr.Group:
    """Make an empty Zarr group, in place of whatever is there."""
    return zarr.create_group(path, overwrite=True)


def require_group(path: Path) -> zarr.Group:
    """Open a Zarr group for writing, an empty one where there is none."""
    return zarr.open_group(path, mode="a", zarr_format=3)


def open_group(path: Path) -> zarr.Group:
    """Open a Zarr group for reading.

    Raises
    ------
    DataError
        There is none.
    """
    if not (path / "zarr.json").is_file():
        raise DataError(f"{path}: no Zarr group there; run the step that writes it")
    try:
        return zarr.open_group(path, mode="r")
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not a Zarr group: {error}; run the step that writes it again") from error


def create_array(
    group: zarr.Group,
    name: str,
    shape: Sequence[int],
    dtype: str,
    *,
    chunks: Sequence[int],
    shards: Sequence[int] | None,
    codec: Codec,
    fill_value: float | bool,
) -> zarr.Array:
    """Make an array; chunks carry a checksum, and those of the fill value alone take no space."""
    return group.create_array(
        name,
        shape=tuple(shape),
        dtype=dtype,
        chunks=tuple(chunks),
        shards=None if shards is None else tuple(shards),
        compressors=compressors(codec, np.dtype(dtype).itemsize),
        fill_value=fill_value,
        config={"write_empty_chunks": False},
    )


def chunk_bins(columns: int, itemsize: int) -> int:
    """Bins per chunk of a (bin, column) array: a divisor of `SHARD_BINS`, whole frames of 100."""
    fitting = (bins for bins in CHUNK_BINS_CHOICES if bins * columns * itemsize <= CHUNK_BYTES)
    return next(fitting, CHUNK_BINS_CHOICES[-1])


def create_bin_array(
    group: zarr.Group, name: str, bins: int, columns: int, dtype: str, codec: Codec, fill_value: float
) -> zarr.Array:
    """Make a (bin, column) array in the chunks and shards of every matrix and embedding."""
    return create_array(
        group,
        name,
        (bins, columns),
        dtype,
        chunks=(chunk_bins(columns, np.dtype(dtype).itemsize), columns),
        shards=(SHARD_BINS, columns),
        codec=codec,
        fill_value=fill_value,
    )


def create_signal_array(group: zarr.Group, name: str, tracks: int, bins: int, codec: Codec) -> zarr.Array:
    """Make a (track, bin) float32 array; each track has shards, and so files, of its own."""
    return create_array(
        group,
        name,
        (tracks, bins),
        "float32",
        chunks=(1, SIGNAL_CHUNK_BINS),
        shards=(1, SIGNAL_SHARD_BINS),
        codec=codec,
        fill_value=float("nan"),
    )


def create_mask(group: zarr.Group, name: str, bins: int) -> zarr.Array:
    """Make a (bin,) bool array, False until it is written."""
    return create_array(
        group, name, (bins,), "bool", chunks=(MASK_CHUNK_BINS,), shards=None, codec="lz4", fill_value=False
    )


class Masks(Mapping[str, NDArray[np.bool_]]):
    """Masks of a dataset by chromosome, (bin,) bool, each read and checked when it is asked for; the last is kept.

    Parameters
    ----------
    path : Path
        Group of the masks.
    bins_with_data : mapping of str to int
        How many bins of each chromosome have data, as the dataset's manifest says.
    """

    def __init__(self, path: Path, bins_with_data: Mapping[str, int]) -> None:
        self.path, self.bins_with_data = path, bins_with_data
        self._names = list(open_group(path).array_keys())
        self._last: tuple[str, NDArray[np.bool_]] = "", np.empty(0, bool)

    def __getitem__(self, chrom: str) -> NDArray[np.bool_]:
        if self._last[0] != chrom:
            self._last = chrom, read_mask(self.path, chrom, self.bins_with_data.get(chrom))
        return self._last[1]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def read_mask(path: Path, chrom: str, bins_with_data: int | None) -> NDArray[np.bool_]:
    """Which bins of a chromosome have data, (bin,) bool.

    Parameters
    ----------
    path : Path
        Group of the masks.
    chrom : str
    bins_with_data : int or None
        How many the dataset's manifest says; None leaves it open.

    Raises
    ------
    DataError
        The mask is missing, damaged or not the manifest's.
    """
    again = "pull the dataset again or run the step that writes it"
    try:
        stored: Any = open_group(path)[chrom]
        mask: NDArray[np.bool_] = np.asarray(stored[:], dtype=bool)
    except (KeyError, ValueError, RuntimeError, OSError) as error:
        raise DataError(f"{path}: the mask of {chrom} is missing or damaged; {again}") from error
    found = int(mask.sum())
    if bins_with_data is not None and found != bins_with_data:
        raise DataError(f"{path}: {chrom} has {found:,} bins with data, the manifest says {bins_with_data:,}; {again}")
    return mask


def shard_file(group: Path, name: str, *index: int) -> Path:
    """Where a shard of an array lies (Zarr v3, default chunk keys)."""
    return group.joinpath(name, "c", *map(str, index))
