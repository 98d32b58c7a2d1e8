"""Bulk arrays: Zarr v3, one array per chromosome, chunks gathered in shards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec

from epilstm.errors import DataError
from epilstm.params import Codec
from epilstm.runtime.cores import available_cores as available_cores
from epilstm.store.packing import Place, arrays_of, attributes_of, length_of, places_in

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

#: Key of an array's attributes: [first, one-past-last] numbers, along the bins, of the files that it always has.
WRITTEN = "written"


def compressors(codec: Codec, itemsize: int) -> list[Any]:
    """Zarr's compressors for a codec name; a checksum comes last, so that a damaged chunk is an error when it is read.

    Whoever reads the chunk verifies it: `epilstm.store.shards` does, and so does Zarr itself.
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
    written: Sequence[tuple[int, int]] | None = None,
    write_empty_chunks: bool = False,
) -> zarr.Array:
    """Make an array; chunks carry a checksum, and those of the fill value alone take no space unless asked for.

    `written` are the files (shards, or chunks without shards) that it will always have; see `written_files`.
    """
    return group.create_array(
        name,
        shape=tuple(shape),
        dtype=dtype,
        chunks=tuple(chunks),
        shards=None if shards is None else tuple(shards),
        compressors=compressors(codec, np.dtype(dtype).itemsize),
        fill_value=fill_value,
        config={"write_empty_chunks": write_empty_chunks},
        attributes=None if written is None else {WRITTEN: [list(files) for files in written]},
    )


