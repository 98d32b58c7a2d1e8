"""A finished model evaluated on a matrix that it was not trained on, and by groups of chromosomes."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas
import pytest
import zarr

from epilstm.errors import DataError, ParamsError
from epilstm.files.outputs import fingerprint, to_json
from epilstm.params import CrossFitParams, EvaluateParams, validate
from epilstm.scoring.folds import cross_fit_groups
from epilstm.store.evaluation_results import EvaluationResults, read_results
from epilstm.store.manifests import Scaler, Split, scaler_digest
from epilstm.store.matrix import Matrix
from support.evaluate.evaluation_runs import chosen_tasks, evaluate
from support.evaluate.tiny_evaluation import EMBEDDING_SIZE, SIZES, TinyEvaluation, write_model
from support.nonempty import nonempty

REPRESENTATIONS = ["embedding", "raw", "pca:2", "own(raw)", "own(pca:2(raw+means:2k))", "majority"]
PARAMS = {
    "representations": REPRESENTATIONS,
    "pooling": ["mean"],
    "classifier": {"kind": ["logistic", "xgboost"], "trees": 5},
    "label_budgets": [20],
    "label_draws": 2,
    "bootstrap": 20,
}


def model_of_elsewhere(folder: Path, train: list[str], validation: list[str], test: list[str]) -> Path:
    """The tiny model as one that was trained on another matrix, with another split."""
    write_model(folder, "of another matrix")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["split"] = {"train": train, "validation": validation, "test": test}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def inputs_of(tiny: TinyEvaluation) -> TinyEvaluation:
    """The same inputs without embeddings."""

    class Without(TinyEvaluation):
        @property
        def inputs(self) -> dict[str, Path]:
            return {name: path for name, path in super().inputs.items() if name != "embeddings"}

    return Without(**vars(tiny))


@pytest.fixture(scope="module")
def done(tiny: TinyEvaluation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("elsewhere")
    model = model_of_elsewhere(out / "model", ["chr1", "chr9"], ["chr2"], ["chr10"])
    evaluate(inputs_of(tiny), out, PARAMS, model=model, tasks=chosen_tasks(out, "expression", "level"))
    return out


@pytest.fixture(scope="module")
def results(done: Path) -> EvaluationResults:
    return read_results(done / "evaluation")


def test_what_was_held_out_of_what_is_recorded(results: EvaluationResults) -> None:
    held = results.held_out
    assert held is not None
    assert (held.own_matrix, held.trained_on, held.validated_on) == (False, ["chr1", "chr9"], ["chr2"])
    assert held.fitted_on == ["chr1"]
    assert held.reconstructed_on == results.reconstruction.chromosomes == ["chr3", "chr4", "chr5"]
    assert held.labels_on == ["chr1", "chr2", "chr3", "chr4", "chr5"]
    assert held.labels_seen == ["chr1", "chr2"]
    assert results.evaluated_elsewhere


def test_without_embeddings_the_model_embeds(results: EvaluationResults, done: Path) -> None:
    assert results.embedding_size == EMBEDDING_SIZE
    manifest = json.loads((done / "evaluation" / "manifest.json").read_text())
    assert manifest["embeddings_fingerprint"] is None


def test_every_probe_and_budget_is_compared_in_every_task(results: EvaluationResults) -> None:
    found = {(each.task, each.measure, each.probe, each.labels) for each in results.comparisons}
    settings = [(probe, labels) for probe in ("logistic", "xgboost") for labels in (None, 20)]
    by_cell = "R2 of the deviation from the mean over cell types"
    measures = {"expression": ["average precision"], "level": ["R2", "R2 within blocks", by_cell]}
    assert found == {(task, each, *own) for task, names in measures.items() for each in names for own in settings}
    assert all(
        set(each.representations) == set(REPRESENTATIONS) - {"majority"} for each in nonempty(results.comparisons)
    )
    main = next(each for each in results.comparisons if each.task == "level" and each.measure == "R2")
    assert main.probe == results.classifier == "logistic"
    assert main.representations["raw"].value == pytest.approx(results.regression["level"].summary["raw"].r2)
    assert main.representations["raw"].ci == results.regression["level"].summary["raw"].r2_ci


def test_own_tracks_are_those_of_the_tasks_cell_type(results: EvaluationResults) -> None:
    assert results.representation_sizes["own(raw)"] == 3
    assert results.representation_sizes["own(pca:2(raw+means:2k))"] == 2


def test_a_matrix_with_another_scaler_is_refused(tiny: TinyEvaluation, tmp_path: Path) -> None:
    shutil.copytree(tiny.folder / "matrix", tmp_path / "matrix")
    scaler = json.loads((tmp_path / "matrix" / "scaler.json").read_text())
    scaler["mean"][1] = 0.5
    (tmp_path / "matrix" / "scaler.json").write_text(to_json(scaler))
    manifest = json.loads((tmp_path / "matrix" / "manifest.json").read_text())
    manifest["scaler_sha256"] = scaler_digest(Scaler.model_validate(scaler))
    (tmp_path / "matrix" / "manifest.json").write_text(json.dumps(manifest))
    message = (
        r"the model does not take the matrix .*: the mean of track A-H3K4me3 is 0.5 in the matrix, 0.0 in the model"
    )
    with pytest.raises(DataError, match=message + r"; make the matrix .*preprocess --encoder"):
        evaluate(inputs_of(tiny), tmp_path, {}, matrix=tmp_path / "matrix")


def test_a_task_without_labels_in_the_data_is_left_out_and_the_others_are_scored(
    tiny: TinyEvaluation, tmp_path: Path, warnings_logged: list[str]
) -> None:
    shutil.copytree(tiny.folder / "labels", tmp_path / "labels")
    beyond = "".join(f"chr5\t{start}\t{start + 200}\t{start // 200 % 2}\n" for start in range(46_000, 49_000, 200))
    (tmp_path / "labels" / "fire.bed").write_text(beyond)
    tasks = chosen_tasks(tmp_path, "expression", "fire")
    small = PARAMS | {"representations": ["embedding", "raw"], "label_budgets": [], "classifier": {"kind": "logistic"}}
    evaluate(tiny, tmp_path, small, tasks=tasks, labels=tmp_path / "labels")
    results = read_results(tmp_path / "evaluation")
    assert list(results.tasks) == ["expression"]
    assert list(results.left_out_tasks) == ["task fire, A"]
    assert "none of the 15 labelled examples" in results.left_out_tasks["task fire, A"]
    assert any(each.startswith("left out: task fire, A: none of the 15") for each in warnings_logged)


@pytest.fixture(scope="module")
def crossed(tiny: TinyEvaluation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("crossed")
    groups = [["chr1", "chr2"], ["chr3", "chr4", "chr5"]]
    models = [
        str(model_of_elsewhere(out / "one", ["chr3"], ["chr4"], ["chr1"])),
        str(model_of_elsewhere(out / "two", ["chr1"], ["chr2"], ["chr3"])),
    ]
    asked = PARAMS | {"cross_fit": {"groups": groups, "models": models}, "label_budgets": []}
    evaluate(inputs_of(tiny), out, asked, tasks=chosen_tasks(out, "expression", "level"))
    return out


def test_each_group_is_a_fold_and_all_labels_are_scored(crossed: Path) -> None:
    results = read_results(crossed / "evaluation")
    predictions = pandas.read_parquet(crossed / "evaluation" / "predictions.parquet")
    assert (predictions.fold == np.where(predictions.chrom.isin(["chr1", "chr2"]), 0, 1)).all()
    assert results.folds.count == 2
    assert results.held_out is not None
    assert results.held_out.cross_fit == [["chr1", "chr2"], ["chr3", "chr4", "chr5"]]
    assert results.held_out.models_by_group
    assert len(predictions) == len(REPRESENTATIONS) * sum(
        each.n for each in results.tasks["expression"].cell_types.values()
    )


def test_what_scores_a_group_is_fitted_without_it(
    tiny: TinyEvaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from epilstm.steps.evaluate import predictions

    seen = []

    def noted(matrix: Matrix, blocks: list, advance: object) -> object:
        seen.append(sorted({block.chrom for block in blocks}))
        return moments(matrix, blocks, advance)

    moments = predictions.training_moments
    monkeypatch.setattr(predictions, "training_moments", noted)
    small = PARAMS | {"representations": ["embedding", "pca:2"], "cross_fit": {"groups": 5}, "label_budgets": []}
    evaluate(inputs_of(tiny), tmp_path, small, tasks=chosen_tasks(tmp_path, "expression"))
    every = ["chr1", "chr2", "chr3", "chr4", "chr5"]
    assert sorted(seen) == sorted([chrom for chrom in every if chrom != left] for left in every)


def test_a_model_that_saw_its_group_is_refused(tiny: TinyEvaluation, tmp_path: Path) -> None:
    model = str(model_of_elsewhere(tmp_path / "model", ["chr3"], ["chr1"], ["chr4"]))
    asked = {"cross_fit": {"groups": [["chr1", "chr2"], ["chr3", "chr4", "chr5"]], "models": [model, model]}}
    with pytest.raises(DataError, match=r"cross_fit.models\[0\]: .* was trained on chr1, which its group leaves out"):
        evaluate(inputs_of(tiny), tmp_path, PARAMS | asked)
    with pytest.raises(ParamsError, match="each group is embedded by its own model; leave --embeddings out"):
        evaluate(tiny, tmp_path, PARAMS | asked)


def embeddings_of_elsewhere(tiny: TinyEvaluation, folder: Path, split: Split, factor: float) -> Path:
    """The tiny embeddings times a factor, as those of a model with another split."""
    shutil.copytree(tiny.folder / "embeddings", folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"split": split.model_dump()}))
    group = zarr.open_group(folder / "embeddings.zarr")
    for chrom in SIZES:
        array = group[chrom]
        assert isinstance(array, zarr.Array)
        array[:] = factor * np.asarray(array[:])
    return folder


GROUPS = [["chr1", "chr2"], ["chr3", "chr4", "chr5"]]
#: Of a model that scores the first group, and of one that scores the second.
WITHOUT = [
    Split(train=["chr3"], validation=["chr4"], test=["chr1", "chr2"]),
    Split(train=["chr1"], validation=["chr2"], test=["chr3"]),
]


def test_each_group_is_scored_by_the_embeddings_of_its_own_model(tiny: TinyEvaluation, tmp_path: Path) -> None:
    folders = [
        str(embeddings_of_elsewhere(tiny, tmp_path / name, split, factor))
        for name, split, factor in zip(("one", "two"), WITHOUT, (1.0, 0.0), strict=True)
    ]
    asked = PARAMS | {"representations": ["embedding"], "label_budgets": []}
    asked |= {"cross_fit": {"groups": GROUPS, "embeddings": folders}}
    evaluate(inputs_of(tiny), tmp_path, asked, tasks=chosen_tasks(tmp_path, "expression"))
    results = read_results(tmp_path / "evaluation")
    assert results.held_out is not None
    assert results.held_out.models_by_group
    predictions = pandas.read_parquet(tmp_path / "evaluation" / "predictions.parquet")
    # Embeddings of nothing but zeros predict the same of every example.
    of_group = predictions.groupby(["cell_type", "fold"]).score.nunique()
    assert (of_group[:, 1] == 1).all()
    assert (of_group[:, 0] > 1).all()


def test_embeddings_that_are_not_of_the_groups_models_are_refused(tiny: TinyEvaluation, tmp_path: Path) -> None:
    def refused(message: str, folders: list[Path], inputs: TinyEvaluation, error: type[Exception] = DataError) -> None:
        cross_fit = {"groups": GROUPS, "embeddings": list(map(str, folders))}
        with pytest.raises(error, match=message):
            evaluate(inputs, tmp_path, PARAMS | {"cross_fit": cross_fit})

    without = inputs_of(tiny)
    one = embeddings_of_elsewhere(tiny, tmp_path / "one", WITHOUT[0], 1.0)
    refused(r"embeddings\[1\]: .*one: was trained on chr3, chr4, which its group leaves out", [one, one], without)
    refused("each group has its own; leave --embeddings out", [one, one], tiny, ParamsError)
    refused(r"embeddings\[1\]: .*gone: no such folder", [one, tmp_path / "gone"], without)
    for key, value, message in (
        ("split", None, "does not say what its model was trained on"),
        ("matrix_fingerprint", "another", "were made from another matrix"),
    ):
        other = embeddings_of_elsewhere(tiny, tmp_path / key, WITHOUT[1], 1.0)
        manifest = json.loads((other / "manifest.json").read_text())
        (other / "manifest.json").write_text(json.dumps(manifest | {key: value}))
        refused(message, [one, other], without)


def test_what_a_model_of_the_matrix_was_trained_without_is_what_is_scored(tiny: TinyEvaluation, tmp_path: Path) -> None:
    write_model(tmp_path / "model", fingerprint(tiny.folder / "matrix"))
    manifest = json.loads((tmp_path / "model" / "manifest.json").read_text())
    manifest["split"] = WITHOUT[0].model_dump()
    (tmp_path / "model" / "manifest.json").write_text(json.dumps(manifest))
    small = PARAMS | {"representations": ["embedding"], "label_budgets": []}
    evaluate(inputs_of(tiny), tmp_path, small, model=tmp_path / "model", tasks=chosen_tasks(tmp_path, "fire"))
    results = read_results(tmp_path / "evaluation")
    assert results.held_out is not None
    assert results.reconstruction.chromosomes == results.held_out.reconstructed_on == ["chr1", "chr2"]
    assert results.held_out.fitted_on == ["chr3"]


def test_groups_are_named_or_counted(tiny: TinyEvaluation) -> None:
    manifest = Matrix(tiny.folder / "matrix").manifest
    assert cross_fit_groups(CrossFitParams(), manifest) == []
    by_size = cross_fit_groups(CrossFitParams(groups=2), manifest)
    assert by_size == [["chr1", "chr4"], ["chr2", "chr3", "chr5"]]
    named = CrossFitParams(groups=[["chr5", "chr1"], ["chr2", "chr3", "chr4", "chr20"]])
    assert cross_fit_groups(named, manifest) == [["chr5", "chr1"], ["chr2", "chr3", "chr4"]]
    with pytest.raises(ParamsError, match="chr4, chr5 of the data is in no group"):
        cross_fit_groups(CrossFitParams(groups=[["chr1"], ["chr2", "chr3"]]), manifest)
    with pytest.raises(ParamsError, match="6 groups of 5 chromosomes; set it to 5 or less"):
        cross_fit_groups(CrossFitParams(groups=6), manifest)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"cross_fit": {"groups": 1}}, "at least two are needed"),
        ({"cross_fit": {"groups": [["chr1"], ["chr1"]]}}, "chr1 is listed twice"),
        ({"cross_fit": {"groups": 3, "models": ["a"]}}, "1 models for 3 groups"),
        ({"cross_fit": {"groups": 3}, "folds": {"by": "region"}}, "set folds.by to chromosome"),
        ({"cross_fit": {"groups": 3, "embeddings": ["a"]}}, "1 embeddings for 3 groups"),
        ({"cross_fit": {"groups": 2, "models": ["a", "b"], "embeddings": ["a", "b"]}}, "give one of them"),
        ({"cross_fit": {"groups": 2, "embeddings": ["a", "b"]}, "missing_tracks": 0.3}, "give cross_fit.models"),
        ({"label_budgets": [100, 100]}, "label_budgets: 100 is listed twice"),
        ({"classifier": {"kind": ["xgboost", "xgboost"]}}, "a kind is listed twice"),
        ({"classifier": {"kind": []}}, "input should be 'xgboost', 'logistic' or 'random_forest', or a list"),
        ({"classifier": {"penalty": 0}}, "penalty"),
    ],
)
def test_params_that_make_no_sense_are_refused(asked: dict, message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        validate(EvaluateParams, asked, "evaluate")


def test_reconstruction_is_scored_on_a_sample_spread_over_the_chromosomes(
    tiny: TinyEvaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("epilstm.store.bin_ranges.BLOCK_BINS", 500)
    out = tmp_path
    model = model_of_elsewhere(out / "model", ["chr1"], ["chr2"], ["chr3"])
    small = PARAMS | {"reconstruction_bins": 2_500}
    evaluate(inputs_of(tiny), out, small, model=model, tasks=chosen_tasks(out))
    found = read_results(out / "evaluation").reconstruction
    own = Matrix(tiny.folder / "matrix").manifest.bins_with_data
    assert found.of_bins == own["chr3"] + own["chr4"] + own["chr5"]
    assert 1_500 < found.bins <= 2_500
