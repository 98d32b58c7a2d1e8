"""What a classifier can be given: the embedding, and the baselines that it must beat."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from epilstm.errors import DataError
from epilstm.genome.bin_range import BinRange
from epilstm.representations.pca import Pca
from epilstm.representations.pooling import WindowStatistics, WindowTable, touched_blocks
from epilstm.store.bin_ranges import open_code, read_rows
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

    def _by_bin(self, block: BinRange, reaches: Sequence[int]) -> list[NDArray[np.float32]]:
        if not reaches:
            return []
        wide = self.matrix.widened(block, max(reaches))
        rows, known = self._known(wide)
        # Sums before each bin: a window of any length is the difference of two of them.
        sums, counts = _running(rows), np.concatenate([[0], np.cumsum(known)])
        own = np.arange(block.first - wide.first, block.last - wide.first)
        return [_between(sums, counts, own - reach, own + reach + 1) for reach in reaches]

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

    `affine` says that the mean of what it makes is what it makes of the mean.
    """

    def __init__(self, whole: Representation, transform: Transform, size: int, affine: bool = False) -> None:
        self.whole, self.transform, self.size, self.affine = whole, transform, size, affine

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

    def block(self, block: BinRange) -> NDArray[np.float32]:
        """Embeddings as stored.

        Raises
        ------
        DataError
            A bin with data has no embedding.
        """
        if block.chrom not in self._values:
            raise DataError(f"{self.folder}: no embeddings of {block.chrom}; run embed again")
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
