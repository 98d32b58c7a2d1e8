"""The encoder over shards of a genome: bins are read, run and written as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from epilstm.errors import DataError
from epilstm.genome.bin_range import BinRange
from epilstm.genome.frames import spread_codes
from epilstm.model.core_encoder import ContextEncoder, windows_by_time
from epilstm.model.frames import frame_tokens
from epilstm.model.genome_windows import EncoderWindow, ShardRanges, WindowShape, batches_of, windows_of
from epilstm.store.arrays import SHARD_BINS

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


class RangeTokens:
    """Tokens of a bin range's frames, from the rows of its windows as they come: no bin is read twice for them."""

    def __init__(self, bin_range: BinRange, frame_bins: int) -> None:
        self.frame_bins = frame_bins
        self.first = self.next = -(-bin_range.first // frame_bins) * frame_bins
        self.limit = min(-(-bin_range.last // frame_bins) * frame_bins, bin_range.region_last)
        self.tokens: list[NDArray[np.float32]] = []
        self._rest: list[NDArray[np.float16]] = []

    def add(self, start: int, rows: NDArray[np.float16]) -> None:
        """Take in the rows of a window, which begins at bin `start`; windows come in order and leave no gap."""
        known = self.next + sum(len(part) for part in self._rest)
        new = rows[max(0, known - start) : max(0, self.limit - start)]
        together = np.concatenate([*self._rest, new]) if self._rest else new
        whole = len(together) // self.frame_bins * self.frame_bins
        if whole:
            self.tokens.append(frame_tokens(together[:whole], self.frame_bins))
            self.next += whole
        rest = together[whole:]
        self._rest = [rest.copy()] if len(rest) else []


@dataclass(frozen=True)
class ShardContext:
    """Codes of the context of a bin range's bins; may be called from several threads at once.

    Parameters
    ----------
    warmup : int
        Frames of context on either side of a bin range, as far as its region goes.
    """

    encode: ContextEncoder
    warmup: int

    def __call__(self, array: Any, bin_range: BinRange, own: RangeTokens) -> NDArray[np.float32]:
        """Code (bins, dim) of every bin of a bin range; parameters and errors as for `of_frames`."""
        first, codes = self._around(array, bin_range, own)
        spread = spread_codes(codes, bin_range.last - first, self.encode.frame_bins)
        return spread[bin_range.first - first :]

    def of_frames(self, array: Any, bin_range: BinRange, own: RangeTokens) -> NDArray[np.float32]:
        """Code (frame, dim) of every frame of a bin range, which begins with a frame.

        Parameters
        ----------
        array : BinArray
            The chromosome's matrix, from which the frames around are read.
        own : RangeTokens
            Of the frames within.

        Raises
        ------
        DataError
            The matrix holds a value that is not a finite number.
        """
        first, codes = self._around(array, bin_range, own)
        size = self.encode.frame_bins
        # Where a chromosome ends, the matrix completes its last frame, and the bins before its centre need the next.
        last = min(bin_range.region_last, -(-bin_range.last // SHARD_BINS) * SHARD_BINS)
        return codes[(bin_range.first - first) // size : -(-(last - first) // size)]

    def _around(self, array: Any, bin_range: BinRange, own: RangeTokens) -> tuple[int, NDArray[np.float32]]:
        """First bin, and codes of the frames, of a bin range and what lies around it."""
        size = self.encode.frame_bins
        first = max(bin_range.region_first, (bin_range.first // size - self.warmup) * size)
        last = min(bin_range.region_last, (-(-bin_range.last // size) + self.warmup) * size)
        tokens = np.concatenate(
            [*self._read(array, first, min(own.first, last)), *own.tokens, *self._read(array, own.next, last)]
        )
        _require_finite_tokens(tokens, array.basename, first, size)
        return first, self.encode(tokens)

    def _read(self, array: Any, first: int, last: int) -> Iterator[NDArray[np.float32]]:
        rows, size = MatrixRows(array), self.encode.frame_bins
        step = max(1, READ_VALUES // (array.shape[1] * size)) * size
        for start in range(first, last, step):
            stop = min(start + step, last)
            yield frame_tokens(rows(start, stop, last), size)


@dataclass(frozen=True)
class EmbeddedShard:
    """The embedding of a shard.

    Parameters
    ----------
    values : array (bins, dim), float32
        Of all bins, NaN where there is no data.
    frames : list of (int, array (frame, dim))
        First frame and context codes of each bin range, where codes of frames are left as they are.
    """

    values: NDArray[np.float32]
    frames: list[tuple[int, NDArray[np.float32]]]
    counts: Counts


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
    batch : int
        Windows per call.
    context : ShardContext, optional
        Of an encoder with a context level, whose code follows the bin's.
    by_frame : bool
        Leave the context's codes as they are, one for each frame.
    """

    encode: Encode
    matrix: Mapping[str, Any]
    mask: Mapping[str, Any]
    size: int
    shape: WindowShape
    batch: int
    context: ShardContext | None = None
    by_frame: bool = False

    def __call__(self, shard: ShardRanges) -> EmbeddedShard:
        """Embed a shard.

        Raises
        ------
        DataError
            The embedding of a bin with data is not a finite number.
        """
        values = np.full((shard.last - shard.first, self.size), np.nan, np.float32)
        frames = []
        tokens: list[RangeTokens] = []
        for batch in batches_of(self._windows(shard, tokens), self.batch):
            embedding = self.encode(windows_by_time([rows for _, rows in batch]))
            for column, (window, _) in enumerate(batch):
                kept = embedding[window.first - window.start : window.last - window.start, column]
                values[window.first - shard.first : window.last - shard.first, : kept.shape[1]] = kept
        with_data = 0
        for number, bin_range in enumerate(shard.bin_ranges):
            mask = np.asarray(self.mask[shard.chrom][bin_range.first : bin_range.last], dtype=bool)
            block = values[bin_range.first - shard.first : bin_range.last - shard.first]
            if self.context is not None and self.by_frame:
                codes = self.context.of_frames(self.matrix[shard.chrom], bin_range, tokens[number])
                _require_finite_codes(codes, shard.chrom, bin_range.first, self.context.encode.frame_bins)
                frames.append((bin_range.first // self.context.encode.frame_bins, codes))
            elif self.context is not None:
                codes = self.context(self.matrix[shard.chrom], bin_range, tokens[number])
                block[:, -codes.shape[1] :] = codes
            block[~mask] = np.nan
            _require_finite(block, mask, shard.chrom, bin_range.first)
            with_data += int(mask.sum())
        return EmbeddedShard(values, frames, Counts(shard.bins, with_data))

    def _windows(
        self, shard: ShardRanges, tokens: list[RangeTokens]
    ) -> Iterator[tuple[EncoderWindow, NDArray[np.float16]]]:
        """Windows of a shard with their rows; the tokens of each bin range are put into `tokens` on the way."""
        rows = MatrixRows(self.matrix[shard.chrom])
        for bin_range in shard.bin_ranges:
            needed = min(bin_range.last + self.shape.after, bin_range.region_last)
            own = RangeTokens(bin_range, self.context.encode.frame_bins) if self.context else None
            tokens += [] if own is None else [own]
            for window in windows_of(bin_range, self.shape):
                values = rows(window.start, window.stop, needed)
                if own is not None:
                    own.add(window.start, values)
                yield window, values


def _require_finite_tokens(tokens: NDArray[np.float32], chrom: str, first: int, frame_bins: int) -> None:
    wrong = ~np.isfinite(tokens).all(axis=1)
    if wrong.any():
        frame = first + int(wrong.argmax()) * frame_bins
        raise DataError(
            f"matrix: {chrom}, bins {frame} to {frame + frame_bins - 1}: a value is not a finite number; run "
            "preprocess again"
        )


def _require_finite_codes(codes: NDArray[np.float32], chrom: str, first: int, frame_bins: int) -> None:
    wrong = ~np.isfinite(codes).all(axis=1)
    if wrong.any():
        raise DataError(
            f"matrix: {chrom}, bin {first + int(wrong.argmax()) * frame_bins}: the code of its frame is not a finite "
            "number, so the matrix holds one that is not; run preprocess again"
        )


def _require_finite(embedding: NDArray[np.float32], mask: NDArray[np.bool_], chrom: str, first: int) -> None:
    wrong = mask & ~np.isfinite(embedding).all(axis=1)
    if wrong.any():
        raise DataError(
            f"matrix: {chrom}, bin {first + int(wrong.argmax())}: the embedding is not a finite number, so "
            "the matrix holds one that is not, there or a little before; run preprocess again"
        )
