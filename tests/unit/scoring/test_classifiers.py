"""Every kind of classifier learns from what it may see, and its regressor does so for levels."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from epilstm.params import ClassifierParams
from epilstm.scoring.classifier import base_level, predict_held_out

RANDOM = np.random.default_rng(1)
FEATURES = RANDOM.normal(3, 2, (200, 4)).astype(np.float32)
LEVELS = FEATURES[:, 0] - 0.5 * FEATURES[:, 1] + RANDOM.normal(0, 0.3, 200)
LABELS = LEVELS - np.median(LEVELS) > 0
GROUPS = np.arange(200) // 20
TEST = GROUPS >= 7

KINDS = ["xgboost", "logistic", "random_forest"]


def predicted(kind: str, **change: np.ndarray) -> np.ndarray:
    given = {"features": FEATURES, "labels": LABELS, "test": TEST} | change
    params = ClassifierParams(kind=kind, trees=30)
    return predict_held_out(groups=GROUPS, params=params, seed=3, **given)


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_classes_and_levels_and_does_so_again(kind: str) -> None:
    chance = predicted(kind)
    assert ((chance > 0.5) == LABELS[TEST]).mean() > 0.85
    assert chance.min() >= 0
    assert chance.max() <= 1
    levels = predicted(kind, levels=LEVELS)
    assert spearmanr(levels, LEVELS[TEST]).statistic > 0.85
    np.testing.assert_array_equal(predicted(kind), chance)
    np.testing.assert_array_equal(predicted(kind, levels=LEVELS), levels)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("of_levels", [False, True])
def test_it_does_not_see_what_is_held_out(kind: str, of_levels: bool) -> None:
    given = {"levels": LEVELS} if of_levels else {}
    changed = {"levels": np.where(TEST, 99, LEVELS)} if of_levels else {}
    before = predicted(kind, **given)
    np.testing.assert_array_equal(predicted(kind, labels=LABELS ^ TEST, **changed), before)


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_from_the_training_examples_named_only(kind: str) -> None:
    train = GROUPS < 4
    noise = np.where((train | TEST)[:, None], FEATURES, 0)
    expected = predicted(kind, train=train)
    np.testing.assert_array_equal(predicted(kind, train=train, features=noise), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_shown_changes_what_is_scored_not_what_is_learnt(kind: str) -> None:
    rolled = np.roll(FEATURES[TEST], 1, axis=0)
    shown = FEATURES.copy()
    shown[TEST] = rolled
    np.testing.assert_array_equal(predicted(kind, shown=shown), np.roll(predicted(kind), 1))


@pytest.mark.parametrize("kind", KINDS)
def test_several_ways_of_showing_are_scored_as_each_alone(kind: str) -> None:
    ways = [FEATURES, FEATURES[::-1].copy(), np.zeros_like(FEATURES)]
    expected = np.stack([predicted(kind, shown=shown) for shown in ways])
    np.testing.assert_array_equal(predicted(kind, shown=np.stack(ways)), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_missing_values_and_columns_without_any_are_taken(kind: str) -> None:
    holes = np.c_[np.where(RANDOM.random(FEATURES.shape) < 0.1, np.nan, FEATURES), np.full(200, np.nan)]
    assert np.isfinite(predicted(kind, features=holes.astype(np.float32))).all()


def test_the_linear_ones_equal_scikit_learns_on_standardised_features() -> None:
    logistic = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)).fit(FEATURES[~TEST], LABELS[~TEST])
    np.testing.assert_allclose(predicted("logistic"), logistic.predict_proba(FEATURES[TEST])[:, 1], rtol=1e-3)
    ridge = make_pipeline(StandardScaler(), Ridge()).fit(FEATURES[~TEST], LEVELS[~TEST])
    np.testing.assert_allclose(
        predicted("logistic", levels=LEVELS), ridge.predict(FEATURES[TEST]), rtol=1e-3, atol=1e-4
    )


def test_the_baseline_of_levels_is_the_mean_outside_the_fold() -> None:
    np.testing.assert_allclose(base_level(LEVELS, TEST), np.full(TEST.sum(), LEVELS[~TEST].mean()), rtol=1e-6)
