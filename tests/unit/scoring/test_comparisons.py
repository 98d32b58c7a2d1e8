"""Measures of a task by probe and number of labels: against plain loops."""

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, r2_score

from epilstm.params import EvaluateParams, validate
from epilstm.scoring.comparisons import compare_probes
from epilstm.scoring.folds import Folds
from epilstm.scoring.labels import Examples
from epilstm.scoring.probes import Probe, further_probes
from epilstm.scoring.tasks import Task
from epilstm.scoring.trials import Trial
from support.nonempty import nonempty

N, BLOCKS = 60, 12
RANDOM = np.random.default_rng(4)
CLUSTER = np.repeat(np.arange(BLOCKS), N // BLOCKS)
LEVELS = {cell: RANDOM.normal(size=N) + 2 * np.sin(CLUSTER) for cell in ("A", "B")}
PREDICTED = {cell: (levels + RANDOM.normal(size=N)).astype(np.float32) for cell, levels in LEVELS.items()}
PARAMS = EvaluateParams(bootstrap=200)


def trial(
    cell: str, levels: np.ndarray | None, labels: np.ndarray | None = None, order: np.ndarray | None = None
) -> Trial:
    order = np.arange(N) if order is None else order
    table = {"format": "rpkm", "path": "x", "annotation": "y", "target": "class" if levels is None else "level"}
    described = {"name": "t", "kind": "region", "windows": ["tss"], "labels": table, "cell_types": ["A", "B"]}
    task = Task.model_construct(**{**described, "labels": SimpleNamespace(**table)})
    examples = Examples(
        [f"g{number}" for number in order],
        np.full((N, 1), "chr1"),
        np.zeros((N, 1), np.int64),
        np.ones((N, 1), np.int64),
        np.asarray(LEVELS[cell] > 0 if labels is None else labels)[order],
        levels=None if levels is None else levels[order],
    )
    folds = Folds((np.arange(N) % 3).astype(np.int16), np.arange(N) % 3)
    return Trial(task, cell, examples, np.zeros((N, 1), np.intp), CLUSTER[order], BLOCKS, folds, ["a", "b", "c"], 0)


@pytest.fixture(autouse=True)
def _levels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Task, "of_levels", property(lambda task: task.labels.target == "level"))


def test_levels_are_scored_in_all_within_blocks_and_by_cell_type() -> None:
    trials = [trial(cell, LEVELS[cell]) for cell in LEVELS]
    held_out = [{"embedding": PREDICTED[cell], "raw": np.zeros(N, np.float32)} for cell in LEVELS]
    found = {each.measure: each for each in compare_probes(trials, {Probe("logistic"): held_out}, PARAMS)}
    values = {name: each.representations["embedding"].value for name, each in found.items()}
    assert values["R2"] == pytest.approx(np.mean([r2_score(LEVELS[c], PREDICTED[c]) for c in LEVELS]), abs=1e-6)

    within, shares = [], []
    for cell in LEVELS:
        errors = total = 0.0
        for block in range(BLOCKS):
            own = block == CLUSTER
            true, guess = LEVELS[cell][own], PREDICTED[cell][own].astype(float)
            errors += (((true - true.mean()) - (guess - guess.mean())) ** 2).sum()
            total += ((true - true.mean()) ** 2).sum()
        within.append(1 - errors / total)
        shares.append(1 - total / ((LEVELS[cell] - LEVELS[cell].mean()) ** 2).sum())
    assert values["R2 within blocks"] == pytest.approx(np.mean(within), abs=1e-6)
    assert found["R2 within blocks"].between_blocks == pytest.approx(np.mean(shares))

    true = np.stack([LEVELS[cell] for cell in LEVELS])
    guess = np.stack([PREDICTED[cell] for cell in LEVELS]).astype(float)
    deviations = r2_score((true - true.mean(axis=0)).ravel(), (guess - guess.mean(axis=0)).ravel())
    by_cell = "R2 of the deviation from the mean over cell types"
    assert values[by_cell] == pytest.approx(deviations, abs=1e-6)
    assert found[by_cell].representations["raw"].value == pytest.approx(0)
    assert found["R2"].differences[0].baseline == "raw"
    assert found["R2"].differences[0].verdict == "beats"


