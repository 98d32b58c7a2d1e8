"""Weighted average precision and its bootstrap."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from epilstm.scoring.bootstrap import cluster_draws, difference, in_batches, interval
from epilstm.scoring.metrics import mean_auroc, mean_average_precision, weighted_average_precision
from epilstm.scoring.sentences import verdicts
from epilstm.scoring.task_results import class_scores
from support.nonempty import nonempty


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 40), st.integers(1, 6))
def test_equals_scikit_learn_with_sample_weights_and_ties(seed: int, n: int, levels: int) -> None:
    random = np.random.default_rng(seed)
    labels = random.random(n) < 0.4
    labels[0] = True
    scores = random.integers(0, levels, n).astype(np.float32)
    weights = random.integers(0, 4, (5, n)).astype(np.float64)
    weights[:, 0] += 1
    expected = [average_precision_score(labels, scores, sample_weight=row) for row in weights]
    np.testing.assert_allclose(weighted_average_precision(labels, scores, weights), expected, rtol=1e-12)


def test_is_undefined_where_no_positive_has_weight() -> None:
    labels, scores = np.array([True, False]), np.array([0.9, 0.1])
    result = weighted_average_precision(labels, scores, np.array([[0.0, 1.0], [1.0, 1.0]]))
    assert np.isnan(result[0])
    assert result[1] == 1.0


def test_mean_over_folds_skips_folds_without_a_positive() -> None:
    labels = np.array([True, False, True, False, False])
    scores = np.array([0.2, 0.9, 0.7, 0.1, 0.5])
    fold = np.array([0, 0, 1, 1, 2])
    expected = np.mean([average_precision_score(labels[fold == f], scores[fold == f]) for f in (0, 1)])
    assert mean_average_precision(labels, scores, fold, np.ones((1, 5)))[0] == pytest.approx(expected)


def test_bootstrap_equals_repeating_the_drawn_clusters() -> None:
    random = np.random.default_rng(0)
    labels, scores = random.random(60) < 0.5, random.random(60)
    fold, cluster = random.integers(0, 3, 60), random.integers(0, 8, 60)
    draws = cluster_draws(8, 20, seed=3)
    resampled = in_batches(draws, cluster, partial(mean_average_precision, labels, scores, fold))
    for row, value in nonempty(zip(draws, resampled, strict=True)):
        times = row[cluster].astype(int)
        repeated = [np.repeat(each, times) for each in (labels, scores, fold)]
        per_fold = [
            average_precision_score(repeated[0][repeated[2] == f], repeated[1][repeated[2] == f])
            for f in range(3)
            if repeated[0][repeated[2] == f].any()
        ]
        assert value == pytest.approx(np.mean(per_fold))


def test_bootstrap_does_not_depend_on_how_many_resamples_are_handled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    labels, scores, fold = random.random(50) < 0.3, random.random(50), random.integers(0, 2, 50)
    cluster, measure = random.integers(0, 5, 50), partial(mean_average_precision, labels, scores, fold)
    draws = cluster_draws(5, 33, seed=1)
    at_once = in_batches(draws, cluster, measure)
    monkeypatch.setattr("epilstm.scoring.bootstrap.WEIGHTS_AT_ONCE", 100)
    np.testing.assert_array_equal(in_batches(draws, cluster, measure), at_once)


def test_draws_always_resample_as_many_clusters_as_there_are() -> None:
    assert (cluster_draws(7, 100, seed=0).sum(axis=1) == 7).all()


def test_interval_leaves_undefined_resamples_out() -> None:
    found = interval(np.array([np.nan, *np.linspace(0, 1, 101)]), 0.9)
    assert (found.low, found.high) == pytest.approx((0.05, 0.95))


@pytest.mark.parametrize(
    ("resampled", "verdict"),
    [([0.1, 0.2, 0.3], "beats"), ([-0.3, -0.1, -0.2], "is beaten by"), ([-0.1, 0.1, 0.2], "is indistinguishable from")],
)
def test_verdict_follows_from_whether_the_interval_excludes_zero(resampled: list[float], verdict: str) -> None:
    assert difference("raw", 0.1, np.array(resampled), 5, 0.95).verdict == verdict


@pytest.mark.parametrize(
    ("resampled", "clusters", "reason"),
    [
        ([0.357, 0.4, 0.443], 4, "fewer than 5 independent regions"),
        ([-0.3, -0.2], 1, "fewer than 5 independent regions"),
        ([0.2, 0.2, 0.2], 40, "the same in every resample"),
    ],
)
def test_few_clusters_or_resamples_that_do_not_vary_are_not_judged(
    resampled: list[float], clusters: int, reason: str
) -> None:
    found = difference("raw", 0.2, np.array(resampled), clusters, 0.95)
    assert (found.verdict, found.reason) == ("not judged", reason)
    assert found.said("the embedding", "it") == f"no verdict: {reason}"


def test_two_that_never_differ_are_indistinguishable() -> None:
    assert difference("raw", 0.0, np.zeros(3), 40, 0.95).verdict == "is indistinguishable from"


def test_a_sentence_names_what_is_not_judged_and_why() -> None:
    found = [difference(name, 0.4, np.array([0.357, 0.443]), 4, 0.95) for name in ("raw", "pca")]
    assert verdicts(found) == [
        "has no verdict against the raw tracks (+0.400) and PCA of the same size (+0.400): "
        "fewer than 5 independent regions"
    ]


def test_auroc_is_the_mean_over_folds_that_hold_both_classes() -> None:
    random = np.random.default_rng(4)
    labels, scores, fold = random.random(80) < 0.3, random.random(80).round(1), random.integers(0, 4, 80)
    labels[fold == 2] = False
    expected = np.mean([roc_auc_score(labels[fold == f], scores[fold == f]) for f in (0, 1, 3)])
    assert mean_auroc(labels, scores, fold) == pytest.approx(expected)


def test_auroc_of_a_constant_per_fold_is_one_half() -> None:
    labels, fold = np.array([True, False, False, True, True, False]), np.array([0, 0, 0, 1, 1, 1])
    assert mean_auroc(labels, np.where(fold == 0, 0.6, 0.3), fold) == 0.5


def test_auroc_is_undefined_where_no_fold_holds_both_classes() -> None:
    assert mean_auroc(np.array([True, False]), np.array([0.9, 0.1]), np.array([0, 1])) is None


def test_f1_and_accuracy_take_one_half_as_threshold() -> None:
    labels = np.array([True, True, False, False])
    scores = np.array([0.9, 0.4, 0.6, 0.1], dtype=np.float32)
    found = class_scores(labels, scores, np.zeros(4, int))
    assert [found[key] for key in ("f1", "accuracy", "auroc", "n", "positives")] == [0.5, 0.5, 0.75, 4, 2]