def written_files(ranges: Iterable[tuple[int, int]], file_bins: int) -> list[tuple[int, int]]:
    """Files of an array that hold ranges of its bins, in order.

    They are written even where all of them is the fill value, so that one that is lost is an error when it is read,
    not "no data".

    Parameters
    ----------
    ranges : iterable of (int, int)
        First and one-past-last bin of each; a dataset's regions.
    file_bins : int
        Bins of a file.

    Returns
    -------
    list of (int, int)
        First and one-past-last number of the files that follow each other.
    """
    files: list[tuple[int, int]] = []
    for first, last in sorted((first // file_bins, -(-last // file_bins)) for first, last in ranges if first < last):
        if files and first <= files[-1][1]:
            files[-1] = files[-1][0], max(files[-1][1], last)
        else:
            files.append((first, last))
    return files


def files_written(array: Any) -> list[range]:
    """Numbers of the files that an array always has; none are known of a dataset of an older version.

    Raises
    ------
    DataError
        Its attributes are damaged.
    """
    try:
        return [range(first, last) for first, last in array.attrs.get(WRITTEN, ())]
    except (TypeError, ValueError) as error:
        raise DataError(f"{array.store_path}: its attribute '{WRITTEN}' is damaged; {AGAIN}") from error


def is_written(files: Sequence[range], number: int) -> bool:
    """Whether an array always has a file, by its number along the bins."""
    return any(number in each for each in files)


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
    ranges: Iterable[tuple[int, int]] | None = None,
) -> zarr.Array:
    """Make a (bin, column) array in the chunks and shards of every matrix and embedding.

    One that is `shared` by small chromosomes has the shortest chunks, since each of them is read alone. `ranges` are
    the first and one-past-last bin of each region: shards that hold any of them are always written.
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
        written=None if ranges is None else written_files(_clipped(ranges, bins), SHARD_BINS),
    )


def create_signal_array(
    group: zarr.Group,
    name: str,
    tracks: int,
    bins: int,
    codec: Codec,
    ranges: Iterable[tuple[int, int]] | None = None,
) -> zarr.Array:
    """Make a (track, bin) float32 array; each track has shards, and so files, of its own; `ranges` as for bins."""
    return create_array(
        group,
        name,
        (tracks, bins),
        "float32",
        chunks=(1, SIGNAL_CHUNK_BINS),
        shards=(1, SIGNAL_SHARD_BINS),
        codec=codec,
        fill_value=float("nan"),
        written=None if ranges is None else written_files(_clipped(ranges, bins), SIGNAL_SHARD_BINS),
    )


def _clipped(ranges: Iterable[tuple[int, int]], bins: int) -> Iterator[tuple[int, int]]:
    # The last frame of a chromosome may reach past its end.
    return ((first, min(last, bins)) for first, last in ranges)


def write_absent_shards(path: Path, array: zarr.Array) -> None:
    """Write the shards of a signal array that Zarr leaves out since they hold the fill value alone.

    Parameters
    ----------
    path : Path
        Its group.
    array : zarr.Array
        All its values are written.
    """
    index = b"\xff" * (SIGNAL_SHARD_BINS // SIGNAL_CHUNK_BINS * 16)
    for row in range(array.shape[0]):
        for number in (number for files in files_written(array) for number in files):
            file = shard_file(path, array.basename, row, number)
            if not file.exists():
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(index + google_crc32c.value(index).to_bytes(4, "little"))


def create_mask(group: zarr.Group, name: str, bins: int, ranges: Iterable[tuple[int, int]] | None = None) -> zarr.Array:
    """Make a (bin,) bool array, False until it is written; `ranges` as for bins."""
    return create_array(
        group,
        name,
        (bins,),
        "bool",
        chunks=(MASK_CHUNK_BINS,),
        shards=None,
        codec="lz4",
        fill_value=False,
        written=None if ranges is None else written_files(_clipped(ranges, bins), MASK_CHUNK_BINS),
        write_empty_chunks=True,
    )


class MaskWriter:
    """Writes masks, chromosome by chromosome in the dataset's order.

    Parameters
    ----------
    path : Path
        Group to make.
    places : mapping of str to Place
        Where each chromosome lies.
    ranges : callable
        First and one-past-last bin of each region of an array, by the array's name; no other bin is True.
    """

    def __init__(
        self, path: Path, places: Mapping[str, Place], ranges: Callable[[str], Iterable[tuple[int, int]]]
    ) -> None:
        self._group, self._places, self._arrays = create_group(path, places), places, arrays_of(places)
        self._ranges = ranges
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
            array = create_mask(self._group, self._array, len(self._mask), self._ranges(self._array))
            for files in files_written(array):
                bins = slice(files.start * MASK_CHUNK_BINS, files.stop * MASK_CHUNK_BINS)
                array[bins] = self._mask[bins]


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
            _require_files(self._arrays[array], [self.path.joinpath(array, "c")])
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


def _require_files(array: Any, folders: Sequence[Path], bins: range | None = None) -> None:
    """Refuse to read an array that lacks files which it always has.

    Parameters
    ----------
    folders : sequence of Path
        Of its files, named by their numbers along the bins.
    bins : range, optional
        Numbers of the files that are read; all if None.

    Raises
    ------
    DataError
        One is missing.
    """
    for files in files_written(array):
        wanted = files if bins is None else range(max(files.start, bins.start), min(files.stop, bins.stop))
        for folder in folders:
            for number in wanted:
                if not (folder / str(number)).exists():
                    raise DataError(f"{folder / str(number)} is missing; {AGAIN}")


class TrackRows:
    """(track, bin) signal of one chromosome.

    Parameters
    ----------
    array : zarr.Array
        That it lies in.
    path : Path
        Its group, for messages.
    """

    def __init__(self, array: Any, path: Path, chrom: str, place: Place) -> None:
        self._array, self._path, self._chrom, self.place = array, path, chrom, place
        self.shape = (array.shape[0], place.bins)
        self.dtype = array.dtype
        self._there: set[tuple[int, int]] = set()

    def __getitem__(self, index: Any) -> NDArray[np.float32]:
        """Signal of a track or a slice of them, at a slice of bins.

        Raises
        ------
        DataError
            A file is missing or damaged.
        """
        rows, bins = index if isinstance(index, tuple) else (index, slice(None))
        first, last, _ = bins.indices(self.shape[1])
        self._require_files(rows, self.place.first + first, self.place.first + max(first, last))
        try:
            return np.asarray(self._array[rows, self.place.first + first : self.place.first + max(first, last)])
        except (ValueError, RuntimeError, OSError) as error:  # what zarr and its codecs raise
            raise DataError(
                f"{self._path / self.place.array}: {self._chrom}, bins {first} to {last} cannot be read ({error}); "
                "remove the ingest cache and run ingest again, or pull the dataset again"
            ) from error

    def whole(self) -> TrackRows:
        """All of the array, with whatever other chromosomes share it."""
        name = self.place.array
        return TrackRows(self._array, self._path, name, Place(name, 0, self._array.shape[1]))

    def _require_files(self, rows: int | slice, first: int, last: int) -> None:
        numbers = range(first // SIGNAL_SHARD_BINS, -(-last // SIGNAL_SHARD_BINS))
        tracks = range(self.shape[0])[rows]
        for row in (tracks,) if isinstance(tracks, int) else tracks:
            if any((row, number) not in self._there for number in numbers):
                _require_files(self._array, [shard_file(self._path, self.place.array, row)], numbers)
                self._there.update((row, number) for number in numbers)


def open_array(path: Path, name: str) -> zarr.Array:
    """Open one array of a group for reading.

    The group is not opened: where small chromosomes share arrays, its attributes are megabytes.

    Raises
    ------
    DataError
        There is no such array.
    """
    if not (path / name / "zarr.json").is_file():
        raise DataError(f"{path}: no array for {name}; {AGAIN}")
    try:
        return zarr.open_array(path / name, mode="r")
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path / name}: not a Zarr array: {error}; {AGAIN}") from error


def open_track_array(path: Path, name: str) -> TrackRows:
    """One (track, bin) array of a group, by its own name; errors as for `open_array`."""
    array = open_array(path, name)
    return TrackRows(array, path, name, Place(name, 0, array.shape[1]))


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
