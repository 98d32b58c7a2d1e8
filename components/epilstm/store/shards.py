"""The (bin, column) arrays of matrices and embeddings, read and written without going through Zarr's machinery.

The files are ordinary sharded Zarr v3, which Zarr itself reads and writes (and the tests hold the two against each
other). But zarr-python spends several times longer on a chunk than its codec does; here a chunk is decompressed
straight into the rows asked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import google_crc32c
import numpy as np
import zarr
from numcodecs import blosc
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec, ShardingCodec

from epilstm.errors import DataError
from epilstm.store.arrays import AGAIN, files_written, is_written, open_group, shard_file
from epilstm.store.packing import Place, places_in

#: Offset and length of a chunk that holds the fill value alone (Zarr v3, sharding_indexed).
ABSENT = np.uint64(2**64 - 1)
CHECKSUM_BYTES = 4

# Blosc cuts a chunk in other places when its own threads share it, so bytes would depend on the machine.
blosc.use_threads = False


class ShardError(DataError, ValueError):
    """A file of a dataset is missing or damaged."""


Rows = TypeVar("Rows")


class BinArrays(dict[str, Rows]):
    """Arrays by name, or rows by chromosome; what is not there is a user's error."""

    def __init__(self, path: Path, arrays: dict[str, Rows]) -> None:
        super().__init__(arrays)
        self.path = path

    def __missing__(self, chrom: str) -> Rows:
        raise ShardError(f"{self.path}: no array for {chrom}; {AGAIN}")


