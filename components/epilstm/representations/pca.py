"""Principal components and linear read-outs from streamed second moments: exact, in one pass, in little memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from epilstm.errors import DataError
from epilstm.store.moments import Moments


@dataclass(frozen=True)
class Pca:
    """Principal components.

    Parameters
    ----------
    mean : (tracks,) float64 array
    components : (tracks, tracks) float64 array
        Unit columns, by falling variance; the largest entry of each is positive.
    """

    mean: NDArray[np.float64]
    components: NDArray[np.float64]

    def transform(self, rows: NDArray[np.floating], size: int) -> NDArray[np.float32]:
        """(n, size) coordinates of (n, tracks) rows."""
        return ((rows - self.mean) @ self.components[:, :size]).astype(np.float32)

    def reconstruct(self, rows: NDArray[np.floating], size: int) -> NDArray[np.float32]:
        """(n, tracks) rows given back from `size` coordinates."""
        return (self.transform(rows, size) @ self.components[:, :size].T + self.mean).astype(np.float32)

    def squared_errors(self, moments: Moments, size: int) -> NDArray[np.float64]:
        """(tracks,) summed squared errors of reconstructing the rows behind `moments` from `size` coordinates.

        With deviations d, D = sum of d d' and the projector P on the components kept, the error of track j is
        ``[(I - P) D (I - P)]_jj``.
        """
        kept = self.components[:, :size]
        residual = np.eye(len(self.mean)) - kept @ kept.T
        deviations = residual @ moments.about(self.mean)
        errors: NDArray[np.float64] = (deviations * residual).sum(axis=1)
        return np.maximum(errors, 0)


def fit_pca(moments: Moments) -> Pca:
    """Principal components of the rows behind `moments`.

    Raises
    ------
    DataError
        Fewer than two rows.
    """
    if moments.count < 2:
        raise DataError("the training chromosomes have no bins with data to fit the PCA baseline on; check the split")
    _, vectors = np.linalg.eigh(moments.about(moments.mean) / (moments.count - 1))
    components = vectors[:, ::-1]
    signs = np.sign(components[np.abs(components).argmax(axis=0), np.arange(components.shape[1])])
    return Pca(moments.mean, components * signs)


@dataclass(frozen=True)
class LinearReadout:
    """Least squares from embeddings to tracks.

    Parameters
    ----------
    weights : (size + 1, tracks) float64 array
        The last row is the intercept.
    """

    weights: NDArray[np.float64]

    def predict(self, embedding: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, tracks) rows from (n, size) embeddings."""
        rows: NDArray[np.float32] = (embedding @ self.weights[:-1] + self.weights[-1]).astype(np.float32)
        return rows

    def squared_errors(self, joint: Moments) -> NDArray[np.float64]:
        """(tracks,) summed squared errors over the rows behind the joint moments of (embedding, 1, tracks)."""
        size = len(self.weights)
        cross = joint.products[:size, size:]
        fitted = joint.products[:size, :size] @ self.weights
        errors: NDArray[np.float64] = np.diag(joint.products)[size:] + (self.weights * (fitted - 2 * cross)).sum(axis=0)
        return np.maximum(errors, 0)


def joint_rows(embedding: NDArray[np.float32], tracks: NDArray[np.float32]) -> NDArray[np.float32]:
    """Columns whose moments `fit_readout` and `LinearReadout.squared_errors` take: embedding, 1, tracks."""
    return np.concatenate([embedding, np.ones((len(embedding), 1), dtype=np.float32), tracks], axis=1)


def fit_readout(joint: Moments, size: int) -> LinearReadout:
    """Least-squares read-out from the joint moments of (embedding of `size`, 1, tracks).

    Least norm where embedding columns depend on each other.
    """
    width = size + 1
    solution, *_ = np.linalg.lstsq(joint.products[:width, :width], joint.products[:width, width:], rcond=1e-12)
    return LinearReadout(np.asarray(solution, dtype=np.float64))
