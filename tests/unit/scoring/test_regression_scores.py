"""Scores of levels against scikit-learn's and scipy's."""

import numpy as np
import pytest
from scipy.stats import rankdata, spearmanr
from sklearn.metrics import r2_score

from epilstm.scoring.metrics import mean_spearman, weighted_r2, weighted_ranks, weighted_spearman

RANDOM = np.random.default_rng(8)
LEVELS = np.round(RANDOM.normal(5, 2, 60), 1)
PREDICTED = np.round(LEVELS + RANDOM.normal(0, 2, 60), 1).astype(np.float32)
WEIGHTS = RANDOM.integers(0, 4, (7, 60)).astype(np.float32)


def repeated(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    times = weights.astype(int)
    return np.repeat(LEVELS, times), np.repeat(PREDICTED, times)


def test_r2_equals_scikit_learn_on_repeated_examples() -> None:
    expected = [r2_score(*repeated(weights)) for weights in WEIGHTS]
    np.testing.assert_allclose(weighted_r2(LEVELS, PREDICTED, WEIGHTS), expected, rtol=1e-6)


def test_r2_of_levels_that_do_not_vary_is_undefined() -> None:
    assert np.isnan(weighted_r2(np.full(3, 0.1), np.arange(3.0), np.ones((1, 3))))
    assert np.isnan(weighted_r2(np.array([1.0, 2.0]), np.zeros(2), np.array([[5.0, 0.0]])))


def test_ranks_share_ties_as_scipy_does() -> None:
    np.testing.assert_allclose(weighted_ranks(PREDICTED, np.ones((1, 60)))[0], rankdata(PREDICTED))


def test_spearman_equals_scipy_on_repeated_examples() -> None:
    expected = [spearmanr(*repeated(weights)).statistic for weights in WEIGHTS]
    np.testing.assert_allclose(weighted_spearman(LEVELS, PREDICTED, WEIGHTS), expected, rtol=1e-9)


def test_predictions_that_do_not_vary_rank_nothing_and_levels_that_do_not_are_left_out() -> None:
    once = np.ones((1, 3))
    assert weighted_spearman(np.arange(3.0), np.full(3, 0.3), once) == 0
    assert np.isnan(weighted_spearman(np.full(3, 0.3), np.arange(3.0), once))


def test_the_correlation_is_that_within_folds() -> None:
    fold = np.arange(60) % 3
    fold[:7] = 0
    shifted = PREDICTED + 100 * fold
    sizes = [(fold == f).sum() for f in range(3)]
    each = [spearmanr(LEVELS[fold == f], PREDICTED[fold == f]).statistic for f in range(3)]
    expected = np.average(each, weights=sizes)
    assert mean_spearman(LEVELS, shifted, fold, np.ones((1, 60)))[0] == pytest.approx(expected)
