"""What the page draws of single bins, from a sample of the test chromosomes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from epilstm.errors import DataError
from epilstm.figures.intervals import compared, rows_with_data, spread_stretches
from epilstm.figures.loadings import correlations
from epilstm.figures.smoothness import MAX_LAG, Smoothness, measure, spaced_lags
from epilstm.representations.features import Embedding
from epilstm.store.matrix import Matrix


@dataclass(frozen=True)
class HeldOut:
    """Bins of the test chromosomes.

    Parameters
    ----------
    values : (bins, size) float32 array
        Embeddings of the bins with data.
    loadings : (size, tracks) float64 array
        Correlation of every dimension with every track.
    smoothness : dict of str to Smoothness
        Of the representations that can be compared; empty where the test chromosomes are too short.
    stretches : int
    """

    values: NDArray[np.float32]
    loadings: NDArray[np.float64]
    smoothness: dict[str, Smoothness]
    stretches: int


def read_held_out(matrix: Matrix, embeddings: Path) -> HeldOut:
    """Values, loadings and smoothness of stretches of the test chromosomes.

    Raises
    ------
    DataError
        The embeddings are incomplete, or no bin of the test chromosomes has data.
    """
    embedding = Embedding(matrix, embeddings)
    stretches = spread_stretches(matrix, matrix.manifest.split.test)
    loadings, bins = correlations(embedding, matrix, stretches)
    if bins < 2:
        raise DataError(f"no bins with data on the test chromosomes ({', '.join(matrix.manifest.split.test)})")
    lags = spaced_lags(min(MAX_LAG, max(stretch.bins for stretch in stretches) // 2))
    smoothness: dict[str, Smoothness] = {}
    for name, representation in compared(matrix, embedding).items():
        try:
            smoothness[name] = measure(representation, matrix, stretches, lags)
        except DataError:
            # No pairs at some lag, or a constant representation: nothing to be drawn of it.
            continue
    return HeldOut(
        np.concatenate(list(rows_with_data(embedding, matrix, stretches))), loadings, smoothness, len(stretches)
    )
