"""Folds hold out whole groups; the classifier never sees what it is scored on."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epilstm.errors import LabelsError
from epilstm.params import ClassifierParams, EvaluateParams, FoldParams
from epilstm.scoring.classifier import base_rate, held_back, predict_held_out
from epilstm.scoring.folds import assign_folds
from epilstm.scoring.tasks import load_tasks
from epilstm.scoring.trials import prepare_trials
from epilstm.store.matrix import Matrix
from support.evaluate.shared_bins import check_no_shared_bins
from support.evaluate.tiny_evaluation import REGIONS, TinyEvaluation
from support.nonempty import nonempty


def params(by: str = "chromosome", count: int = 3) -> FoldParams:
    return FoldParams.model_validate({"by": by, "count": count})


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 9), st.sampled_from(["chromosome", "region"]))
def test_no_group_is_on_both_sides_and_every_example_is_tested_once(seed: int, groups: int, by: str) -> None:
    random = np.random.default_rng(seed)
    group = np.concatenate([np.arange(groups), random.integers(0, groups, 40)])
    labels = random.random(len(group)) < 0.4
    labels[:2], labels[2 : groups + 2] = True, False
    folds = assign_folds(labels, group, params(by), seed, "task")
    tested = np.zeros(len(labels), int)
    for _, test in nonempty(folds.splits()):
        assert not set(group[test]) & set(group[~test])
        assert (~test).any()
        tested += test
    assert (tested == 1).all()


def test_the_same_seed_gives_the_same_folds() -> None:
    labels, group = np.arange(60) % 3 == 0, np.arange(60) // 5
    once, again, other = (assign_folds(labels, group, params(), seed, "task").fold for seed in (1, 1, 2))
    np.testing.assert_array_equal(once, again)
    assert (once != other).any()


@pytest.mark.parametrize(("by", "interval"), [("chromosome", 1_000_000), ("region", 1_000_000), ("region", 8_000)])
def test_examples_that_share_a_bin_are_never_apart(
    tiny: TinyEvaluation, monkeypatch: pytest.MonkeyPatch, by: str, interval: int
) -> None:
    monkeypatch.setattr("epilstm.scoring.trials.FOLD_INTERVAL", interval)
    evaluate = EvaluateParams.model_validate({"folds": {"by": by, "count": 4}})
    tasks = load_tasks(tiny.folder / "tasks.yaml")
    trials, _ = prepare_trials(tasks, tiny.folder / "labels", Matrix(tiny.folder / "matrix"), evaluate)
    check_no_shared_bins(trials)
    assert (max(len(trial.group_names) for trial in trials) > len(REGIONS)) == (interval < 1_000_000)


def test_fewer_groups_than_folds_says_what_to_do() -> None:
    with pytest.raises(
        LabelsError, match=r"t: .* lie in 2 chromosomes, too few for 3 folds; set folds.count to 2, or hold out regions"
    ):
        assign_folds(np.arange(10) % 2 == 0, np.arange(10) // 5, params(), 0, "t")


def test_one_group_is_never_answered_with_a_count_of_folds_that_cannot_be() -> None:
    with pytest.raises(LabelsError, match=r"lie in 1 region, too few for 3 folds; give more labels or regions"):
        assign_folds(np.arange(10) % 2 == 0, np.zeros(10, int), params("region"), 0, "t")
    with pytest.raises(LabelsError, match=r"lie in 1 chromosome, too few for 3 folds; hold out regions \(folds.by"):
        assign_folds(np.arange(10) % 2 == 0, np.zeros(10, int), params(), 0, "t")


def test_one_class_only_is_refused() -> None:
    with pytest.raises(LabelsError, match="all 10 examples are negative"):
        assign_folds(np.zeros(10, bool), np.arange(10), params(), 0, "t")


def test_a_class_within_one_group_is_refused() -> None:
    with pytest.raises(LabelsError, match="all positives lie in one of the 5 chromosomes"):
        assign_folds(np.arange(10) < 2, np.arange(10) // 2, params(), 0, "t")


def test_random_folds_of_too_few_examples_are_refused() -> None:
    with pytest.raises(LabelsError, match="4 examples are too few for 3 folds"):
        assign_folds(np.arange(4) % 2 == 0, np.arange(4), params("random"), 0, "t")


def test_early_stopping_watches_whole_groups_with_both_classes() -> None:
    labels, group = np.arange(100) % 4 == 0, np.arange(100) // 10
    train = group != 3
    watched = held_back(labels, group, train, seed=0)
    assert not (watched & ~train).any()
    assert not set(group[watched]) & set(group[train & ~watched])
    assert 0.2 <= watched.sum() / train.sum() < 0.4
    for part in (watched, train & ~watched):
        assert set(labels[part].tolist()) == {True, False}


@pytest.mark.parametrize("rounds", [0, 5])
def test_classifier_learns_from_outside_the_fold_alone(rounds: int) -> None:
    random = np.random.default_rng(0)
    labels = random.random(200) < 0.5
    features = (labels[:, None] + random.normal(size=(200, 2)) * 0.2).astype(np.float32)
    group = np.arange(200) // 20
    test = group == 0
    classifier = ClassifierParams(trees=30, early_stopping_rounds=rounds)
    scores = predict_held_out(features, labels, group, test, classifier, seed=0)
    flipped = np.where(test, ~labels, labels)
    np.testing.assert_array_equal(predict_held_out(features, flipped, group, test, classifier, seed=0), scores)
    assert ((scores > 0.5) == labels[test]).mean() > 0.9


def test_majority_scores_every_example_with_the_base_rate_outside_the_fold() -> None:
    labels = np.array([True, True, False, False, True, False])
    test = np.array([True, True, False, False, False, False])
    np.testing.assert_array_equal(base_rate(labels, test), np.float32([0.25, 0.25]))


def test_a_training_part_of_one_class_gives_a_constant_score() -> None:
    labels, test = np.array([True, False, False]), np.array([True, False, False])
    scores = predict_held_out(np.zeros((3, 1), np.float32), labels, np.arange(3), test, ClassifierParams(), 0)
    assert scores.tolist() == [0.0]
