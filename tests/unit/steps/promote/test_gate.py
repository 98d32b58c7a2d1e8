"""The gate's rules."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from epilstm.params import PromoteParams
from epilstm.steps.promote.decision import Comparison, Contender
from epilstm.steps.promote.gate import Evidence, decide, decision_record
from epilstm.store.evaluation_results import Difference, Interval, Verdict
from support.nonempty import nonempty

PARAMS = PromoteParams()


def contender(name: str) -> Contender:
    return Contender(encoder_fingerprint=name, model_fingerprint="m", matrix_fingerprint="x")


def baseline(name: str, delta: float, verdict: Verdict = "is indistinguishable from") -> Difference:
    return Difference(baseline=name, delta=delta, ci=Interval(low=delta - 0.1, high=delta + 0.1), verdict=verdict)


def comparison(
    task: str, delta: float, verdict: Verdict = "is indistinguishable from", clusters: int = 20
) -> Comparison:
    return Comparison(
        task=task,
        challenger=0.5 + delta,
        champion=0.5,
        delta=delta,
        ci=Interval(low=delta - 0.05, high=delta + 0.05),
        clusters=clusters,
        verdict=verdict,
    )


GOOD = Evidence(
    challenger=contender("new"),
    champion=contender("old"),
    champion_state="comparable",
    champion_note="",
    r2={"model": 0.9, "pca": 0.8, "untrained": 0.7},
    baselines={"timing": [baseline("raw", -0.2, "is beaten by"), baseline("pca", 0.0), baseline("untrained", -0.01)]},
    comparisons=[comparison("timing", 0.02), comparison("fire", -0.01), comparison("mean", 0.005)],
    parity={"encoder.onnx": 1e-6},
    encoder_bytes=50_000,
    milliseconds=0.1,
    losses={"training loss": 0.3, "validation loss": 0.4},
    weights_moved=0.4,
    weights_not_finite=0,
    confidence=0.95,
    matrix_fingerprint="x",
    evaluation_fingerprint="e",
)


def failed(evidence: Evidence, **params: Any) -> list[tuple[str, str]]:
    decision = decide(evidence, PromoteParams(**params))
    found = [(check.rule, check.name) for check in decision.checks if not check.passed]
    assert (decision.decision == "hold") == bool(found)
    return found


def test_a_challenger_that_passes_everything_is_promoted_though_raw_tracks_beat_it():
    assert failed(GOOD) == []


@pytest.mark.parametrize("name", ["pca", "untrained"])
def test_a_reconstruction_no_better_than_a_baselines_holds(name):
    evidence = replace(GOOD, r2={**GOOD.r2, name: 0.9})
    assert failed(evidence) == [("a", f"held-out reconstruction over {name}")]


def test_an_undefined_reconstruction_holds():
    evidence = replace(GOOD, r2={**GOOD.r2, "model": None})
    assert [rule for rule, _ in failed(evidence)] == ["a", "a"]


def test_a_task_on_which_a_baseline_is_better_holds():
    evidence = replace(GOOD, baselines={"timing": [baseline("pca", -0.2, "is beaten by"), baseline("untrained", 0.1)]})
    assert failed(evidence) == [("a", "timing against pca")]


def test_a_baseline_that_the_evaluation_left_out_holds():
    evidence = replace(GOOD, baselines={"timing": [baseline("pca", 0.2), baseline("raw", 0.1)]})
    assert failed(evidence) == [("a", "timing against untrained")]


def test_what_evaluate_left_out_with_a_reason_is_not_judged_and_the_decision_says_so():
    evidence = replace(
        GOOD,
        r2={name: r2 for name, r2 in GOOD.r2.items() if name != "pca"},
        r2_left_out={"pca": "that is the raw tracks, turned"},
        baselines={"timing": [baseline("untrained", 0.1)]},
        left_out={"pca": "that is raw"},
    )
    assert failed(evidence) == []
    decision = decide(evidence, PromoteParams())
    assert decision.decision == "promote"
    unscored = {check.name: check.note for check in decision.checks if not check.judged}
    assert unscored == {
        "held-out reconstruction over pca": "that is the raw tracks, turned",
        "timing against pca": "that is raw",
    }
    assert "timing against pca (that is raw)" in decision.reasons[-1]


def test_a_cell_type_that_got_worse_beyond_the_limit_holds_and_is_named():
    within = comparison("timing", -0.05, "is beaten by").model_copy(update={"cell_type": "E116"})
    beyond = comparison("timing", -0.3, "is beaten by").model_copy(update={"cell_type": "E123"})
    evidence = replace(GOOD, comparisons=[comparison("timing", 0.02), within, beyond, comparison("mean", 0.02)])
    assert failed(evidence) == [("b", "timing in E123 against the champion")]
    [reason] = decide(evidence, PromoteParams()).reasons
    assert reason.startswith("b: timing in E123 against the champion: -0.3, needed not below -0.1")
    assert "| timing in E123 | 0.200 | 0.500 | -0.300 |" in decision_record(decide(evidence, PromoteParams()))


def test_a_fall_in_one_cell_type_that_may_be_chance_does_not_hold():
    noisy = comparison("timing", -0.3).model_copy(update={"cell_type": "E123"})
    few = comparison("timing", -0.3, "not judged", clusters=3).model_copy(update={"cell_type": "E116"})
    evidence = replace(GOOD, comparisons=[comparison("timing", 0.02), noisy, few, comparison("mean", 0.02)])
    assert failed(evidence) == []


def test_what_is_missing_without_a_reason_holds():
    evidence = replace(GOOD, r2={name: r2 for name, r2 in GOOD.r2.items() if name != "pca"})
    assert failed(evidence) == [("a", "held-out reconstruction over pca")]


def test_a_champion_with_which_no_task_was_compared_holds():
    assert failed(replace(GOOD, comparisons=[])) == [("b", "mean over tasks of classes against the champion")]


def test_a_task_that_falls_by_more_than_the_interval_allows_holds():
    evidence = replace(
        GOOD,
        comparisons=[comparison("timing", -0.06, "is beaten by"), comparison("fire", 0.3), comparison("mean", 0.1)],
    )
    assert failed(evidence) == [("b", "timing against the champion")]


def test_a_large_fall_holds_even_where_the_interval_includes_zero():
    evidence = replace(GOOD, comparisons=[comparison("timing", -0.2, clusters=3), comparison("mean", 0.1)])
    assert failed(evidence) == [("b", "timing against the champion")]
    assert failed(evidence, max_task_fall=0.3) == []


def test_too_few_regions_neither_pass_nor_fail_and_the_decision_says_so():
    few = {"verdict": "not judged", "reason": "fewer than 5 independent regions"}
    of_pca = baseline("pca", -0.4).model_copy(update=few)
    evidence = replace(
        GOOD,
        baselines={"timing": [of_pca, baseline("untrained", 0.1)]},
        comparisons=[comparison("timing", -0.05, clusters=4).model_copy(update=few), comparison("mean", 0.1)],
    )
    decision = decide(evidence, PARAMS)
    assert [check.name for check in decision.checks if not check.judged] == [
        "timing against pca",
        "timing against the champion",
    ]
    assert decision.decision == "promote"
    assert decision.reasons[0].startswith("no check failed; ")
    assert decision.reasons[1] == (
        "without a verdict, neither passed nor failed: timing against pca (fewer than 5 independent regions; interval "
        "-0.500 to -0.300); timing against the champion (fewer than 5 independent regions; interval -0.100 to +0.000)"
    )
    record = decision_record(decision)
    assert "| a | timing against pca | -0.4 | not below 0 | no verdict | fewer than 5 independent regions;" in record
    assert "| 4 | no verdict: fewer than 5 independent regions |" in record


@pytest.mark.parametrize("delta", [0.0, -0.001])
def test_a_mean_that_does_not_improve_holds(delta):
    evidence = replace(GOOD, comparisons=[comparison("timing", 0.01), comparison("mean", delta)])
    assert failed(evidence) == [("b", "mean over tasks against the champion")]


def test_without_a_champion_there_is_nothing_to_surpass():
    evidence = replace(GOOD, champion=None, champion_state="absent", comparisons=[])
    assert failed(evidence) == []
    assert "there is no champion yet" in decide(evidence, PARAMS).reasons[0]


def test_a_stale_champion_need_not_be_surpassed_but_no_task_may_fall():
    evidence = replace(GOOD, champion_state="stale", champion_note="other data")
    assert failed(replace(evidence, comparisons=[comparison("timing", -0.01), comparison("mean", -0.01)])) == []
    assert failed(replace(evidence, comparisons=[comparison("timing", -0.2, "is beaten by")])) != []
    assert failed(replace(evidence, comparisons=[])) == []


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"parity": {"encoder.onnx": 2e-4}}, "parity of encoder.onnx"),
        ({"parity": {"encoder.onnx": float("nan")}}, "parity of encoder.onnx"),
        ({"parity": {}}, "parity of encoder"),
        ({"encoder_bytes": 101_000_000}, "size (MB)"),
        ({"milliseconds": 51.0}, "latency (ms)"),
    ],
)
def test_an_encoder_beyond_its_budget_holds(change, name):
    assert failed(replace(GOOD, **change)) == [("c", name)]


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"losses": {"validation loss": float("inf")}}, "validation loss is finite"),
        ({"weights_not_finite": 1}, "weights that are not finite"),
        ({"weights_moved": 0.0}, "weights moved"),
        ({"weights_moved": float("nan")}, "weights moved"),
    ],
)
def test_a_training_that_went_wrong_holds(change, name):
    assert failed(replace(GOOD, **change)) == [("d", name)]


def test_force_promotes_and_keeps_the_reason_beside_what_the_checks_say():
    decision = decide(replace(GOOD, weights_moved=0.0), PromoteParams(force="the champion leaks"))
    assert (decision.decision, decision.verdict, decision.forced) == ("promote", "hold", "the champion leaks")
    assert decision.reasons[0] == "forced: the champion leaks"
    assert any(reason.startswith("d: weights moved") for reason in decision.reasons)


def test_a_blank_force_is_none():
    assert decide(replace(GOOD, weights_moved=0.0), PromoteParams(force="  ")).decision == "hold"


def test_the_record_shows_every_number_compared_either_way():
    for evidence in (GOOD, replace(GOOD, milliseconds=99.0)):
        decision = decide(evidence, PARAMS)
        record = decision_record(decision)
        assert record.startswith("# Promote\n" if evidence is GOOD else "# Hold\n")
        for check in nonempty(decision.checks):
            assert f"| {check.rule} | {check.name} | {check.value:.4g} |" in record
        for each in nonempty(decision.comparisons):
            assert f"| {each.task} | {each.challenger:.3f} | {each.champion:.3f} | {each.delta:+.3f} |" in record
