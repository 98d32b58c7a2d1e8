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
from epilstm.packing import Place, arrays_of, attributes_of, length_of, places_in

AGAIN = "pull the dataset again or run the step that writes it"

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


def create_group(path: Path, places: Mapping[str, Place] | None = None) -> zarr.Group:
    """Make an empty Zarr group, in place of whatever is there; `places` is where its chromosomes are to lie."""
    return zarr.create_group(path, overwrite=True, attributes=attributes_of(places or {}))


def require_group(path: Path, places: Mapping[str, Place] | None = None) -> zarr.Group:
    """Open a Zarr group for writing, an empty one where there is none; `places` as for `create_group`."""
    group = zarr.open_group(path, mode="a", zarr_format=3)
    if attributes := attributes_of(places or {}):
        group.update_attributes(attributes)
    return group


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
    group: zarr.Group,
    name: str,
    bins: int,
    columns: int,
    dtype: str,
    codec: Codec,
    fill_value: float,
    *,
    shared: bool = False,
) -> zarr.Array:
    """Make a (bin, column) array in the chunks and shards of every matrix and embedding.

    One that is `shared` by small chromosomes has the shortest chunks, since each of them is read alone.
    """
    per_chunk = CHUNK_BINS_CHOICES[-1] if shared else chunk_bins(columns, np.dtype(dtype).itemsize)
    return create_array(
        group,
        name,
        (bins, columns),
        dtype,
        chunks=(per_chunk, columns),
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


class MaskWriter:
    """Writes masks, chromosome by chromosome in the dataset's order.

    Parameters
    ----------
    path : Path
        Group to make.
    places : mapping of str to Place
        Where each chromosome lies.
    """

    def __init__(self, path: Path, places: Mapping[str, Place]) -> None:
        self._group, self._places, self._arrays = create_group(path, places), places, arrays_of(places)
        self._array, self._mask = "", np.empty(0, bool)

    def add(self, chrom: str, mask: NDArray[np.bool_]) -> None:
        """Take a chromosome's mask; bins that it leaves out at the end are False."""
        array, first, _ = self._places[chrom]
        if array != self._array:
            self.close()
            self._array, self._mask = array, np.zeros(length_of(self._places, self._arrays[array]), bool)
        self._mask[first : first + len(mask)] = mask

    def close(self) -> None:
        """Write the last array."""
        if self._array:
            create_mask(self._group, self._array, len(self._mask))[:] = self._mask


class Masks(Mapping[str, NDArray[np.bool_]]):
    """Masks of a dataset by chromosome, (bin,) bool: which bins have data.

    Each is read and checked when it is asked for; the array that was read last is kept.

    Parameters
    ----------
    path : Path
        Group of the masks.
    bins_with_data : mapping of str to int
        How many bins of each chromosome have data, as the dataset's manifest says.

    Raises
    ------
    DataError
        No group there; where a mask is asked for, it is missing, damaged or not the manifest's.
    """

    def __init__(self, path: Path, bins_with_data: Mapping[str, int]) -> None:
        self.path, self.bins_with_data = path, bins_with_data
        self._arrays: dict[str, Any] = dict(open_group(path).arrays())
        self._places = places_in(open_group(path).attrs, {name: array.shape[0] for name, array in self._arrays.items()})
        self._last: tuple[str, NDArray[np.bool_]] = "", np.empty(0, bool)
        self._counted: set[str] = set()

    def __getitem__(self, chrom: str) -> NDArray[np.bool_]:
        if chrom not in self._places:
            raise DataError(f"{self.path}: the mask of {chrom} is missing or damaged; {AGAIN}")
        array, first, bins = self._places[chrom]
        name, values = self._last
        if name != array:
            try:
                values = np.asarray(self._arrays[array][:], dtype=bool)
            except (ValueError, RuntimeError, OSError) as error:
                raise DataError(f"{self.path / array}: the mask of {chrom} is missing or damaged; {AGAIN}") from error
            self._last = array, values
        mask = values[first : first + bins]
        if chrom not in self._counted:
            found, said = int(mask.sum()), self.bins_with_data.get(chrom)
            if said is not None and found != said:
                raise DataError(
                    f"{self.path}: {chrom} has {found:,} bins with data, the manifest says {said:,}; {AGAIN}"
                )
            self._counted.add(chrom)
        return mask

    def __contains__(self, chrom: object) -> bool:
        return chrom in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def read_mask(path: Path, chrom: str, bins_with_data: int | None) -> NDArray[np.bool_]:
    """Which bins of one chromosome have data, (bin,) bool; `Masks` reads those of many.

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
    return Masks(path, {} if bins_with_data is None else {chrom: bins_with_data})[chrom]


class TrackRows:
    """(track, bin) signal of one chromosome.

    Parameters
    ----------
    array : zarr.Array
        That it lies in.
    path : Path
        Its group, for messages.
    chrom : str
    place : Place
    """

    def __init__(self, array: Any, path: Path, chrom: str, place: Place) -> None:
        self._array, self._path, self._chrom, self._place = array, path, chrom, place
        self.shape = (array.shape[0], place.bins)
        self.dtype = array.dtype

    def __getitem__(self, index: Any) -> NDArray[np.float32]:
        """Signal of a track or a slice of them, at a slice of bins.

        Raises
        ------
        DataError
            A file is damaged.
        """
        rows, bins = index if isinstance(index, tuple) else (index, slice(None))
        first, last, _ = bins.indices(self.shape[1])
        try:
            return np.asarray(self._array[rows, self._place.first + first : self._place.first + max(first, last)])
        except (ValueError, RuntimeError, OSError) as error:  # what zarr and its codecs raise
            raise DataError(
                f"{self._path / self._place.array}: {self._chrom}, bins {first} to {last} cannot be read ({error}); "
                "remove the ingest cache and run ingest again, or pull the dataset again"
            ) from error


def open_track_arrays(path: Path) -> dict[str, TrackRows]:
    """The (track, bin) arrays of a group by their own names; errors as for `open_signal`."""
    arrays: dict[str, Any] = dict(open_group(path).arrays())
    return {name: TrackRows(array, path, name, Place(name, 0, array.shape[1])) for name, array in arrays.items()}


def open_signal(path: Path) -> dict[str, TrackRows]:
    """The (track, bin) signal of a group, by chromosome.

    Raises
    ------
    DataError
        No group there.
    """
    group = open_group(path)
    arrays: dict[str, Any] = dict(group.arrays())
    places = places_in(group.attrs, {name: array.shape[1] for name, array in arrays.items()})
    return {chrom: TrackRows(arrays[place.array], path, chrom, place) for chrom, place in places.items()}


def shard_file(group: Path, name: str, *index: int) -> Path:
    """Where a shard of an array lies (Zarr v3, default chunk keys)."""
    return group.joinpath(name, "c", *map(str, index))
