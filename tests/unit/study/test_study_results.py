"""What a study shows: numbers over seeds, and differences to the first variant."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from epilstm.errors import DataError, ParamsError
from epilstm.store.evaluation_results import Difference, EvaluationResults, Interval, Verdict
from epilstm.study.plan import Experiment
from epilstm.study.results import Result, Score, against_as_text, as_text, result_of, table, write_csv
from support.study.tiny_study import scores


def result(variant: str, seed: int, precision: float, r2: float | None = 0.5) -> Result:
    score = Score(precision, precision - 0.1, precision + 0.2)
    return Result(variant, seed, r2, None, {"fire": score}, {"level": Score(precision / 2, 0.0, 1.0)})


FIRST = [result("a", 1, 0.3), result("a", 2, 0.5), result("a", 3, 0.4)]
SECOND = [result("b", 2, 0.8), result("b", 3, 0.6, None), result("b", 4, 0.9)]


def test_a_number_is_the_mean_over_seeds_as_are_the_ends_of_its_interval() -> None:
    cell = table(FIRST + SECOND, ["a", "b"])["a"]["fire (AP)"]
    assert (cell.mean, cell.low, cell.high) == pytest.approx((0.4, 0.3, 0.6))
    assert (cell.difference, cell.spread) == (None, None)


def test_a_difference_is_taken_within_the_seeds_that_both_have() -> None:
    cell = table(FIRST + SECOND, ["a", "b"])["b"]["fire (AP)"]
    differences = np.array([0.8 - 0.5, 0.6 - 0.4])
    assert (cell.difference, cell.spread) == pytest.approx((differences.mean(), differences.std(ddof=1)))


def test_what_only_some_seeds_have_is_taken_of_those() -> None:
    cell = table(FIRST + SECOND, ["a", "b"])["b"]["test R2"]
    assert (cell.mean, cell.difference, cell.spread) == (0.5, 0.0, None)


def test_variants_that_did_not_run_are_left_out_and_the_others_have_no_difference_to_them() -> None:
    found = table(SECOND, ["a", "b"])
    assert list(found) == ["b"]
    assert found["b"]["fire (AP)"].difference is None


def test_the_table_reads_as_numbers_intervals_and_differences() -> None:
    assert as_text(table([FIRST[1], SECOND[0]], ["a", "b"])) == [
        ["variant", "test R2", "fire (AP)", "level (R2)"],
        ["a", "0.500", "0.500 [0.400, 0.700]", "0.250 [0.000, 1.000]"],
        ["b", "0.500 +0.000", "0.800 [0.700, 1.000] +0.300", "0.400 [0.000, 1.000] +0.150"],
    ]
    assert as_text({}) == [["variant"]]


def test_the_csv_has_a_row_per_experiment_and_task_with_classes(tmp_path: Path) -> None:
    write_csv(tmp_path / "new" / "study.csv", "layers", SECOND)
    found = pd.read_csv(tmp_path / "new" / "study.csv")
    assert list(found) == ["study", "variant", "seed", "task", "ap", "ap_low", "ap_high", "test_r2"]
    assert found["ap"].tolist() == [0.8, 0.6, 0.9]
    assert found["seed"].tolist() == [2, 3, 4]
    assert np.isnan(found["test_r2"][1])
    assert set(found["task"]) == {"fire"}


def test_a_csv_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        write_csv(tmp_path / "file" / "study.csv", "layers", SECOND)


def test_the_result_is_the_embedding_s() -> None:
    content = scores()
    content["reconstruction"]["models"]["model"]["r2"] = 0.9
    content["tasks"]["t"]["summary"] = {
        name: {"average_precision": precision, "average_precision_ci": {"low": 0.1, "high": 0.9}}
        for name, precision in (("embedding", 0.7), ("raw", 0.8))
    }
    experiment = Experiment("layers", "one", 3, "layers-one-3", ())
    assert result_of(experiment, EvaluationResults.model_validate(content)) == Result(
        "one", 3, 0.9, None, {"t": Score(0.7, 0.1, 0.9)}, {}
    )


def compared(variant: str, seed: int, delta: float, verdict: Verdict, names: Sequence[str] = ("raw",)) -> Result:
    found = Difference(baseline="", delta=delta, ci=Interval(low=delta - 0.1, high=delta + 0.3), verdict=verdict)
    score = {"fire": Score(0.5, 0.4, 0.6)}
    return Result(variant, seed, 0.5, None, score, {}, {name: {"fire (AP)": found} for name in names})


def test_differences_to_a_representation_are_means_over_seeds_marked_where_every_seed_agrees() -> None:
    noise: Verdict = "is indistinguishable from"
    results = [
        *(compared("a", seed, delta, "beats") for seed, delta in ((1, 0.2), (2, 0.5))),
        *(compared("b", seed, -0.4, "is beaten by") for seed in (1, 2)),
        *(compared("c", seed, 0.2, verdict) for seed, verdict in ((1, "beats"), (2, noise))),
        *(compared("d", seed, 0.0, verdict) for seed, verdict in ((1, "beats"), (2, "is beaten by"))),
        compared("e", 1, 0.2, "beats", names=["pca:12"]),
    ]
    mean = float(np.mean([0.2, 0.5]))
    assert against_as_text(results, ["b", "a", "c", "d", "e", "f"], "raw") == [
        ["embedding - raw", "fire (AP)"],
        ["b", "-0.400 [-0.500, -0.100] *"],
        ["a", f"{mean:+.3f} [{mean - 0.1:+.3f}, {mean + 0.3:+.3f}] *"],
        ["c", "+0.200 [+0.100, +0.500]"],
        ["d", "+0.000 [-0.100, +0.300]"],
    ]


def test_a_difference_over_too_few_regions_is_shown_as_not_judged() -> None:
    few = compared("a", 1, 0.4, "not judged")
    found = few.differences["raw"]["fire (AP)"].model_copy(update={"reason": "fewer than 5 independent regions"})
    few.differences["raw"]["fire (AP)"] = found
    assert against_as_text([few, compared("a", 2, 0.4, "beats")], ["a"], "raw")[1] == [
        "a",
        "+0.400 [+0.300, +0.700] (no verdict: fewer than 5 independent regions)",
    ]


@pytest.mark.parametrize("name", ["pcs", "embedding", "nmf"])
def test_what_nothing_was_compared_with_is_reported_with_what_there_is(name: str) -> None:
    results = [compared("a", 1, 0.1, "beats", names=["raw", "pca:12+context_code"])]
    with pytest.raises(ParamsError) as caught:
        against_as_text(results, ["a"], name)
    assert str(caught.value) == (
        f"--against {name}: no experiment shown has compared the embedding with it; there are raw, "
        "pca:12+context_code (evaluate.representations)"
    )


def test_differences_are_those_of_the_scores() -> None:
    content = scores()
    content["reconstruction"]["models"]["model"]["r2"] = 0.9
    summary = {"embedding": {"average_precision": 0.7, "average_precision_ci": {"low": 0.1, "high": 0.9}}}
    found = {"baseline": "pca:12", "delta": 0.2, "ci": {"low": 0.1, "high": 0.3}, "verdict": "beats"}
    content["tasks"]["t"] |= {"summary": summary, "differences": [found]}
    experiment = Experiment("layers", "one", 3, "layers-one-3", ())
    assert result_of(experiment, EvaluationResults.model_validate(content)).differences == {
        "pca:12": {"t (AP)": Difference.model_validate(found)}
    }


def test_where_tracks_were_imputed_the_network_s_error_is_shown() -> None:
    content = scores()
    content["reconstruction"]["models"]["model"]["r2"] = 0.9
    content["imputation"] = {
        **{"chromosomes": ["chr1"], "bins": 1, "of_bins": 1, "stretches": 1, "folds": [["x-y"]], "not_judged": []},
        **{"differences": [], "sentence": ""},
        "methods": {
            name: {"overall": {"mse_global": mse, "mse_1obs": 1, "mse_1imp": 1}, "assays": {}, "tracks": {}}
            for name, mse in (("pca", 0.3), ("model", 0.2))
        },
    }
    experiment = Experiment("imputation", "p40", 1, "imputation-p40-1", ())
    content["tasks"], content["task_order"] = {}, []
    found = result_of(experiment, EvaluationResults.model_validate(content))
    assert as_text(table([found], ["p40"])) == [["variant", "test R2", "imputation MSE"], ["p40", "0.900", "0.200"]]
