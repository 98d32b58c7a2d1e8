"""Scores on the test or validation chromosomes alone, with probes that learn from all other folds."""

import shutil
from pathlib import Path

import numpy as np
import pandas
import pytest
from sklearn.metrics import average_precision_score

from epilstm.errors import ParamsError
from epilstm.params import EvaluateParams, validate
from epilstm.store.evaluation_results import EvaluationResults, read_results
from support.evaluate.evaluation_runs import chosen_tasks, evaluate
from support.evaluate.tiny_evaluation import SPLIT, TinyEvaluation

PARAMS = {"representations": ["embedding", "raw", "majority"], "pooling": ["mean"]}
KEY = ["task", "cell_type", "representation", "example", "start"]


@pytest.fixture(scope="module")
def folders(tiny: TinyEvaluation, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    found = {}
    for scored in ("all", "test"):
        found[scored] = tmp_path_factory.mktemp(scored)
        tasks = chosen_tasks(found[scored], "expression", "level")
        evaluate(tiny, found[scored], PARAMS | {"score_on": scored}, tasks=tasks)
    return found


@pytest.fixture(scope="module")
def predictions(folders: dict[str, Path]) -> dict[str, pandas.DataFrame]:
    return {name: pandas.read_parquet(each / "evaluation" / "predictions.parquet") for name, each in folders.items()}


@pytest.fixture(scope="module")
def results(folders: dict[str, Path]) -> EvaluationResults:
    return read_results(folders["test"] / "evaluation")


def test_only_examples_on_the_test_chromosomes_are_scored(predictions: dict[str, pandas.DataFrame]) -> None:
    assert set(predictions["test"]["group"]) == set(SPLIT.test)
    on_test = predictions["all"][predictions["all"]["group"].isin(SPLIT.test)]
    assert len(predictions["test"]) == len(on_test) > 0


def test_their_predictions_are_those_of_an_evaluation_of_all(predictions: dict[str, pandas.DataFrame]) -> None:
    of_all = predictions["all"].set_index(KEY)["score"]
    of_test = predictions["test"].set_index(KEY)["score"]
    np.testing.assert_array_equal(of_test, of_all.loc[of_test.index])


def test_the_average_precision_is_of_these_examples(
    results: EvaluationResults, predictions: dict[str, pandas.DataFrame]
) -> None:
    for cell in ("A", "B"):
        own = predictions["test"].query(f"task == 'expression' and cell_type == '{cell}' and representation == 'raw'")
        expected = average_precision_score(own["label"], own["score"])
        found = results.tasks["expression"].cell_types[cell].representations["raw"].average_precision
        assert found == pytest.approx(expected)


def test_blocks_without_scored_examples_are_not_resampled(results: EvaluationResults) -> None:
    level = next(each for each in results.comparisons if each.task == "level" and each.measure == "R2")
    assert level.clusters == results.regression["level"].cell_types["A"].clusters
    assert level.n == sum(cell.n for cell in results.regression["level"].cell_types.values())


def test_validation_chromosomes_are_scored_on_request(tiny: TinyEvaluation, tmp_path: Path) -> None:
    tasks = chosen_tasks(tmp_path, "expression", "level")
    evaluate(tiny, tmp_path, PARAMS | {"score_on": "validation"}, tasks=tasks)
    scored = pandas.read_parquet(tmp_path / "evaluation" / "predictions.parquet")
    assert set(scored["group"]) == set(SPLIT.validation)


def test_a_task_without_both_classes_there_is_left_out(tiny: TinyEvaluation, tmp_path: Path) -> None:
    labels = tmp_path / "labels"
    shutil.copytree(tiny.inputs["labels"], labels)
    rows = [
        f"{chrom}\t{start}\t{start + 1000}\t{int(chrom != 'chr5' and number % 2)}"
        for chrom in ("chr1", "chr2", "chr3", "chr4", "chr5")
        for number, start in enumerate(range(10_000, 30_000, 2_000))
    ]
    (labels / "fire.bed").write_text("\n".join(rows) + "\n")
    tasks = chosen_tasks(tmp_path, "fire", "level")
    evaluate(tiny, tmp_path, PARAMS | {"score_on": "test"}, tasks=tasks, labels=labels)
    found = read_results(tmp_path / "evaluation")
    assert (list(found.tasks), list(found.regression)) == ([], ["level"])
    (reason,) = found.left_out_tasks.values()
    assert "all 10 examples are negative on the test chromosomes (chr5), which evaluate.score_on asks for" in reason


def test_analyses_of_all_examples_are_refused_beside_it() -> None:
    with pytest.raises(ParamsError, match="score_on: leak and cross_cell_type score all examples; set score_on to all"):
        validate(EvaluateParams, {"score_on": "test", "leak": True}, "params.yaml")
