"""Non-negative factorisation: fitted on a sample of training bins, applied to any number of them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from epilstm.errors import DataError
from epilstm.store.manifests import MatrixManifest, read_scaler
from epilstm.store.matrix import Matrix

#: Values (bins x tracks) of the sample that a factorisation is fitted on, at most, and its bins.
SAMPLE_VALUES, SAMPLE_BINS = 5_000_000, 20_000
#: Passes over the factors in fitting at most, and in applying: exact to float32 for well-separated factors.
FIT_PASSES, PASSES = 300, 30


@dataclass(frozen=True)
class Nmf:
    """Factors of non-negative data: rows are approximated by ``weights @ factors``, both without negative entries.

    Parameters
    ----------
    offset : (tracks,) float32 array
        Added to standardised rows; what is then below 0 is taken as 0.
    factors : (size, tracks) float32 array
    """

    offset: NDArray[np.float32]
    factors: NDArray[np.float32]

    def non_negative(self, rows: NDArray[np.floating]) -> NDArray[np.float32]:
        """Rows as they are factorised: un-centred, in standard deviations."""
        return np.asarray(np.maximum(rows + self.offset, 0), dtype=np.float32)

    def transform(self, rows: NDArray[np.floating]) -> NDArray[np.float32]:
        """(n, size) non-negative weights that fit (n, tracks) standardised rows best, in the squared error.

        Coordinate descent on all rows at once: with G = H H' and B = X H', weight j of every row becomes
        ``max(0, w_j + (B - W G)_j / G_jj)`` (hierarchical alternating least squares, Cichocki and Phan 2009).
        """
        gram = (self.factors @ self.factors.T).astype(np.float64)
        target = self.factors @ self.non_negative(rows).T
        start = np.linalg.pinv(gram, hermitian=True).astype(np.float32) @ target
        weights = np.maximum(start, 0)
        used = [int(j) for j in np.flatnonzero(np.diag(gram) > 0)]
        weights[np.diag(gram) <= 0] = 0
        single = gram.astype(np.float32)
        for _ in range(PASSES):
            for j in used:
                step = (target[j] - single[j] @ weights) / single[j, j]
                np.maximum(weights[j] + step, 0, out=weights[j])
        return np.ascontiguousarray(weights.T)


def offsets(folder: Path, manifest: MatrixManifest) -> NDArray[np.float32]:
    """What un-centres each track of a matrix folder: its mean in standard deviations."""
    scaler = read_scaler(folder, manifest)
    return np.asarray(np.array(scaler.mean) / np.array(scaler.scale), dtype=np.float32)


def sampled_every(bins: int, columns: int) -> int:
    """Which of so many bins are a sample: every so many-th, as `SAMPLE_BINS` and `SAMPLE_VALUES` allow."""
    wanted = max(1, min(SAMPLE_BINS, SAMPLE_VALUES // max(columns, 1)))
    return max(1, bins // wanted)


def training_sample(matrix: Matrix) -> NDArray[np.float32]:
    """(n, tracks) rows: training bins with data, evenly spread, as many as `SAMPLE_BINS` and `SAMPLE_VALUES` allow.

    Raises
    ------
    DataError
        The training chromosomes have no bin with data.
    """
    blocks = matrix.blocks(matrix.manifest.split.train)
    every = sampled_every(sum(block.bins for block in blocks), matrix.tracks)
    parts = []
    for block in blocks:
        places = np.arange(-block.first % every, block.bins, every)
        parts.append(matrix.rows(block)[places[matrix.mask(block)[places]]])
    if not sum(map(len, parts)):
        raise DataError("the training chromosomes have no bins with data to factorise; check the split")
    return np.concatenate(parts)


def fit_nmf(sample: NDArray[np.float32], offset: NDArray[np.float32], size: int, seed: int) -> Nmf:
    """Factorise a sample of standardised rows.

    Parameters
    ----------
    sample : (n, tracks) float32 array
    offset : (tracks,) float32 array
        Of `Nmf`.
    size : int
        Factors; no more than there are tracks or rows.
    seed : int
    """
    from sklearn.decomposition import NMF
    from sklearn.exceptions import ConvergenceWarning

    whole = Nmf(offset, np.empty((0, sample.shape[1]), np.float32))
    data = whole.non_negative(sample)
    model = NMF(min(size, *data.shape), init="nndsvda", max_iter=FIT_PASSES, tol=1e-4, random_state=seed)
    with warnings.catch_warnings():
        # A factorisation that could still improve a little is a baseline all the same.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(data)
    return Nmf(offset, np.asarray(model.components_, dtype=np.float32))
