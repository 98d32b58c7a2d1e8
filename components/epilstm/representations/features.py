"""What a classifier can be given: the embedding, and the baselines that it must beat."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from epilstm.errors import DataError
from epilstm.genome.bin_range import BinRange
from epilstm.representations.pca import Pca
from epilstm.representations.pooling import WindowStatistics, WindowTable, touched_blocks
from epilstm.store.bin_ranges import read_rows
from epilstm.store.manifests import EmbeddingsManifest, read_manifest
from epilstm.store.matrix import Matrix
from epilstm.store.shards import open_bins

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

    def block(self, block: BinRange) -> NDArray[np.float32]:
        """Means over bins with data, reach by reach; 0, the tracks' mean, where there are none."""
        wide = self.matrix.widened(block, max(self.reaches))
        known = self.matrix.mask(wide)
        rows = np.where(known[:, None], self.transform(self.matrix.rows(wide)), 0)
        # Sums before each bin: a window of any length is the difference of two of them.
        sums = np.zeros((len(rows) + 1, rows.shape[1]))
        np.cumsum(rows, axis=0, dtype=np.float64, out=sums[1:])
        counts = np.concatenate([[0], np.cumsum(known)])
        own = np.arange(block.first - wide.first, block.last - wide.first)
        found = []
        for reach in self.reaches:
            low, high = np.maximum(own - reach, 0), np.minimum(own + reach + 1, len(rows))
            number = np.maximum(counts[high] - counts[low], 1)
            found.append(((sums[high] - sums[low]) / number[:, None]).astype(np.float32))
        return np.concatenate(found, axis=1)


class Transformed:
    """A function of another representation's values at each bin."""

    def __init__(self, whole: Representation, transform: Transform, size: int) -> None:
        self.whole, self.transform, self.size = whole, transform, size

    def block(self, block: BinRange) -> NDArray[np.float32]:
        """What the function makes of a block."""
        return self.transform(self.whole.block(block))


class Columns:
    """Consecutive numbers of another representation, `first` to one before `last`."""

    def __init__(self, whole: Representation, first: int, last: int) -> None:
        self.whole, self.first, self.last, self.size = whole, first, last, last - first

    def block(self, block: BinRange) -> NDArray[np.float32]:
        """Those columns of a block."""
        return self.whole.block(block)[:, self.first : self.last]


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

    Raises
    ------
    DataError
        Missing, incomplete or of another kind.
    """

    def __init__(self, matrix: Matrix, folder: Path) -> None:
        self.matrix, self.folder = matrix, folder
        self.manifest = read_manifest(folder, EmbeddingsManifest)
        self.size = self.manifest.size
        self._values = open_bins(folder / "embeddings.zarr", complete=True)

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
