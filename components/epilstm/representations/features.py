"""What a classifier can be given: the embedding, and the baselines that it must beat."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from epilstm.errors import DataError
from epilstm.genome.bin_range import BinRange
from epilstm.genome.frames import frame_weights
from epilstm.representations.pca import Pca
from epilstm.representations.pooling import WindowStatistics, WindowTable, touched_blocks
from epilstm.store.bin_ranges import open_code, read_rows
from epilstm.store.framed_codes import FramedRows
from epilstm.store.matrix import Matrix

#: Means that reach so many frames on either side or more are counted in whole frames.
FRAMES = 10
#: Sums of frames that means keep, at most, in bytes.
KEPT_BYTES = 600_000_000

Transform = Callable[[NDArray[np.float32]], NDArray[np.float32]]


class Representation(Protocol):
    """A vector for every bin.

    Parameters
    ----------
    size : int
        Numbers per bin.
    """

    @property
    def size(self) -> int:
        """Numbers per bin."""

    def block(self, block: BinRange) -> NDArray[np.float32]:
        """(bins, size) values of a block; what they are in bins without data does not matter."""


class RawTracks:
    """All tracks, as the matrix holds them."""

    def __init__(self, matrix: Matrix) -> None:
        self.matrix, self.size = matrix, matrix.tracks

    def block(self, block: BinRange) -> NDArray[np.float32]:
        """Standardised tracks."""
        return self.matrix.rows(block)


class PrincipalComponents:
    """The first components of a PCA fitted on the training chromosomes."""

    def __init__(self, matrix: Matrix, pca: Pca, size: int) -> None:
        self.matrix, self.pca, self.size = matrix, pca, min(size, matrix.tracks)

    def block(self, block: BinRange) -> NDArray[np.float32]:
        """Coordinates on the components."""
        return self.pca.transform(self.matrix.rows(block), self.size)


class BinByBin:
    """A function of each bin's tracks, such as a factorisation's weights or the tracks with some hidden.

    Parameters
    ----------
    matrix : Matrix
    transform : callable
        From (bins, tracks) rows to (bins, size) values.
    size : int
    """

    def __init__(self, matrix: Matrix, transform: Transform, size: int) -> None:
        self.matrix, self.transform, self.size = matrix, transform, size

    def block(self, block: BinRange) -> NDArray[np.float32]:
        """What the function makes of a block."""
        return self.transform(self.matrix.rows(block))


@dataclass(frozen=True)
class FrameValues:
    """Numbers that are stored or computed once per frame, and of which those of bins follow.

    Parameters
    ----------
    size : int
    of_region : callable
        From a region of the matrix to the (frames, size) values of its frames.
    interpolated : bool
        Whether those of bins lie on straight lines between the frames' centres; they are constant within a frame if
        not.
    """

    size: int
    of_region: Callable[[BinRange], NDArray[np.float32]]
    interpolated: bool = False


class Means:
    """Means of the tracks around each bin: over its own and so many bins on either side, as far as its region goes.

    A reach of `FRAMES` frames or more is counted in whole frames around the bin's own: all bins of a frame then have
    the same mean, and its sums are added up once for the whole region. Shorter reaches are exact to the bin.

    Parameters
    ----------
    matrix : Matrix
    transform : callable
        From (bins, tracks) rows to the (bins, width) tracks that are shown.
    width : int
    reaches : sequence of int
        Bins on either side.
    """

    def __init__(self, matrix: Matrix, transform: Transform, width: int, reaches: Sequence[int]) -> None:
        self.matrix, self.transform, self.reaches = matrix, transform, list(reaches)
        self.size = width * len(self.reaches)
        self.frame = matrix.manifest.frame_bins
        self._sums: dict[BinRange, tuple[NDArray[np.float64], NDArray[np.int64]]] = {}

    def block(self, block: BinRange) -> NDArray[np.float32]:
        """Means over bins with data, reach by reach; 0, the tracks' mean, where there are none."""
        short = [reach for reach in self.reaches if reach < FRAMES * self.frame]
        near = dict(zip(short, self._by_bin(block, short), strict=True))
        return np.concatenate(
            [near[reach] if reach in near else self._by_frame(block, reach) for reach in self.reaches], axis=1
        )

    def split(self) -> tuple[Means | None, FrameValues | None]:
        """The reaches that are exact to the bin, and those counted in frames: columns of the one, then the other.

        None where there are none of a kind, or where the columns would be in another order.
        """
        short = [reach for reach in self.reaches if reach < FRAMES * self.frame]
        far = self.reaches[len(short) :]
        if self.reaches[: len(short)] != short or not far:
            return self, None
        near = replaced(self, short) if short else None
        size = len(far) * (self.size // len(self.reaches))
        return near, FrameValues(size, lambda region: np.concatenate([self._far(region, reach) for reach in far], 1))

    def _far(self, region: BinRange, reach: int) -> NDArray[np.float32]:
        """Means around each frame of a region."""
        sums, counts = self._of_region(region)
        own, far = np.arange(len(counts) - 1), round(reach / self.frame)
        return _between(sums, counts, own - far, own + far + 1)

    def _by_bin(self, block: BinRange, reaches: Sequence[int]) -> list[NDArray[np.float32]]:
        if not reaches:
            return []
        wide = self.matrix.widened(block, max(reaches))
        rows, known = self._known(wide)
        # Sums before each bin, a track after the other: a window of any length is the difference of two of them, and
        # along a track they are added up four times as fast as across tracks.
        sums = np.zeros((rows.shape[1], len(rows) + 1))
        np.cumsum(np.ascontiguousarray(rows.T), axis=1, dtype=np.float64, out=sums[:, 1:])
        counts = np.concatenate([[0], np.cumsum(known)])
        own = np.arange(block.first - wide.first, block.last - wide.first)
        means = []
        for reach in reaches:
            low, high = np.maximum(own - reach, 0), np.minimum(own + reach + 1, len(rows))
            number = np.maximum(counts[high] - counts[low], 1)
            around = (np.take(sums, high, axis=1) - np.take(sums, low, axis=1)) / number
            means.append(np.ascontiguousarray(around.astype(np.float32).T))
        return means

    def _by_frame(self, block: BinRange, reach: int) -> NDArray[np.float32]:
        region = next(
            each
            for each in self.matrix.regions_on(block.chrom)
            if each.first <= block.first and block.last <= each.last
        )
        sums, counts = self._of_region(region)
        frames = np.arange(block.first // self.frame, (block.last - 1) // self.frame + 1)
        own, far = frames - region.first // self.frame, round(reach / self.frame)
        means = _between(sums, counts, own - far, own + far + 1)
        found: NDArray[np.float32] = means[np.arange(block.first, block.last) // self.frame - frames[0]]
        return found

    def _of_region(self, region: BinRange) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Sums of the tracks, and of bins with data, before each frame of a region."""
        if region not in self._sums:
            first = region.first // self.frame
            frames = (region.last - 1) // self.frame + 1 - first
            sums, counts = np.zeros((frames, self.size // len(self.reaches))), np.zeros(frames, np.int64)
            for block in self.matrix.cut(region):
                rows, known = self._known(block)
                edges = np.arange(block.first // self.frame, (block.last - 1) // self.frame + 1) * self.frame
                starts = np.maximum(edges - block.first, 0)
                place = slice(edges[0] // self.frame - first, edges[-1] // self.frame - first + 1)
                sums[place] += np.add.reduceat(rows, starts, axis=0, dtype=np.float64)
                counts[place] += np.add.reduceat(known, starts, dtype=np.int64)
            kept = sum(each.nbytes for each, _ in self._sums.values())
            if kept + sums.nbytes > KEPT_BYTES:
                self._sums.clear()
            self._sums[region] = _running(sums), np.concatenate([[0], np.cumsum(counts)])
        return self._sums[region]

    def _known(self, block: BinRange) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Rows of a block, 0 in bins without data, and which bins have data."""
        known = self.matrix.mask(block)
        return np.where(known[:, None], self.transform(self.matrix.rows(block)), np.float32(0)), known


def replaced(means: Means, reaches: Sequence[int]) -> Means:
    """Means of the same tracks with other reaches."""
    return Means(means.matrix, means.transform, means.size // len(means.reaches), reaches)


def _running(rows: NDArray) -> NDArray[np.float64]:
    """Sums before each row, and of all rows."""
    sums = np.zeros((len(rows) + 1, rows.shape[1]))
    np.cumsum(rows, axis=0, dtype=np.float64, out=sums[1:])
    return sums


def _between(
    sums: NDArray[np.float64], counts: NDArray[np.int64], low: NDArray[np.int64], high: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Means from row `low` to before `high`, as far as there are rows."""
    low, high = np.maximum(low, 0), np.minimum(high, len(counts) - 1)
    number = np.maximum(counts[high] - counts[low], 1)
    means: NDArray[np.float32] = ((sums[high] - sums[low]) / number[:, None]).astype(np.float32)
    return means


class Transformed:
    """A function of another representation's values at each bin.

    `of_means` says that a window's mean is what it makes of the mean: always so where the function is affine, and
    taken to be so where it would take hours to apply to every bin.
    """

    def __init__(self, whole: Representation, transform: Transform, size: int, of_means: bool = False) -> None:
        self.whole, self.transform, self.size, self.of_means = whole, transform, size, of_means

    def block(self, block: BinRange) -> NDArray[np.float32]:
        """What the function makes of a block."""
        return self.transform(self.whole.block(block))


class Columns:
    """Some numbers of another representation, in the order of `columns`."""

    def __init__(self, whole: Representation, columns: Sequence[int] | NDArray[np.intp]) -> None:
        self.whole, self.columns, self.size = whole, np.asarray(columns, dtype=np.intp), len(columns)

    def block(self, block: BinRange) -> NDArray[np.float32]:
        """Those columns of a block."""
        return self.whole.block(block)[:, self.columns]


@dataclass(frozen=True)
class ByCellType:
    """A representation for each cell type, of its own tracks."""

    cells: Mapping[str, Representation]

    @property
    def size(self) -> int:
        """Numbers per bin of the cell type that has most."""
        return max(each.size for each in self.cells.values())


class SideBySide:
    """Several representations as one."""

    def __init__(self, parts: Sequence[Representation]) -> None:
        self.parts, self.size = parts, sum(part.size for part in parts)

    def block(self, block: BinRange) -> NDArray[np.float32]:
        """Their values of a block, in their order."""
        return np.concatenate([part.block(block) for part in self.parts], axis=1)


class Embedding:
    """The embeddings dataset.

    Parameters
    ----------
    matrix : Matrix
        What the embeddings were made from.
    folder : Path
        Embeddings dataset.
    cell_type : str, optional
        Of a model that cell types share, the one whose code it is; all of them if not given.

    Raises
    ------
    DataError
        Missing, incomplete or of another kind.
    ParamsError
        There is no code of the cell type.
    """

    def __init__(self, matrix: Matrix, folder: Path, cell_type: str | None = None) -> None:
        self.matrix, self.folder = matrix, folder
        self.manifest, self._values = open_code(folder, cell_type)
        self.names, self.size = self.manifest.names, self.manifest.size

    def split(self) -> tuple[Embedding | None, FrameValues | None]:
        """The numbers that are stored for every bin, and those stored for every frame."""
        frames = self.manifest.context_frame_bins
        rows = {chrom: each for chrom, each in self._values.items() if isinstance(each, FramedRows)}
        own = {len(each.columns[0]) for each in rows.values()}
        if frames != self.matrix.manifest.frame_bins or len(rows) < len(self._values) or len(own) != 1:
            return self, None
        bins = copy(self)
        bins.size = own.pop()
        bins._values = {chrom: each.of_bins() for chrom, each in rows.items()}

        def of_region(region: BinRange) -> NDArray[np.float32]:
            self._require(region.chrom)
            codes = rows[region.chrom].of_frames(region.first // frames, -(-region.last // frames))
            # The matrix's last frames may lie past the chromosome's end, where none are stored and no bin has data.
            return np.pad(codes, ((0, -(-region.bins // frames) - len(codes)), (0, 0)), mode="edge")

        return (bins if bins.size else None), FrameValues(self.size - bins.size, of_region, interpolated=True)

    def _require(self, chrom: str) -> None:
        if chrom not in self._values:
            raise DataError(f"{self.folder}: no embeddings of {chrom}; run embed again")

    def block(self, block: BinRange) -> NDArray[np.float32]:
        """Embeddings as stored.

        Raises
        ------
        DataError
            A bin with data has no embedding.
        """
        self._require(block.chrom)
        values = read_rows(self.folder, self._values[block.chrom], block.first, block.last).astype(np.float32)
        # The matrix's last frame may reach past the chromosome's end, where there are no embeddings.
        beyond = block.bins - len(values)
        values = np.pad(values, ((0, beyond), (0, 0)), constant_values=np.nan)
        bad = self.matrix.mask(block) & ~np.isfinite(values).all(axis=1)
        if bad.any():
            raise DataError(
                f"{self.folder}: bin {block.first + int(bad.argmax())} of {block.chrom} has data but no embedding; "
                "run embed again"
            )
        return values


class Network:
    """A network run over the matrix, with context around each block as far as its region goes.

    Parameters
    ----------
    matrix : Matrix
    run : callable
        From consecutive (bins, tracks) rows to (bins, size) values.
    size : int
    context_bins : int
        Bins on either side after which a state no longer depends on where it started.
    frame_bins : int
        What is run begins at a multiple of it from its region's start, as frames do.
    """

    def __init__(self, matrix: Matrix, run: Transform, size: int, context_bins: int, frame_bins: int = 1) -> None:
        self.matrix, self.run, self.size = matrix, run, size
        self.context_bins, self.frame_bins = context_bins, frame_bins

    def block(self, block: BinRange) -> NDArray[np.float32]:
        """What the network makes of a block."""
        wide = self.matrix.widened(block, self.context_bins, self.frame_bins)
        return self.run(self.matrix.rows(wide))[block.first - wide.first : block.last - wide.first]


def pooled_features(
    representation: Representation,
    matrix: Matrix,
    windows: WindowTable,
    statistics: list[str],
    context_bins: int = 0,
) -> NDArray[np.float32]:
    """Features of every window, from the bins that have data.

    Parameters
    ----------
    representation : Representation
    matrix : Matrix
        Says where the data are; read chromosome by chromosome, block by block.
    windows : WindowTable
    statistics : list of str
        Of ``mean``, ``max``, ``std``, ``q1`` to ``q99``, and ``context``: the mean over the window widened by
        `context_bins` on either side.
    context_bins : int

    Returns
    -------
    (windows, statistics * size) float32 array
        Each statistic's numbers side by side, in their order; NaN where a window has no bin with data.
    """
    size = representation.size
    features = np.full((len(windows), len(statistics), size), np.nan, dtype=np.float32)
    own = [place for place, statistic in enumerate(statistics) if statistic != "context"]
    around = [place for place, statistic in enumerate(statistics) if statistic == "context"]
    wide = windows.widened(context_bins if around else 0)
    for chrom, rows in windows.by_chromosome():
        pooled = WindowStatistics(windows.first[rows], windows.last[rows], size, [statistics[each] for each in own])
        context = WindowStatistics(wide.first[rows], wide.last[rows], size, ["mean"] * len(around))
        for block in touched_blocks(matrix.blocks_on(chrom), wide.first[rows], wide.last[rows]):
            values, mask = representation.block(block), matrix.mask(block)
            if own:
                pooled.add(block.first, values, mask)
            if around:
                context.add(block.first, values, mask)
        for places, each in ((own, pooled), (around, context)):
            if places:
                features[rows[:, None], np.array(places)] = each.features().reshape(len(rows), len(places), size)
    return features.reshape(len(windows), -1)


def pooled_frames(values: FrameValues, matrix: Matrix, windows: WindowTable) -> NDArray[np.float32]:
    """Mean of every window over its bins that have data, of numbers that follow from those of frames.

    Each frame's share in a window is counted, and whole frames are added up once: no number of a bin is computed.

    Parameters
    ----------
    values : FrameValues
    matrix : Matrix
    windows : WindowTable

    Returns
    -------
    (windows, size) float32 array
        NaN where a window has no bin with data.

    Raises
    ------
    DataError
        A frame that counts has no values.
    """
    frame = matrix.manifest.frame_bins
    shares = frame_weights(frame).astype(np.float64) if values.interpolated else np.ones((1, frame))
    totals, counts = np.zeros((len(windows), values.size)), np.zeros(len(windows))
    for chrom, rows in windows.by_chromosome():
        for region in matrix.regions_on(chrom):
            low = np.maximum(windows.first[rows] - region.first, 0)
            high = np.minimum(windows.last[rows] - region.first, region.bins)
            inside = np.flatnonzero(low < high)
            if len(inside):
                each = _FrameSums(values.of_region(region), matrix.mask(region), shares, f"a region of {chrom}")
                totals[rows[inside]] += each.between(low[inside], high[inside])
                counts[rows[inside]] += each.known(low[inside], high[inside])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(totals / counts[:, None], dtype=np.float32)


class _FrameSums:
    """Sums over bins with data of one region, from the values of its frames.

    Parameters
    ----------
    values : (frames, size) float32 array
    known : (bins,) bool array
    shares : (3 or 1, frame bins) float64 array
        Of the frame before, its own and the one behind in each bin of a frame; or of its own alone.
    where : str
        For messages.
    """

    def __init__(
        self, values: NDArray[np.float32], known: NDArray[np.bool_], shares: NDArray[np.float64], where: str
    ) -> None:
        self.frame = shares.shape[1]
        frames = -(-len(known) // self.frame)
        padded = np.zeros(frames * self.frame, np.bool_)
        padded[: len(known)] = known
        weights = padded.reshape(frames, self.frame) * shares[:, None, :]
        #: Weight of each neighbour before each bin; 3 or 1 rows.
        self.before = np.zeros((len(shares), padded.size + 1))
        np.cumsum(weights.reshape(len(shares), -1), axis=1, out=self.before[:, 1:])
        self.counts = np.concatenate([[0], np.cumsum(padded)])
        numbers = np.arange(frames)
        reach = len(shares) // 2
        self.neighbours = [np.clip(numbers + step, 0, frames - 1) for step in range(-reach, reach + 1)]
        whole = weights.sum(axis=2)
        finite: NDArray[np.bool_] = np.asarray(np.isfinite(values).all(axis=1))
        for places, weight in zip(self.neighbours, whole, strict=True):
            missing = ~finite[places] & (weight > 0)
            if missing.any():
                raise DataError(
                    f"frame {int(places[missing.argmax()])} of {where} has data but no values; run embed again"
                )
        self.values = values if finite.all() else np.where(finite[:, None], values, np.float32(0))
        self.sums = np.zeros((frames + 1, values.shape[1]))
        for places, weight in zip(self.neighbours, whole, strict=True):
            self.sums[1:] += weight[:, None] * self.values[places]
        np.cumsum(self.sums, axis=0, out=self.sums)

    def known(self, low: NDArray[np.int64], high: NDArray[np.int64]) -> NDArray[np.int64]:
        """Bins with data from `low` to before `high`."""
        found: NDArray[np.int64] = self.counts[high] - self.counts[low]
        return found

    def between(self, low: NDArray[np.int64], high: NDArray[np.int64]) -> NDArray[np.float64]:
        """Sums over the bins with data from `low` to before `high`, (windows, size)."""
        first, last = low // self.frame, (high - 1) // self.frame
        one = first == last
        found = self._part(first, low, np.where(one, high, (first + 1) * self.frame))
        more = np.flatnonzero(~one)
        found[more] += self.sums[last[more]] - self.sums[first[more] + 1]
        found[more] += self._part(last[more], last[more] * self.frame, high[more])
        return found

    def _part(self, frame: NDArray[np.int64], low: NDArray[np.int64], high: NDArray[np.int64]) -> NDArray[np.float64]:
        """Sums over bins that lie in one frame."""
        found = np.zeros((len(frame), self.values.shape[1]))
        for places, before in zip(self.neighbours, self.before, strict=True):
            found += (before[high] - before[low])[:, None] * self.values[places[frame]]
        return found


def bins_with_data(matrix: Matrix, windows: WindowTable) -> NDArray[np.int64]:
    """How many bins of each window have data."""
    counts = np.zeros(len(windows), dtype=np.int64)
    for chrom, rows in windows.by_chromosome():
        pooled = WindowStatistics(windows.first[rows], windows.last[rows], 0, [])
        for block in touched_blocks(matrix.blocks_on(chrom), pooled.first, pooled.last):
            mask = matrix.mask(block)
            pooled.add(block.first, np.empty((len(mask), 0), dtype=np.float32), mask)
        counts[rows] = pooled.count
    return counts