def test_deviations_pair_examples_by_name_whatever_their_order() -> None:
    order = np.random.default_rng(1).permutation(N)
    same = [trial(cell, LEVELS[cell]) for cell in LEVELS]
    mixed = [same[0], trial("B", LEVELS["B"], order=order)]
    scores = [{"embedding": PREDICTED["A"]}, {"embedding": PREDICTED["B"]}]
    shuffled = [scores[0], {"embedding": PREDICTED["B"][order]}]
    one, other = (
        next(each for each in compare_probes(trials, {Probe("xgboost"): own}, PARAMS) if "deviation" in each.measure)
        for trials, own in ((same, scores), (mixed, shuffled))
    )
    assert one.representations["embedding"].value == pytest.approx(other.representations["embedding"].value)


def test_intervals_are_those_of_whole_blocks_drawn_again() -> None:
    """The same resamples in plain loops: blocks drawn with replacement, with all their examples."""
    from epilstm.scoring.bootstrap import cluster_draws

    trials = [trial("A", LEVELS["A"])]
    [found] = [
        each
        for each in compare_probes(trials, {Probe("xgboost"): [{"embedding": PREDICTED["A"]}]}, PARAMS)
        if each.measure == "R2 within blocks"
    ]
    values = []
    for counts in cluster_draws(BLOCKS, PARAMS.bootstrap, PARAMS.seed):
        errors = total = 0.0
        for block, times in enumerate(counts):
            own = block == CLUSTER
            true, guess = LEVELS["A"][own], PREDICTED["A"][own].astype(float)
            errors += times * (((true - true.mean()) - (guess - guess.mean())) ** 2).sum()
            total += times * ((true - true.mean()) ** 2).sum()
        values.append(1 - errors / total)
    ci = found.representations["embedding"].ci
    np.testing.assert_allclose([ci.low, ci.high], np.quantile(values, [0.025, 0.975]), atol=1e-6)


def test_scores_of_a_label_budget_are_means_over_its_draws() -> None:
    labels = RANDOM.random(N) < 0.4
    trials = [trial("A", None, labels)]
    draws = [RANDOM.random(N).astype(np.float32) for _ in range(3)]
    predicted = {Probe("logistic", 10, number): [{"embedding": each}] for number, each in enumerate(draws)}
    [found] = compare_probes(trials, predicted, PARAMS)
    assert (found.probe, found.labels, found.draws) == ("logistic", 10, 3)
    fold = trials[0].folds.fold
    per_draw = [
        np.mean([average_precision_score(labels[fold == f], each[fold == f]) for f in range(3)]) for each in draws
    ]
    score = found.representations["embedding"]
    assert score.value == pytest.approx(np.mean(per_draw))
    # The interval is at least as wide as the draws differ.
    assert score.ci.low <= min(per_draw)
    assert score.ci.high >= max(per_draw)


def test_a_budget_learns_from_so_many_labels_outside_the_fold_with_both_classes() -> None:
    rare = np.zeros(N, bool)
    rare[[4, 50]] = True
    of_classes = trial("A", None, rare)
    test = of_classes.folds.fold == 0
    chosen = [Probe("logistic", 5, draw).learnt_from(of_classes, test, 1, 0) for draw in range(4)]
    for each in nonempty(chosen):
        assert each.sum() == 5
        assert not (each & test).any()
        assert rare[each].any()
        assert not rare[each].all()
    assert len({each.tobytes() for each in chosen}) > 1
    again = Probe("xgboost", 5, 2).learnt_from(of_classes, test, 1, 0)
    np.testing.assert_array_equal(again, chosen[2])
    np.testing.assert_array_equal(Probe("logistic", 1_000, 0).learnt_from(of_classes, test, 1, 0), ~test)


def test_probes_are_the_kinds_by_the_budgets_by_the_draws() -> None:
    asked = {"classifier": {"kind": ["logistic", "xgboost"]}, "label_budgets": [100], "label_draws": 2}
    params = validate(EvaluateParams, asked, "evaluate")
    assert params.classifier.kinds[0] == "logistic"
    assert further_probes(params) == [
        Probe("xgboost"), Probe("logistic", 100, 0), Probe("logistic", 100, 1), Probe("xgboost", 100, 0),
        Probe("xgboost", 100, 1),
    ]  # fmt: skip
    assert further_probes(EvaluateParams()) == []
