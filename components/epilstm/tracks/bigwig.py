"""Reading bigWig files: header, chromosomes, index, and the intervals in a region of one chromosome.

Written from the format's description (Kent et al. 2010, doi:10.1093/bioinformatics/btq351, and its supplement). A
reader of our own because it decodes blocks straight into arrays, three times as fast as the libraries, and because a
damaged file ends in an error that names the file, never in a crash.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from epilstm.errors import MissingTrackError, TrackError

#: What a block is inflated with, and what that raises where it is damaged.
inflate: Callable[[memoryview], bytes] = zlib.decompress
InflateError: type[Exception] = zlib.error
with suppress(ModuleNotFoundError):  # twice as fast; not every platform has a build of it
    from isal import isal_zlib

    inflate = isal_zlib.decompress
    InflateError = isal_zlib.IsalError  # type: ignore[assignment]  # the stub has an instance

BIGWIG_MAGIC = 0x888FFC26
BIGBED_MAGIC = 0x8789F2EB
CHROMOSOME_TREE_MAGIC = 0x78CA8C91
INDEX_MAGIC = 0x2468ACE0

HEADER = "IHHQQQHHQQIQ"
CHROMOSOME_TREE = "IIIIQQ"
INDEX = "IIQIIIIQII"
BLOCK = "IIIIIBBH"

BEDGRAPH, VARIABLE_STEP, FIXED_STEP = 1, 2, 3

#: Most bytes read from the file at once.
READ_BYTES = 4 << 20


class Intervals(NamedTuple):
    """Signal of one block: `values[i]` holds over bases ``starts[i] <= base < ends[i]``.

    uint32, uint32 and float32, all of one length; views of the block, so neither contiguous nor writable.
    """

    starts: npt.NDArray[np.uint32]
    ends: npt.NDArray[np.uint32]
    values: npt.NDArray[np.float32]


@dataclass(frozen=True)
class _Blocks:
    """Where the data blocks of the file lie, sorted by chromosome and start."""

    chrom: npt.NDArray[np.int64]
    start: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]
    offset: npt.NDArray[np.int64]
    size: npt.NDArray[np.int64]


#: Where the path of a track's file comes from, for advice.
SAMPLESHEET_URI = "the samplesheet's uri"


class BigWig:
    """A bigWig file open for reading.

    Parameters
    ----------
    path : Path
        Local file.
    name : str, optional
        What messages call it, where that is not its path.
    only : str, optional
        The one chromosome whose intervals will be asked for: no more of the index is kept in memory.
    given_as : str, optional
        What the user gave its path as, which messages advise to check.

    Attributes
    ----------
    chromosomes : dict of str to int
        Chromosome sizes (bp) in the file's order.
    empty_intervals : int
        Intervals of length 0 that were skipped so far; whoever bins counts them here.

    Raises
    ------
    TrackError
        Missing, unreadable, not a bigWig, or cut short. Reading raises it too, for damage found on the way.
    """

    def __init__(
        self, path: Path, name: str | None = None, only: str | None = None, given_as: str = SAMPLESHEET_URI
    ) -> None:
        self.name = name or str(path)
        self._given_as = given_as
        self.empty_intervals = 0
        self._only = only
        try:
            self._file = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            raise MissingTrackError(f"{self.name}: no such file; check {given_as}") from None
        except OSError as error:
            raise TrackError(f"{self.name}: cannot be opened: {error.strerror}") from error
        try:
            self._size = os.fstat(self._file).st_size
            self._read_header()
            self._ids, self.chromosomes = self._read_chromosomes()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> BigWig:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    @property
    def has_intervals(self) -> bool:
        """Whether there is any interval on the chromosomes that may be asked for."""
        return len(self._blocks.chrom) > 0

    def intervals(self, chrom: str, start: int, end: int) -> Iterator[Intervals]:
        """Blocks of intervals that may overlap a region, in order of position.

        A block reaches past the region on either side: the caller cuts.

        Parameters
        ----------
        chrom : str
            One of `chromosomes`.
        start, end : int
            0-based, half-open, in base pairs.

        Raises
        ------
        TrackError
            The file is cut short or damaged.
        """
        blocks = self._blocks
        chrom_id = self._ids[chrom]
        first, last = np.searchsorted(blocks.chrom, [chrom_id, chrom_id + 1])
        chosen = first + np.flatnonzero((blocks.start[first:last] < end) & (blocks.end[first:last] > start))
        for run in _adjacent_runs(blocks.offset[chosen], blocks.size[chosen]):
            these = chosen[run]
            begin = int(blocks.offset[these[0]])
            data = memoryview(self._read(begin, int(blocks.offset[these[-1]] + blocks.size[these[-1]]) - begin))
            for offset, size in zip(blocks.offset[these].tolist(), blocks.size[these].tolist(), strict=True):
                yield self._decode(data[offset - begin : offset - begin + size], chrom, chrom_id, offset)

    def _read_at_most(self, offset: int, size: int) -> bytes:
        try:
            return os.pread(self._file, size, offset)
        except OSError as error:
            raise TrackError(f"{self.name}: cannot be read: {error.strerror}") from error

    def _read(self, offset: int, size: int) -> bytes:
        inside = 0 <= offset <= self._size and size <= self._size - offset
        data = self._read_at_most(offset, size) if inside else b""
        if len(data) < size:
            raise TrackError(
                f"{self.name}: cut short or damaged: needs bytes {offset} to {offset + size} of a file of {self._size} "
                "bytes; copy or download it again"
            )
        return data

    def _unpack(self, layout: str, offset: int) -> tuple[int, ...]:
        layout = self._order + layout
        return struct.unpack(layout, self._read(offset, struct.calcsize(layout)))

    def _read_header(self) -> None:
        if self._size == 0:
            raise TrackError(f"{self.name}: the file is empty; copy or download it again")
        start = self._read_at_most(0, 60)
        for self._order in "<>":
            magic = struct.unpack_from(self._order + "I", start)[0] if len(start) >= 4 else 0
            if magic == BIGBED_MAGIC:
                raise TrackError(f"{self.name}: a bigBed file, which has no signal; give the bigWig")
            if magic == BIGWIG_MAGIC:
                break
        else:
            seems = ""
            if start.lstrip().startswith((b"<", b"{")):
                seems = ": a web page or a server's error message in its place"
            elif start.startswith(b"\x1f\x8b"):
                seems = ": it is gzipped, unpack it"
            raise TrackError(f"{self.name}: not a bigWig file{seems}; check {self._given_as}")
        header = self._unpack(HEADER, 0)
        self._chromosome_tree, self._data, self._index = header[3:6]
        self._compressed = header[10] > 0
        if not self._chromosome_tree:
            raise TrackError(f"{self.name}: the header was never finished; whatever wrote this bigWig did not end well")

    def _read_chromosomes(self) -> tuple[dict[str, int], dict[str, int]]:
        magic, _, key_size, value_size, count, _ = self._unpack(CHROMOSOME_TREE, self._chromosome_tree)
        if magic != CHROMOSOME_TREE_MAGIC or value_size != 8 or not 0 < key_size < 1 << 16:
            raise self._damaged("its list of chromosomes")
        leaf = struct.Struct(f"{self._order}{key_size}sII")
        inner = struct.Struct(f"{self._order}{key_size}sQ")
        found: list[tuple[int, str, int]] = []
        for is_leaf, payload in self._walk(
            self._chromosome_tree + struct.calcsize(self._order + CHROMOSOME_TREE), leaf.size, inner.size, inner, count
        ):
            if is_leaf:
                for key, chrom_id, size in leaf.iter_unpack(payload):
                    found.append((chrom_id, key.rstrip(b"\0").decode("utf-8", "replace"), size))
        found.sort()
        return {name: chrom_id for chrom_id, name, _ in found}, {name: size for _, name, size in found}

    def _walk(
        self, root: int, leaf_size: int, inner_size: int, inner: struct.Struct, items: int
    ) -> Iterator[tuple[bool, bytes]]:
        """Nodes of a tree of the file, in order; each node is a 4-byte head and equal items."""
        pending, visited = [root], 0
        while pending:
            offset = pending.pop()
            visited += 1
            if visited > min(2 * items + 16, self._size // 4):  # more nodes than there can be: it runs in circles
                raise self._damaged("its index")
            is_leaf, _, count = self._unpack("BBH", offset)
            payload = self._read(offset + 4, count * (leaf_size if is_leaf else inner_size))
            if not is_leaf:
                pending += [fields[-1] for fields in inner.iter_unpack(payload)][::-1]
            yield bool(is_leaf), payload

    @cached_property
    def _blocks(self) -> _Blocks:
        if not self._index:  # what pyBigWig leaves of a file without intervals
            return _Blocks(*(np.empty(0, np.int64),) * 5)
        magic, _, count, *_ = self._unpack(INDEX, self._index)
        if magic != INDEX_MAGIC:
            raise self._damaged("its index")
        place = [(name, f"{self._order}u4") for name in ("start_chrom", "start", "end_chrom", "end")]
        leaf = np.dtype([*place, ("offset", f"{self._order}u8"), ("size", f"{self._order}u8")])
        inner = struct.Struct(f"{self._order}IIIIQ")
        leaves = [
            np.frombuffer(payload, leaf)
            for is_leaf, payload in self._walk(
                self._index + struct.calcsize(self._order + INDEX), leaf.itemsize, inner.size, inner, count
            )
            if is_leaf
        ]
        found = np.concatenate(leaves) if leaves else np.empty(0, leaf)
        if (found["start_chrom"] != found["end_chrom"]).any():
            raise self._damaged("its index")
        if self._only is not None:
            found = found[found["start_chrom"] == self._ids.get(self._only, -1)]
        found = found[np.lexsort((found["start"], found["start_chrom"]))]
        blocks = _Blocks(*(found[name].astype(np.int64) for name in ("start_chrom", "start", "end", "offset", "size")))
        if len(found):  # a file cut short is found out before any of it is binned
            last = int(np.argmax(blocks.offset + blocks.size))
            self._read(int(blocks.offset[last] + blocks.size[last]) - 1, 1)
        return blocks

    def _decode(self, stored: memoryview, chrom: str, chrom_id: int, offset: int) -> Intervals:
        try:
            data = inflate(stored) if self._compressed else bytes(stored)
            block_chrom, start, _, step, span, kind, _, count = struct.unpack_from(self._order + BLOCK, data)
            head = struct.calcsize(self._order + BLOCK)
            columns = {BEDGRAPH: 3, VARIABLE_STEP: 2, FIXED_STEP: 1}[kind]
            items = np.frombuffer(data, f"{self._order}u4", count * columns, head).reshape(count, columns)
        except (InflateError, struct.error, KeyError, ValueError) as error:
            raise self._damaged(f"its block at byte {offset} ({chrom})") from error
        if block_chrom != chrom_id:
            raise self._damaged(f"its block at byte {offset} ({chrom})")
        if kind == FIXED_STEP:
            starts = np.uint32(start) + np.uint32(step) * np.arange(count, dtype=np.uint32)
        else:
            starts = items[:, 0].astype(np.uint32, copy=False)
        ends = items[:, 1].astype(np.uint32, copy=False) if kind == BEDGRAPH else starts + np.uint32(span)
        values = items.view(f"{self._order}f4")[:, -1].astype(np.float32, copy=False)
        return Intervals(starts, ends, values)

    def _damaged(self, what: str) -> TrackError:
        return TrackError(f"{self.name}: {what} is damaged; copy or download the file again")


def _adjacent_runs(offset: npt.NDArray[np.int64], size: npt.NDArray[np.int64]) -> Iterator[slice]:
    """Runs of blocks that follow one another in the file, each of `READ_BYTES` at most (or one block)."""
    first = 0
    offsets, ends = offset.tolist(), (offset + size).tolist()
    for block in range(1, len(offsets) + 1):
        if block == len(offsets) or offsets[block] != ends[block - 1] or ends[block] - offsets[first] > READ_BYTES:
            yield slice(first, block)
            first = block
    return
