"""How far two clouds of embeddings lie apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from epilstm.store.moments import Moments

Floats = NDArray[np.float64]


def covariance(moments: Moments) -> Floats:
    """Covariance of the rows behind some moments."""
    return np.asarray(moments.about(moments.mean) / max(moments.count, 1))


def root(matrix: Floats) -> Floats:
    """Symmetric square root of a covariance."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T)


def frechet_distance(new: Moments, reference: Moments) -> float:
    """Squared Frechet distance of two normal distributions, as a share of the reference's total variance.

    ``|m1 - m2|^2 + tr(C1 + C2 - 2 (C1^1/2 C2 C1^1/2)^1/2)``, over ``tr(C2)``: 0 where mean and covariance agree, about
    1 where they differ as much as bins of the reference differ from each other.
    """
    own, known = covariance(new), covariance(reference)
    half = root(known)
    apart = np.trace(own) + np.trace(known) - 2 * np.trace(root(half @ own @ half))
    apart += float(np.square(new.mean - reference.mean).sum())
    return float(max(apart, 0) / max(np.trace(known), 1e-12))


def together(parts: list[Moments], columns: int) -> Moments:
    """Moments of all rows behind several."""
    whole = Moments(columns)
    for part in parts:
        whole.include(part)
    return whole
