"""Fitted factors, and what representations are made of."""

import numpy as np

from epilstm.representations.features import RawTracks
from epilstm.representations.nmf import Nmf, fit_nmf
from epilstm.representations.pca import fit_pca
from epilstm.steps.evaluate.compared import Fitted, Ingredients, as_they_are
from epilstm.steps.evaluate.reconstruction import training_moments
from epilstm.store.matrix import Matrix
from support.evaluate.tiny_evaluation import EMBEDDING_SIZE, SPLIT, TRACKS


def ingredients_of(matrix: Matrix) -> Ingredients:
    raw, pca = RawTracks(matrix), fit_pca(training_moments(matrix, matrix.blocks(SPLIT.train), lambda bins: None))
    columns = {"A": np.array([0, 1, 2]), "B": np.array([3, 4, 5])}
    return Ingredients(matrix, as_they_are, len(TRACKS), raw, raw, EMBEDDING_SIZE, Fitted(pca, {}, {}), columns)


def fit_factors(rows: np.ndarray, tracks: np.ndarray, size: int) -> Nmf:
    """Each column lifted by the number of its track plus 5, so that none is below 0."""
    return fit_nmf(rows, tracks.astype(np.float32) + 5, size, 1)
