"""PCA and the linear read-out from streamed moments, against fitting on all rows at once."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from epilstm.errors import DataError
from epilstm.representations.pca import fit_pca, fit_readout, joint_rows
from epilstm.store.moments import Moments


def rows(n: int, columns: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return (random.normal(size=(n, columns)) @ random.normal(size=(columns, columns)) + 3).astype(np.float32)


def moments_of(*parts: np.ndarray) -> Moments:
    moments = Moments(parts[0].shape[1])
    for part in parts:
        moments.add(part)
    return moments


def test_components_equal_those_of_scikit_learn_up_to_sign() -> None:
    train = rows(500, 6, 0)
    pca = fit_pca(moments_of(train[:123], train[123:]))
    reference = PCA().fit(train.astype(np.float64))
    np.testing.assert_allclose(np.abs(pca.components.T), np.abs(reference.components_), atol=1e-6)
    np.testing.assert_allclose(pca.mean, reference.mean_, rtol=1e-6)


def test_signs_are_fixed() -> None:
    pca = fit_pca(moments_of(rows(100, 5, 1)))
    assert (pca.components[np.abs(pca.components).argmax(axis=0), np.arange(5)] > 0).all()


@pytest.mark.parametrize("size", [1, 3, 6])
def test_errors_from_moments_equal_reconstructing_every_row(size: int) -> None:
    pca = fit_pca(moments_of(rows(400, 6, 0)))
    test = rows(200, 6, 2).astype(np.float64)
    kept = pca.components[:, :size]
    rebuilt = (test - pca.mean) @ kept @ kept.T + pca.mean
    expected = ((test - rebuilt) ** 2).sum(axis=0)
    np.testing.assert_allclose(pca.squared_errors(moments_of(test), size), expected, rtol=1e-8, atol=1e-7)
    np.testing.assert_allclose(pca.transform(test, size), (test - pca.mean) @ kept, rtol=1e-5, atol=1e-5)


def test_total_squares_are_about_each_columns_mean() -> None:
    test = rows(200, 4, 3)
    expected = ((test - test.mean(axis=0, dtype=np.float64)) ** 2).sum(axis=0)
    np.testing.assert_allclose(moments_of(test).total_squares, expected, rtol=1e-9)


def test_readout_is_the_least_squares_one() -> None:
    random = np.random.default_rng(4)
    embedding, tracks = random.normal(size=(300, 3)).astype(np.float32), rows(300, 5, 5)
    readout = fit_readout(moments_of(joint_rows(embedding, tracks)), 3)
    design = np.c_[embedding, np.ones(300)].astype(np.float64)
    expected, *_ = np.linalg.lstsq(design, tracks.astype(np.float64), rcond=None)
    np.testing.assert_allclose(readout.weights, expected, rtol=1e-5, atol=1e-7)

    fresh, truth = random.normal(size=(80, 3)).astype(np.float32), rows(80, 5, 6)
    errors = ((np.c_[fresh, np.ones(80)] @ expected - truth) ** 2).sum(axis=0)
    np.testing.assert_allclose(readout.squared_errors(moments_of(joint_rows(fresh, truth))), errors, rtol=1e-6)


def test_readout_of_an_embedding_with_dependent_columns_is_finite() -> None:
    embedding = np.repeat(np.random.default_rng(7).normal(size=(100, 1)), 2, axis=1).astype(np.float32)
    readout = fit_readout(moments_of(joint_rows(embedding, embedding)), 2)
    assert np.abs(readout.weights).max() < 2


def test_no_training_bins_is_an_error() -> None:
    with pytest.raises(DataError, match="no bins with data"):
        fit_pca(Moments(3))
