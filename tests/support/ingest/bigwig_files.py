"""bigWig files for tests: written by pyBigWig, or by hand where they must be unusual."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyBigWig

Interval = tuple[int, int, float]


def write_bigwig(path: Path, sizes: dict[str, int], intervals: dict[str, Sequence[Interval]]) -> Path:
    """Intervals per chromosome, in the order of `sizes`."""
    with pyBigWig.open(str(path), "w") as file:
        file.addHeader(list(sizes.items()))
        for chrom in sizes:
            if rows := list(intervals.get(chrom, ())):
                starts, ends, values = zip(*rows, strict=True)
                file.addEntries([chrom] * len(rows), list(starts), ends=list(ends), values=[float(v) for v in values])
    return path


def random_intervals(
    rng: np.random.Generator, size: int, *, gap: float = 0.2, low: int = 20, high: int = 60
) -> list[Interval]:
    """Runs of `low` to `high` bases with gamma-distributed values; a share of them left out."""
    lengths = rng.integers(low, high + 1, size // low + 1)
    ends = np.cumsum(lengths)
    starts = ends - lengths
    kept = (starts < size) & (rng.random(len(ends)) >= gap)
    values = rng.gamma(0.5, 3.0, len(ends)).astype(np.float32)
    return [
        (int(s), int(min(e, size)), float(v)) for s, e, v in zip(starts[kept], ends[kept], values[kept], strict=True)
    ]


def handmade_bigwig(
    path: Path,
    blocks: Sequence[Sequence[Interval]],
    *,
    order: str = "<",
    compress: bool = True,
    chrom: str = "chr1",
    size: int = 10_000,
) -> Path:
    """A bigWig of one chromosome (a name of 4 letters): bedGraph blocks, not checked, and an index of one node."""
    header, tree, data_at = 64, 32 + 4 + 12, 64 + 32 + 4 + 12
    body, places = b"", []
    for block in blocks:
        head = struct.pack(order + "IIIIIBBH", 0, block[0][0], block[-1][1], 0, 0, 1, 0, len(block))
        data = head + b"".join(struct.pack(order + "IIf", *interval) for interval in block)
        stored = zlib.compress(data) if compress else data
        places.append((0, block[0][0], 0, block[-1][1], data_at + 8 + len(body), len(stored)))
        body += stored
    index_at = data_at + 8 + len(body)
    path.write_bytes(
        struct.pack(
            order + "IHHQQQHHQQIQ", 0x888FFC26, 4, 0, header, data_at, index_at, 0, 0, 0, 0, 32768 if compress else 0, 0
        )
        + struct.pack(order + "IIIIQQ", 0x78CA8C91, 1, 4, 8, 1, 0)
        + struct.pack(order + "BBH4sII", 1, 0, 1, chrom.encode(), 0, size)
        + struct.pack(order + "Q", len(blocks))
        + body
        + struct.pack(order + "IIQIIIIQII", 0x2468ACE0, 256, len(blocks), 0, 0, 0, size, index_at, 1, 0)
        + struct.pack(order + "BBH", 1, 0, len(blocks))
        + b"".join(struct.pack(order + "IIIIQQ", *place) for place in places)
    )
    assert tree == 48
    return path


def mean_per_bin(intervals: Sequence[Interval], start: int, end: int, bin_size: int) -> np.ndarray:
    """The field's recipe, base by base: NaN to 0, then the mean of the bin's bases; NaN where no base is covered.

    The last bin ends at `end`.
    """
    bins = -(-(end - start) // bin_size)
    means = np.full(bins, np.nan)
    values = {}
    for first, last, value in intervals:
        for base in range(max(first, start), min(last, end)):
            if not np.isnan(value):
                values[base] = float(np.float32(value))
    for index in range(bins):
        bases = range(start + index * bin_size, min(start + (index + 1) * bin_size, end))
        if any(base in values for base in bases):
            means[index] = sum(values.get(base, 0.0) for base in bases) / len(bases)
    return means
