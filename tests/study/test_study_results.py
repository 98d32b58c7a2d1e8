"""What a study shows: numbers over seeds, and differences to the first variant."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_study import scores

from epilstm.errors import DataError
from epilstm.evaluation import EvaluationResults
from epilstm.study.plan import Experiment
from epilstm.study.results import Result, Score, as_text, result_of, table, write_csv


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


def test_a_csv_that_cannot_be_written_is_told(tmp_path: Path) -> None:
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
