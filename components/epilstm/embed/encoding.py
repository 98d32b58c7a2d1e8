"""The encoder over shards of a genome: bins are read, run and written as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from epilstm.embed.core_encoder import windows_by_time
from epilstm.embed.windows import Shard, Window, WindowShape, batches_of, windows_of
from epilstm.errors import DataError

#: Values (bins x tracks) read at once, which bounds memory whatever the number of tracks.
READ_VALUES = 8_000_000

Encode = Callable[[NDArray[np.float16]], NDArray[np.float32]]


@dataclass(frozen=True)
class Counts:
    """Bins embedded, and how many of them have data."""

    bins: int
    with_data: int


class MatrixRows:
    """Rows of one chromosome's matrix, read in whole chunks, forward.

    What the next window shares with the last is kept, so that no chunk is decompressed twice in a row.
    """

    def __init__(self, array: Any) -> None:
        self.array = array
        self.chunk = array.chunks[0]
        self.read_bins = max(1, READ_VALUES // (array.shape[1] * self.chunk)) * self.chunk
        self.first = self.last = 0
        self.rows: NDArray[np.float16] = np.empty((0, array.shape[1]), np.float16)

    def __call__(self, first: int, last: int, needed: int) -> NDArray[np.float16]:
        """Rows `first` to before `last`, (bins, track); rows up to before `needed` will be asked for next."""
        if not self.first <= first <= self.last:
            self.first = self.last = first - first % self.chunk
            self.rows = self.rows[:0]
        if last > self.last:
            end = min(max(last, needed), max(last, self.last + self.read_bins))
            end = min(-(-end // self.chunk) * self.chunk, self.array.shape[0])
            kept = min(first, self.last)
            self.rows = np.concatenate([self.rows[kept - self.first :], self._read(self.last, end)])
            self.first, self.last = kept, end
        return self.rows[first - self.first : last - self.first]

    def _read(self, first: int, last: int) -> NDArray[np.float16]:
        try:
            return np.asarray(self.array[first:last])
        except (OSError, RuntimeError, ValueError) as error:  # what BinArray and its codec raise on a damaged file
            raise DataError(
                f"matrix: {self.array.basename} cannot be read: {error} (bins {first} to {last}); run preprocess again"
            ) from error


@dataclass(frozen=True)
class ShardEncoder:
    """Embeds shards; may be called from several threads at once.

    Parameters
    ----------
    encode : callable
        Embedding (time, batch, dim), from a zero state, of bins of the matrix (time, batch, track).
    matrix : mapping of str to BinArray
        By chromosome: (bin, track) float16.
    mask : mapping of str to Zarr array
        By chromosome: (bin,) bool.
    size : int
        Numbers per bin in the embedding.
    shape : WindowShape
    batch : int
        Windows per call.
    """

    encode: Encode
    matrix: Mapping[str, Any]
    mask: Mapping[str, Any]
    size: int
    shape: WindowShape
    batch: int

    def __call__(self, shard: Shard) -> tuple[NDArray[np.float32], Counts]:
        """Embed a shard.

        Returns
        -------
        array (bins, dim), float32, of all bins of the shard, NaN where there is no data; and counts

        Raises
        ------
        DataError
            The embedding of a bin with data is not a finite number.
        """
        values = np.full((shard.last - shard.first, self.size), np.nan, np.float32)
        for batch in batches_of(self._windows(shard), self.batch):
            embedding = self.encode(windows_by_time([rows for _, rows in batch]))
            for column, (window, _) in enumerate(batch):
                kept = embedding[window.first - window.start : window.last - window.start, column]
                values[window.first - shard.first : window.last - shard.first] = kept
        with_data = 0
        for stretch in shard.stretches:
            mask = np.asarray(self.mask[shard.chrom][stretch.first : stretch.last], dtype=bool)
            block = values[stretch.first - shard.first : stretch.last - shard.first]
            block[~mask] = np.nan
            _require_finite(block, mask, shard.chrom, stretch.first)
            with_data += int(mask.sum())
        return values, Counts(shard.bins, with_data)

    def _windows(self, shard: Shard) -> Iterator[tuple[Window, NDArray[np.float16]]]:
        rows = MatrixRows(self.matrix[shard.chrom])
        for stretch in shard.stretches:
            needed = min(stretch.last + self.shape.after, stretch.region_last)
            for window in windows_of(stretch, self.shape):
                yield window, rows(window.start, window.stop, needed)


def _require_finite(embedding: NDArray[np.float32], mask: NDArray[np.bool_], chrom: str, first: int) -> None:
    wrong = mask & ~np.isfinite(embedding).all(axis=1)
    if wrong.any():
        raise DataError(
            f"matrix: {chrom}, bin {first + int(wrong.argmax())}: the embedding is not a finite number, so "
            "the matrix holds one that is not, there or a little before; run preprocess again"
        )
