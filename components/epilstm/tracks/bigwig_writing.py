"""Writing a bigWig from sorted intervals, some at a time: uncompressed, without zoom levels or summary."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from epilstm.tracks.bigwig import (
    BEDGRAPH,
    BIGWIG_MAGIC,
    BLOCK,
    CHROMOSOME_TREE,
    CHROMOSOME_TREE_MAGIC,
    HEADER,
    INDEX,
    INDEX_MAGIC,
)

#: Intervals of a block, and items of a node of the file's trees, at most; both are counted in 16 bits.
BLOCK_INTERVALS, NODE_ITEMS = 4_096, 60_000

_INTERVAL = np.dtype([("start", "<u4"), ("end", "<u4"), ("value", "<f4")])


class BigWigWriter:
    """A bigWig that grows chromosome by chromosome. A context manager; the file is whole when it is left.

    Parameters
    ----------
    path : Path
        Written.
    sizes : mapping of str to int
        Chromosome sizes (bp); those that get intervals are in the file.
    """

    def __init__(self, path: Path, sizes: Mapping[str, int]) -> None:
        self._file, self._sizes = open(path, "wb"), sizes  # noqa: SIM115 - closed by __exit__
        self._chromosomes: dict[str, int] = {}
        self._blocks: list[tuple[int, int, int, int, int]] = []  # chromosome, start, end, offset, size
        self._file.write(bytes(struct.calcsize("<" + HEADER)))

    def __enter__(self) -> BigWigWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            if error is None:
                self._finish()

    def add(
        self,
        chrom: str,
        starts: npt.NDArray[np.integer],
        ends: npt.NDArray[np.integer],
        values: npt.NDArray[np.floating],
    ) -> None:
        """Add the next intervals; those of a chromosome come together and in order."""
        number = self._chromosomes.setdefault(chrom, len(self._chromosomes))
        for first in range(0, len(starts), BLOCK_INTERVALS):
            part = slice(first, first + BLOCK_INTERVALS)
            items = np.empty(len(starts[part]), _INTERVAL)
            items["start"], items["end"], items["value"] = starts[part], ends[part], values[part]
            start, end = int(items["start"][0]), int(items["end"].max())
            offset = self._file.tell()
            self._file.write(struct.pack("<" + BLOCK, number, start, end, 0, 0, BEDGRAPH, 0, len(items)))
            self._file.write(items.tobytes())
            self._blocks.append((number, start, end, offset, self._file.tell() - offset))

    def _finish(self) -> None:
        data, tree = struct.calcsize("<" + HEADER), self._file.tell()
        names = {name.encode(): number for name, number in self._chromosomes.items()}
        width = max((len(name) for name in names), default=1)
        self._file.write(struct.pack("<" + CHROMOSOME_TREE, CHROMOSOME_TREE_MAGIC, NODE_ITEMS, width, 8, len(names), 0))
        sizes = [self._sizes[name] for name in self._chromosomes]
        leaves = [struct.pack(f"<{width}sII", name, number, sizes[number]) for name, number in sorted(names.items())]
        self._write_tree(leaves, [struct.pack(f"<{width}s", name) for name in sorted(names)])
        index = self._file.tell()
        end = (self._blocks[-1][0], self._blocks[-1][2]) if self._blocks else (0, 0)
        self._file.write(struct.pack("<" + INDEX, INDEX_MAGIC, NODE_ITEMS, len(self._blocks), 0, 0, *end, index, 1, 0))
        self._write_tree(
            [struct.pack("<IIIIQQ", chrom, start, chrom, end, *place) for chrom, start, end, *place in self._blocks],
            [struct.pack("<IIII", chrom, start, chrom, end) for chrom, start, end, *_ in self._blocks],
        )
        self._file.seek(0)
        self._file.write(struct.pack("<" + HEADER, BIGWIG_MAGIC, 4, 0, tree, data, index, 0, 0, 0, 0, 0, 0))

    def _write_tree(self, leaves: Sequence[bytes], keys: Sequence[bytes]) -> None:
        """Write the nodes of a tree: one leaf, or an inner node over as many as are needed, by their first keys."""
        nodes = [leaves[first : first + NODE_ITEMS] for first in range(0, len(leaves), NODE_ITEMS)] or [[]]
        if len(nodes) > 1:
            at = self._file.tell() + 4 + len(nodes) * (len(keys[0]) + 8)
            self._file.write(struct.pack("<BBH", 0, 0, len(nodes)))
            for number, node in enumerate(nodes):
                self._file.write(keys[number * NODE_ITEMS] + struct.pack("<Q", at))
                at += 4 + sum(map(len, node))
        for node in nodes:
            self._file.write(struct.pack("<BBH", 1, 0, len(node)) + b"".join(node))
