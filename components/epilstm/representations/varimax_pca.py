"""PCA whose axes are whitened and varimax-rotated, as those of a trained code are (`epilstm.model.rotation`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from epilstm.representations.pca import Pca
from epilstm.store.moments import Moments


@dataclass(frozen=True)
class VarimaxPca:
    """Turned principal components.

    Parameters
    ----------
    mean : (tracks,) float64 array
    axes : (tracks, size) float64 array
        By falling share of the tracks' variance; the coordinates on them are uncorrelated and of unit variance on the
        training chromosomes.
    """

    mean: NDArray[np.float64]
    axes: NDArray[np.float64]

    def transform(self, rows: NDArray[np.floating]) -> NDArray[np.float32]:
        """(n, size) coordinates of (n, tracks) rows."""
        return np.asarray((rows - self.mean) @ self.axes, dtype=np.float32)


def fit_varimax_pca(pca: Pca, moments: Moments, size: int) -> VarimaxPca:
    """The first components of a PCA, rotated.

    Parameters
    ----------
    pca : Pca
    moments : Moments
        Of the rows that the PCA was fitted on.
    size : int
        Components; no more than there are tracks.
    """
    # Imported here, as torch is slow to import and only this needs it.
    from epilstm.model.rotation import rotation_of

    components = pca.components[:, :size]
    deviations = moments.about(pca.mean)
    joint = Moments(size, len(pca.mean))
    # The coordinates' sum is 0, so their products with deviations are those with the tracks themselves.
    joint.count, joint.other_sums = moments.count, moments.sums
    joint.cross_products = components.T @ deviations
    joint.products = joint.cross_products @ components
    return VarimaxPca(pca.mean, components @ rotation_of(joint).matrix)