class BinArray:
    """One (bin, column) array on local disk.

    Parameters
    ----------
    path : Path
        The array's folder.
    array : zarr.Array
        The same, as Zarr opened it, made by `epilstm.store.arrays.create_bin_array`.

    Raises
    ------
    DataError
        It is stored in another way.

    `whole` is as for `open_bins`.
    """

    def __init__(self, path: Path, array: zarr.Array, whole: bool = False) -> None:
        self.path, self.basename, self.whole = path, path.name, whole
        self.shape, self.dtype, self.chunks = array.shape, array.dtype, array.chunks
        self.fill = np.array(array.fill_value, array.dtype)
        codecs = array.metadata.codecs if array.metadata.zarr_format == 3 else ()
        sharding = codecs[0] if len(codecs) == 1 else None
        if not isinstance(sharding, ShardingCodec) or array.shards is None:
            raise DataError(f"{path}: not stored in chunks and shards; run the step that writes it again")
        self.shard_bins = array.shards[0]
        compressors = list(array.compressors)
        # Datasets from before chunks had a checksum remain readable.
        self.checksummed = bool(compressors) and isinstance(compressors[-1], Crc32cCodec)
        if self.checksummed:
            compressors.pop()
        self.blosc: BloscCodec | None = None
        if compressors:
            codec = compressors[0]
            if not isinstance(codec, BloscCodec) or len(compressors) > 1:
                raise DataError(f"{path}: compressed with {codec}; run the step that writes it again")
            self.blosc = codec
        self._written = files_written(array)
        self._indices: dict[int, NDArray[np.uint64] | None] = {}
        # Of a chunk that was read in part, all: small chromosomes that lie in one chunk are read one after the other.
        self._last_part: tuple[tuple[int, int], NDArray[Any]] = (-1, -1), np.empty(0)

    def require_shards(self) -> None:
        """Refuse an array of which a shard is lost, before any is read.

        Raises
        ------
        ShardError
            One that it always has is missing.
        """
        for number in (number for files in self._written for number in files):
            if not shard_file(self.path.parent, self.path.name, number, 0).is_file():
                raise self._lost(number)

    def _lost(self, number: int) -> ShardError:
        return ShardError(f"{shard_file(self.path.parent, self.path.name, number, 0)} is missing; {AGAIN}")

    def __getitem__(self, bins: slice) -> NDArray[Any]:
        """Rows of a range of bins, (bins, column).

        Raises
        ------
        ShardError
            A file is damaged.
        """
        first, last, _ = bins.indices(self.shape[0])
        rows = np.empty((max(last - first, 0), self.shape[1]), self.dtype)
        for number in range(first // self.shard_bins, -(-last // self.shard_bins) if last > first else 0):
            start = number * self.shard_bins
            self._read_shard(number, max(first - start, 0), min(last - start, self.shard_bins), rows, start - first)
        return rows

    def _read_shard(self, number: int, first: int, last: int, rows: NDArray[Any], shift: int) -> None:
        """Put the shard's rows `first` to `last` into `rows`, each `shift` further down."""
        index = self._index(number)
        if index is None:
            rows[first + shift : last + shift] = self.fill
            return
        size = self.chunks[0]
        with open(shard_file(self.path.parent, self.path.name, number, 0), "rb") as stream:
            for chunk in range(first // size, -(-last // size)):
                begin, end = max(first, chunk * size), min(last, (chunk + 1) * size)
                into = rows[begin + shift : end + shift]
                offset, length = index[chunk]
                if offset == ABSENT:
                    into[:] = self.fill
                    continue
                known, whole = self._last_part
                if known == (number, chunk) and end - begin < size:
                    into[:] = whole[begin - chunk * size : end - chunk * size]
                    continue
                stored = self._stored(stream.fileno(), int(offset), int(length), number, chunk)
                if end - begin == size:
                    self._decode(stored, into, number, chunk)
                else:
                    whole = np.empty((size, self.shape[1]), self.dtype)
                    self._decode(stored, whole, number, chunk)
                    into[:] = whole[begin - chunk * size : end - chunk * size]
                    self._last_part = (number, chunk), whole

    def _stored(self, file: int, offset: int, length: int, number: int, chunk: int) -> bytes:
        """Bytes of a chunk as its codec made them, compared with their checksum."""
        if not self.checksummed:
            return os.pread(file, length, offset)
        # Read apart from its checksum, since cutting that off would copy the chunk.
        length -= CHECKSUM_BYTES
        stored, checksum = os.pread(file, length, offset), os.pread(file, CHECKSUM_BYTES, offset + length)
        if google_crc32c.value(stored).to_bytes(CHECKSUM_BYTES, "little") != checksum:
            raise self._damaged(number, chunk, "the checksum does not fit")
        return stored

    def _decode(self, stored: bytes, into: NDArray[Any], number: int, chunk: int) -> None:
        if self.blosc is None:
            if len(stored) != into.nbytes:
                raise self._damaged(number, chunk, "it is cut short")
            into[:] = np.frombuffer(stored, self.dtype).reshape(into.shape)
        else:
            try:
                blosc.decompress(stored, into)
            except (RuntimeError, ValueError) as error:
                raise self._damaged(number, chunk, str(error)) from error

    def _damaged(self, number: int, chunk: int, why: str) -> ShardError:
        first = number * self.shard_bins + chunk * self.chunks[0]
        last = min(first + self.chunks[0], self.shape[0])
        file = shard_file(self.path.parent, self.path.name, number, 0)
        return ShardError(f"{file}: {self.basename}, bins {first:,} to {last:,} are damaged ({why}); {AGAIN}")

    def _index(self, number: int) -> NDArray[np.uint64] | None:
        """Offset and length of each chunk of a shard; None where there is no shard."""
        if number not in self._indices:
            self._indices[number] = self._read_index(number)
        return self._indices[number]

    def _read_index(self, number: int) -> NDArray[np.uint64] | None:
        file = shard_file(self.path.parent, self.path.name, number, 0)
        length = self.shard_bins // self.chunks[0] * 16
        try:
            with open(file, "rb") as stream:
                stream.seek(-length - CHECKSUM_BYTES, os.SEEK_END)
                stored = stream.read()
        except FileNotFoundError:
            if self.whole or is_written(self._written, number):
                raise self._lost(number) from None
            return None
        except OSError as error:
            raise ShardError(f"{file} is cut short; {AGAIN}") from error
        if google_crc32c.value(stored[:length]).to_bytes(CHECKSUM_BYTES, "little") != stored[length:]:
            raise ShardError(f"{file} is damaged: the checksum of its index does not fit; {AGAIN}")
        return np.frombuffer(stored[:length], "<u8").reshape(-1, 2)

    def write_shard(self, number: int, rows: NDArray[Any]) -> None:
        """Write a whole shard; chunks of the fill value alone take no space, nor does a shard outside the regions.

        Parameters
        ----------
        number : int
            Position of the shard; no other process may write it.
        rows : array (bins, column)
            All rows of the shard that the array has.
        """
        size, chunks = self.chunks[0], self.shard_bins // self.chunks[0]
        expected = min(self.shard_bins, self.shape[0] - number * self.shard_bins)
        if rows.shape != (expected, self.shape[1]) or rows.dtype != self.dtype:
            raise ValueError(
                f"shard {number} takes {(expected, self.shape[1])} {self.dtype}, got {rows.shape} {rows.dtype}"
            )
        self._indices.pop(number, None)
        self._last_part = (-1, -1), np.empty(0)
        file = shard_file(self.path.parent, self.path.name, number, 0)
        encoded = self._encoded(rows, size)
        first = next(encoded, None)
        if first is None and not is_written(self._written, number):
            file.unlink(missing_ok=True)
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        index = np.full((chunks, 2), ABSENT, "<u8")
        offset = 0
        with open(file, "wb") as stream:
            # Chunk by chunk: all of a shard's encoded chunks are as much again as its rows.
            for chunk, stored in chain([] if first is None else [first], encoded):
                index[chunk] = offset, len(stored)
                offset += stream.write(stored)
            table = index.tobytes()
            stream.write(table + google_crc32c.value(table).to_bytes(CHECKSUM_BYTES, "little"))

    def _encoded(self, rows: NDArray[Any], size: int) -> Iterator[tuple[int, bytes]]:
        """Number and bytes of each chunk of a shard that holds more than the fill value."""
        for chunk, block in enumerate(self._blocks(rows, size)):
            if not self._is_fill(block):
                yield chunk, self._encode(np.ascontiguousarray(block))

    def _blocks(self, rows: NDArray[Any], size: int) -> Iterator[NDArray[Any]]:
        """Chunks of a shard; the last one of an array is filled up to full size."""
        for first in range(0, len(rows), size):
            block = rows[first : first + size]
            if len(block) < size:
                whole = np.full((size, self.shape[1]), self.fill, self.dtype)
                whole[: len(block)] = block
                block = whole
            yield block

    def _is_fill(self, block: NDArray[Any]) -> bool:
        bits = np.dtype(f"u{self.dtype.itemsize}")
        fill = self.fill.view(bits)
        # Bits, since NaN is no number to compare; the first row settles it for nearly every chunk that has data.
        return bool((block[0].view(bits) == fill).all() and (block.view(bits) == fill).all())

    def _encode(self, block: NDArray[Any]) -> bytes:
        if self.blosc is None:
            stored = block.tobytes()
        else:
            cname, level = self.blosc.cname.name.encode(), self.blosc.clevel
            stored = bytes(blosc.compress(block, cname, level, blosc.BITSHUFFLE, 0, self.dtype.itemsize))
        if self.checksummed:
            stored += google_crc32c.value(stored).to_bytes(CHECKSUM_BYTES, "little")
        return stored


class BinRows:
    """One chromosome's rows of an array that it shares with others."""

    __slots__ = ("array", "basename", "chunks", "dtype", "first", "path", "shape")

    def __init__(self, array: BinArray, chrom: str, place: Place) -> None:
        self.array, self.path, self.basename, self.first = array, array.path, chrom, place.first
        self.shape, self.dtype, self.chunks = (place.bins, array.shape[1]), array.dtype, array.chunks

    def __getitem__(self, bins: slice) -> NDArray[Any]:
        """Rows of a range of bins, as `BinArray` gives them."""
        first, last, _ = bins.indices(self.shape[0])
        return self.array[self.first + first : self.first + max(first, last)]


def open_arrays(path: Path, whole: bool = False, complete: bool = False) -> Mapping[str, BinArray]:
    """The (bin, column) arrays of a group by their own names; parameters and errors as for `open_bins`."""
    arrays = {name: BinArray(path / name, array, whole) for name, array in open_group(path).arrays()}
    if complete:
        for array in arrays.values():
            array.require_shards()
    return BinArrays(path, arrays)


def open_bins(path: Path, whole: bool = False, complete: bool = False) -> Mapping[str, BinArray | BinRows]:
    """The rows (bin, column) of each chromosome of a group.

    Parameters
    ----------
    path : Path
        Zarr group.
    whole : bool
        Every bin that will be read was written, as in a matrix's regions: a missing shard is an error, not fill,
        also in a dataset of an older version, which does not say which shards it has.
    complete : bool
        All shards must be there now; else one that is lost is an error when it is read. A task that does a part of a
        step's work has no more files than it needs.

    Raises
    ------
    DataError
        No group there, one that no step wrote, or a shard is missing.
    """
    arrays = open_arrays(path, whole, complete)
    places = places_in(open_group(path).attrs, {name: array.shape[0] for name, array in arrays.items()})
    rows: dict[str, BinArray | BinRows] = {
        chrom: arrays[chrom] if place.array == chrom else BinRows(arrays[place.array], chrom, place)
        for chrom, place in places.items()
    }
    return BinArrays(path, rows)
