"""Non-negative factors against scipy's and scikit-learn's."""

import numpy as np
import pytest
from scipy.optimize import nnls
from sklearn.decomposition import NMF

from epilstm.errors import DataError
from epilstm.representations import nmf
from epilstm.representations.nmf import Nmf, fit_nmf, offsets, training_sample
from epilstm.store.matrix import Matrix
from support.evaluate.tiny_evaluation import SPLIT, TinyEvaluation


def low_rank(n: int, tracks: int = 7, size: int = 3) -> np.ndarray:
    random = np.random.default_rng(2)
    return (random.gamma(1.0, size=(n, size)) @ random.gamma(0.5, size=(size, tracks))).astype(np.float32)


def test_weights_are_those_of_non_negative_least_squares() -> None:
    data = low_rank(80) + np.random.default_rng(3).random((80, 7)).astype(np.float32)
    offset = np.linspace(0.5, 1.5, 7, dtype=np.float32)
    factors = fit_nmf(data - offset, offset, 3, 0).factors
    expected = np.array([nnls(factors.T.astype(float), row.astype(float))[0] for row in data])
    found = Nmf(offset, factors).transform(data - offset)
    np.testing.assert_allclose(found, expected, atol=2e-4)
    assert found.min() >= 0


def test_the_factors_explain_as_much_as_those_of_scikit_learn() -> None:
    data = low_rank(200)
    reference = NMF(3, init="nndsvda", max_iter=300, random_state=0).fit(data)
    found = fit_nmf(data, np.zeros(7, np.float32), 3, 0)
    left = np.linalg.norm(data - found.transform(data) @ found.factors)
    assert left <= reference.reconstruction_err_ + 0.01 * np.linalg.norm(data)


def test_what_lies_below_zero_counts_as_zero() -> None:
    found = Nmf(np.ones(2, np.float32), np.eye(2, dtype=np.float32)).transform(np.array([[-3.0, 1.0]]))
    np.testing.assert_allclose(found, [[0, 2]], atol=1e-6)


def test_a_factor_without_any_signal_has_no_weight() -> None:
    found = Nmf(np.zeros(2, np.float32), np.array([[1, 0], [0, 0]], np.float32)).transform(np.ones((3, 2), np.float32))
    np.testing.assert_allclose(found, [[1, 0]] * 3, atol=1e-6)


def test_there_are_no_more_factors_than_tracks() -> None:
    assert fit_nmf(low_rank(50), np.zeros(7, np.float32), 30, 0).factors.shape == (7, 7)


def test_the_sample_is_of_training_bins_with_data_and_bounded(
    tiny: TinyEvaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix = Matrix(tiny.folder / "matrix")
    own = np.concatenate([tiny.values[chrom][tiny.mask[chrom]] for chrom in SPLIT.train]).astype(np.float32)
    np.testing.assert_array_equal(training_sample(matrix), own)
    monkeypatch.setattr(nmf, "SAMPLE_BINS", 100)
    some = training_sample(matrix)
    assert 80 <= len(some) <= 130
    assert {row.tobytes() for row in some} <= {row.tobytes() for row in own}
    np.testing.assert_array_equal(offsets(tiny.folder / "matrix", matrix.manifest), np.zeros(matrix.tracks))


def test_training_chromosomes_without_data_are_refused(tiny: TinyEvaluation, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = Matrix(tiny.folder / "matrix")
    monkeypatch.setattr(matrix, "mask", lambda block: np.zeros(block.bins, bool))
    with pytest.raises(DataError, match="no bins with data to factorise; check the split"):
        training_sample(matrix)
