"""What a classifier can be given: the embedding, and the baselines that it must beat."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from epilstm.datasets import EmbeddingsManifest, read_manifest
from epilstm.errors import DataError
from epilstm.evaluate.matrix import Block, Matrix, read_block
from epilstm.evaluate.pca import Pca
from epilstm.evaluate.pooling import WindowStatistics, WindowTable, touched_blocks
from epilstm.shards import open_bins


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

    def block(self, block: Block) -> NDArray[np.float32]:
        """(bins, size) values of a block; what they are in bins without data does not matter."""


class RawTracks:
    """All tracks, as the matrix holds them."""

    def __init__(self, matrix: Matrix) -> None:
        self.matrix, self.size = matrix, matrix.tracks

    def block(self, block: Block) -> NDArray[np.float32]:
        """Standardised tracks."""
        return self.matrix.rows(block)


class PrincipalComponents:
    """The first components of a PCA fitted on the training chromosomes."""

    def __init__(self, matrix: Matrix, pca: Pca, size: int) -> None:
        self.matrix, self.pca, self.size = matrix, pca, min(size, matrix.tracks)

    def block(self, block: Block) -> NDArray[np.float32]:
        """Coordinates on the components."""
        return self.pca.transform(self.matrix.rows(block), self.size)


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
        self._values = open_bins(folder / "embeddings.zarr")

    def block(self, block: Block) -> NDArray[np.float32]:
        """Embeddings as stored.

        Raises
        ------
        DataError
            A bin with data has no embedding.
        """
        if block.chrom not in self._values:
            raise DataError(f"{self.folder}: no embeddings of {block.chrom}; run embed again")
        values = read_block(self._values, block).astype(np.float32)
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
    """

    def __init__(
        self, matrix: Matrix, run: Callable[[NDArray[np.float32]], NDArray[np.float32]], size: int, context_bins: int
    ) -> None:
        self.matrix, self.run, self.size, self.context_bins = matrix, run, size, context_bins

    def block(self, block: Block) -> NDArray[np.float32]:
        """What the network makes of a block."""
        wide = self.matrix.widened(block, self.context_bins)
        return self.run(self.matrix.rows(wide))[block.first - wide.first : block.last - wide.first]


def pooled_features(
    representation: Representation, matrix: Matrix, windows: WindowTable, statistics: list[str]
) -> NDArray[np.float32]:
    """Features of every window, from the bins that have data.

    Parameters
    ----------
    representation : Representation
    matrix : Matrix
        Says where the data are; read chromosome by chromosome, block by block.
    windows : WindowTable
    statistics : list of str
        Of ``mean``, ``max``, ``std``.

    Returns
    -------
    (windows, statistics * size) float32 array
        NaN where a window has no bin with data.
    """
    features = np.full((len(windows), len(statistics) * representation.size), np.nan, dtype=np.float32)
    for chrom in np.unique(windows.chroms):
        rows = np.flatnonzero(windows.chroms == chrom)
        pooled = WindowStatistics(windows.first[rows], windows.last[rows], representation.size, statistics)
        for block in touched_blocks(matrix.blocks([str(chrom)]), windows):
            pooled.add(block.first, representation.block(block), matrix.mask(block))
        features[rows] = pooled.features()
    return features


def bins_with_data(matrix: Matrix, windows: WindowTable) -> NDArray[np.int64]:
    """How many bins of each window have data."""
    counts = np.zeros(len(windows), dtype=np.int64)
    for chrom in np.unique(windows.chroms):
        rows = np.flatnonzero(windows.chroms == chrom)
        pooled = WindowStatistics(windows.first[rows], windows.last[rows], 0, [])
        for block in touched_blocks(matrix.blocks([str(chrom)]), windows):
            mask = matrix.mask(block)
            pooled.add(block.first, np.empty((len(mask), 0), dtype=np.float32), mask)
        counts[rows] = pooled.count
    return counts
