"""The evaluate step end to end on a tiny epigenome."""

import json
from pathlib import Path

import numpy as np
import pandas
import pytest
import yaml
from sklearn.metrics import average_precision_score, roc_auc_score

from epilstm.console import log
from epilstm.errors import DataError, EpilstmError, LabelsError, ParamsError
from epilstm.files.outputs import fingerprint, sha256_file
from epilstm.runtime.runner import run_step
from epilstm.runtime.step_table import STEPS
from epilstm.store.evaluation_results import (
    BASELINES,
    PREDICTION_COLUMNS,
    REPRESENTATIONS,
    EvaluationManifest,
    EvaluationResults,
    read_results,
)
from epilstm.store.manifests import read_manifest
from support.evaluate.evaluation_runs import PARAMS, changed, evaluate
from support.evaluate.tiny_evaluation import EMBEDDING_SIZE, TASKS, TRACKS, TinyEvaluation, write_model
from support.nonempty import nonempty
from support.paths import PROJECT


@pytest.fixture(scope="module")
def done(tiny: TinyEvaluation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("done")
    evaluate(tiny, out, {})
    return out


@pytest.fixture(scope="module")
def results(done: Path) -> EvaluationResults:
    return read_results(done / "evaluation")


@pytest.fixture(scope="module")
def predictions(done: Path) -> pandas.DataFrame:
    return pandas.read_parquet(done / "evaluation" / "predictions.parquet")


def test_every_task_cell_type_and_representation_is_scored(results: EvaluationResults) -> None:
    assert {name: list(task.cell_types) for name, task in results.tasks.items()} == {
        "expression": ["A", "B"],
        "contacts": ["A"],
        "fire": ["A"],
        "timing": ["B"],
    }
    for task in nonempty(results.tasks.values()):
        assert [each.baseline for each in task.differences] == list(BASELINES)
        for cell in nonempty(task.cell_types.values()):
            assert sorted(cell.representations) == sorted(REPRESENTATIONS)


def test_scores_follow_from_the_predictions(results: EvaluationResults, predictions: pandas.DataFrame) -> None:
    assert list(predictions.columns) == list(PREDICTION_COLUMNS)
    for (task, cell, name), rows in nonempty(predictions.groupby(["task", "cell_type", "representation"])):
        scores = results.tasks[task].cell_types[cell].representations[name]
        per_fold = [average_precision_score(f.label, f.score) for _, f in rows.groupby("fold") if f.label.any()]
        assert scores.average_precision == pytest.approx(np.mean(per_fold))
        assert scores.average_precision_pooled == pytest.approx(average_precision_score(rows.label, rows.score))
        both = [roc_auc_score(f.label, f.score) for _, f in rows.groupby("fold") if f.label.nunique() == 2]
        assert scores.auroc == pytest.approx(np.mean(both))
        assert (scores.n, scores.positives) == (len(rows), rows.label.sum())


def test_the_majority_class_ranks_nothing(results: EvaluationResults) -> None:
    for task in nonempty(results.tasks.values()):
        for cell in nonempty(task.cell_types.values()):
            assert cell.representations["majority"].auroc == 0.5


def test_all_representations_are_scored_on_the_same_folds(predictions: pandas.DataFrame) -> None:
    keys = ["task", "cell_type", "example", "fold", "group", "label"]
    counts = predictions.groupby(keys).representation.nunique()
    assert (counts == len(REPRESENTATIONS)).all()
    assert (predictions.groupby(["task", "cell_type", "example"]).fold.nunique() == 1).all()
    assert (predictions.groupby(["task", "cell_type", "group"]).fold.nunique() == 1).all()
    assert (predictions.group == predictions.chrom).all()


def test_an_embedding_that_knows_the_truth_beats_chance_and_one_that_predicts_noise_does_not(
    results: EvaluationResults,
) -> None:
    verdicts = {
        name: {each.baseline: each.verdict for each in task.cell_types[cell].differences}
        for name, task in results.tasks.items()
        for cell in ("A" if "A" in task.cell_types else "B",)
    }
    assert verdicts["fire"]["majority"] == "beats"
    assert verdicts["timing"]["majority"] == "beats"
    noise = results.tasks["expression"].cell_types["B"]
    assert abs(noise.representations["embedding"].auroc - 0.5) < 0.15


def test_the_sentence_says_what_the_embedding_does_not_beat(results: EvaluationResults) -> None:
    for task in nonempty(results.tasks.values()):
        for each in nonempty(task.differences):
            spoken = {"raw": "the raw tracks", "pca": "PCA", "untrained": "an untrained", "majority": "the majority"}
            spoken["nmf"] = "non-negative factors"
            after = task.sentence.split(each.verdict, 1)[1]
            assert spoken[each.baseline] in after


def test_the_sentence_warns_of_intervals_from_few_intervals_of_genome(results: EvaluationResults) -> None:
    assert results.tasks["fire"].cell_types["A"].clusters == 5
    assert "With so few independent regions" in results.tasks["fire"].sentence


def test_labels_outside_the_covered_regions_are_counted(results: EvaluationResults) -> None:
    fire = results.tasks["fire"].cell_types["A"]
    # The last 5 kb of each of the five chromosomes are not covered: two whole 2-kb regions and one in part.
    assert fire.n_outside == 15
    assert fire.n == sum(size // 2_000 for size in (80_000, 70_000, 60_000, 60_000, 50_000)) - 15


def test_metrics_are_nested_by_task_cell_type_and_representation(done: Path, results: EvaluationResults) -> None:
    metrics = json.loads((done / "metrics.json").read_text())
    found = metrics["tasks"]["expression"]["A"]["pca"]
    scores = results.tasks["expression"].cell_types["A"].representations["pca"]
    assert found["average_precision"] == scores.average_precision
    assert (found["ci_low"], found["ci_high"]) == (scores.average_precision_ci.low, scores.average_precision_ci.high)
    assert metrics["reconstruction"]["model"]["r2"] == results.reconstruction.models["model"].r2


def test_the_manifest_names_what_the_folder_holds_and_follows_from(tiny: TinyEvaluation, done: Path) -> None:
    manifest = read_manifest(done / "evaluation", EvaluationManifest)
    assert manifest.scores_sha256 == sha256_file(done / "evaluation" / "scores.json")
    assert manifest.predictions_sha256 == sha256_file(done / "evaluation" / "predictions.parquet")
    assert sorted(manifest.labels_sha256) == ["fire.bed", "genes.gtf.gz", "pairs.csv", "rpkm.tsv", "timing.bedgraph"]
    assert manifest.labels_sha256["fire.bed"] == sha256_file(tiny.folder / "labels" / "fire.bed")


def test_the_same_inputs_give_the_same_bytes_on_any_number_of_threads(
    tiny: TinyEvaluation, done: Path, tmp_path: Path
) -> None:
    evaluate(tiny, tmp_path, {"threads": 3})
    for name in ("scores.json", "predictions.parquet", "manifest.json"):
        assert (tmp_path / "evaluation" / name).read_bytes() == (done / "evaluation" / name).read_bytes()


def test_random_folds_are_labelled_leaky(tiny: TinyEvaluation, tmp_path: Path) -> None:
    evaluate(tiny, tmp_path, {"folds": {"by": "random", "count": 3}, "pooling": ["mean", "max", "std"]})
    results = read_results(tmp_path / "evaluation")
    assert results.folds.leaky
    assert results.pooling == ["mean", "max", "std"]
    assert all("neighbours on both sides" in task.sentence for task in nonempty(results.tasks.values()))


def only_fire(tiny: TinyEvaluation, folder: Path, bed: str) -> dict[str, Path]:
    """Inputs with one task on labels of one's own."""
    labels = folder / "labels"
    labels.mkdir()
    (labels / "fire.bed").write_text(bed)
    task = next(task for task in yaml.safe_load(TASKS)["tasks"] if task["name"] == "fire")
    (folder / "tasks.yaml").write_text(yaml.safe_dump({"tasks": [task]}))
    return {"tasks": folder / "tasks.yaml", "labels": labels}


@pytest.mark.parametrize(
    ("bed", "message"),
    [
        (
            "chr7\t0\t100\t1\nchr1\t79000\t79500\t0\n",
            r"task fire, A: none of the 2 labelled examples \(the first at chr7:0",
        ),
        (
            "1\t0\t500\t1\n2\t0\t500\t0\n",
            r"A, fire.bed: none of its chromosomes \(1, 2\) is in the data set \(chr1, chr2, .*'1' is called 'chr1'",
        ),
        ("", "task fire, A: no labelled examples in fire.bed"),
        ("".join(f"chr{c}\t0\t500\t1\n" for c in range(1, 6)), "task fire, A: all 5 examples are positive"),
        ("chr1\t0\t500\t1\nchr2\t0\t500\t0\n", "in 2 chromosomes, too few for 4 folds"),
    ],
)
def test_unusable_labels_are_one_clear_error_and_leave_nothing_behind(
    tiny: TinyEvaluation, tmp_path: Path, bed: str, message: str
) -> None:
    inputs = only_fire(tiny, tmp_path, bed)
    with pytest.raises(LabelsError, match=message):
        evaluate(tiny, tmp_path / "out", {}, **inputs)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"params.yaml"}


def test_with_four_independent_regions_nothing_has_a_verdict(tiny: TinyEvaluation, tmp_path: Path) -> None:
    bed = (tiny.folder / "labels" / "fire.bed").read_text()
    inputs = only_fire(tiny, tmp_path, "".join(line for line in bed.splitlines(True) if not line.startswith("chr5")))
    evaluate(tiny, tmp_path / "out", {}, **inputs)
    fire = read_results(tmp_path / "out" / "evaluation").tasks["fire"]
    assert fire.cell_types["A"].clusters == 4
    assert {each.verdict for each in fire.differences} == {"not judged"}
    assert {each.verdict for each in fire.cell_types["A"].differences} == {"not judged"}
    assert "the embedding has no verdict against the raw tracks (" in fire.sentence
    assert "): fewer than 5 independent regions." in fire.sentence
    assert "indistinguishable" not in fire.sentence
    assert "within noise" not in fire.sentence


def refused(tiny: TinyEvaluation, out: Path, **inputs: Path) -> str:
    with pytest.raises(DataError) as caught:
        evaluate(tiny, out, {}, **inputs)
    assert not (out / "evaluation").exists()
    return str(caught.value)


def test_a_model_of_other_bins_is_refused(tiny: TinyEvaluation, tmp_path: Path) -> None:
    foreign = changed(tiny.folder / "model", tmp_path / "model", "bin_size", 50)
    message = refused(tiny, tmp_path / "out", model=foreign)
    assert f"{foreign}: the model does not take the matrix {tiny.folder / 'matrix'}: bins are 25 bp" in message
    assert "epilstm preprocess --encoder" in message


def test_embeddings_by_another_model_are_refused(tiny: TinyEvaluation, tmp_path: Path) -> None:
    other = changed(tiny.folder / "model", tmp_path / "model", "seed", 99)
    message = refused(tiny, tmp_path / "out", model=other)
    assert f"{tiny.folder / 'embeddings'}: these embeddings were made by another model than {other}" in message
    assert message.endswith("run export and embed again")


def test_embeddings_of_another_matrix_are_refused(tiny: TinyEvaluation, tmp_path: Path) -> None:
    foreign = changed(tiny.folder / "embeddings", tmp_path / "embeddings", "matrix_fingerprint", "0" * 64)
    message = refused(tiny, tmp_path / "out", embeddings=foreign)
    assert f"{foreign}: these embeddings were made from another matrix than {tiny.folder / 'matrix'}" in message
    assert message.endswith("run embed again")


def test_embeddings_given_as_the_matrix_are_refused(tiny: TinyEvaluation, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a MatrixManifest"):
        evaluate(tiny, tmp_path, {}, matrix=tiny.folder / "embeddings", embeddings=tiny.folder / "model")


def test_a_missing_label_file_is_named(tiny: TinyEvaluation, tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    with pytest.raises(EpilstmError, match=r"rpkm.tsv: no such label file"):
        evaluate(tiny, tmp_path, {}, labels=tmp_path / "labels")


def test_reconstruction_is_compared_with_as_many_numbers_as_the_decoder_reads_tasks_with_all(
    tiny: TinyEvaluation, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    write_model(model, fingerprint(tiny.folder / "matrix"), context_size=1)
    embeddings = changed(tiny.folder / "embeddings", tmp_path / "emb", "model_fingerprint", fingerprint(model))
    inputs = only_fire(tiny, tmp_path, (tiny.folder / "labels" / "fire.bed").read_text())
    evaluate(tiny, tmp_path / "out", {"bootstrap": 10}, model=model, embeddings=embeddings, **inputs)
    found = read_results(tmp_path / "out" / "evaluation")
    assert found.reconstruction.size == EMBEDDING_SIZE - 1
    points = {point.size: point.r2 for point in found.reconstruction.pca_curve}
    assert found.reconstruction.models["pca"].r2 == pytest.approx(points[EMBEDDING_SIZE - 1])
    assert points[EMBEDDING_SIZE - 1] < points[EMBEDDING_SIZE]
    assert found.representation_sizes == dict.fromkeys(found.representation_sizes, EMBEDDING_SIZE) | {
        "raw": len(TRACKS)
    }
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["reconstruction_size"] == EMBEDDING_SIZE - 1


def without_tasks(tiny: TinyEvaluation, out: Path, params: dict, **more: Path) -> Path:
    """Run evaluate without tasks; the evaluation folder."""
    out.mkdir(exist_ok=True)
    (out / "params.yaml").write_text(yaml.safe_dump({"evaluate": PARAMS | params}))
    paths = {name: path for name, path in tiny.inputs.items() if name not in ("tasks", "labels")} | more
    outputs = {"evaluation": out / "evaluation", "metrics": out / "metrics.json"}
    run_step(STEPS["evaluate"], out / "params.yaml", paths | outputs, frozenset())
    return out / "evaluation"


def test_without_tasks_the_reconstruction_is_evaluated_alike(
    tiny: TinyEvaluation,
    results: EvaluationResults,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(log, "propagate", True)
    folder = without_tasks(tiny, tmp_path, {"leak": True})
    alone = read_results(folder)
    assert alone.reconstruction.models == results.reconstruction.models
    assert (alone.tasks, alone.regression, alone.representation_order) == ({}, {}, ["embedding"])
    assert read_manifest(folder, EvaluationManifest).tasks_sha256 is None
    assert len(pandas.read_parquet(folder / "predictions.parquet")) == 0
    assert json.loads((tmp_path / "metrics.json").read_text())["tasks"] == {}
    assert "evaluate.leak: left out, needs tasks; give --tasks and --labels" in caplog.text


def test_a_tasks_file_that_lists_none_is_as_good_as_no_file(tiny: TinyEvaluation, tmp_path: Path) -> None:
    stand_in = PROJECT / "tasks" / "no-tasks.yaml"
    folder = without_tasks(tiny, tmp_path, {}, tasks=stand_in, labels=stand_in.parent)
    assert read_results(folder).tasks == {}
    assert read_manifest(folder, EvaluationManifest).tasks_sha256 == sha256_file(stand_in)


def test_tasks_without_labels_and_labels_without_tasks_are_refused(tiny: TinyEvaluation, tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"--tasks .*tasks\.yaml: give --labels too"):
        without_tasks(tiny, tmp_path, {}, tasks=tiny.inputs["tasks"])
    with pytest.raises(ParamsError, match=r"--labels .*labels: nothing says what to read there; give --tasks too"):
        without_tasks(tiny, tmp_path, {}, labels=tiny.inputs["labels"])
