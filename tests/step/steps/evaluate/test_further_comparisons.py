"""Leaks, missing tracks, other cell types, levels and other models' embeddings, in one run of the step."""

import json
from pathlib import Path

import numpy as np
import pandas
import pytest
import yaml
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score, r2_score

from epilstm.errors import ParamsError
from epilstm.params import EvaluateParams
from epilstm.scoring.prediction import features_of, pair_distance
from epilstm.scoring.tasks import load_tasks
from epilstm.scoring.trials import prepare_trials
from epilstm.steps.evaluate.cross_cell import MASKED, cell_tracks
from epilstm.steps.evaluate.leak import with_random_folds
from epilstm.steps.evaluate.missing import hidden_tracks
from epilstm.store.evaluation_results import LEVEL_COLUMNS, EvaluationManifest, EvaluationResults, read_results
from epilstm.store.manifests import read_manifest
from epilstm.store.matrix import Matrix
from epilstm.tracks.identity import TrackSet
from support.evaluate.evaluation_runs import changed, chosen_tasks, evaluate
from support.evaluate.tiny_evaluation import EMBEDDING_SIZE, TRACKS, TinyEvaluation
from support.nonempty import nonempty

EVERYTHING = {
    "representations": ["embedding", "raw", "pca", "nmf", "majority"],
    "pooling": ["context", "q90"],
    "context_bp": 500,
    "pair_distance": True,
    "leak": True,
    "missing_tracks": 0.3,
    "missing_draws": 3,
    "cross_cell_type": True,
    "classifier": {"kind": "logistic"},
    "bootstrap": 20,
}


@pytest.fixture(scope="module")
def done(tiny: TinyEvaluation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("everything")
    also = {"twin": str(tiny.folder / "embeddings")}
    tasks = chosen_tasks(out, "expression", "contacts", "level")
    evaluate(tiny, out, EVERYTHING | {"also": also}, tasks=tasks)
    return out


@pytest.fixture(scope="module")
def results(done: Path) -> EvaluationResults:
    return read_results(done / "evaluation")


def test_another_models_embedding_is_scored_as_the_models_own(results: EvaluationResults, done: Path) -> None:
    assert results.representation_order == ["embedding", "twin", "raw", "pca", "nmf", "majority"]
    for task in nonempty(results.tasks.values()):
        assert task.summary["twin"] == task.summary["embedding"]
        twin = next(each for each in task.differences if each.baseline == "twin")
        assert (twin.delta, twin.verdict) == (0, "is indistinguishable from")
        assert "the model twin (+0.000)" in task.sentence
    assert list(read_manifest(done / "evaluation", EvaluationManifest).also_fingerprints) == ["twin"]


def test_levels_are_scored_as_scikit_learn_and_scipy_do(results: EvaluationResults, done: Path) -> None:
    levels = pandas.read_parquet(done / "evaluation" / "levels.parquet")
    assert list(levels.columns) == list(LEVEL_COLUMNS)
    assert set(pandas.read_parquet(done / "evaluation" / "predictions.parquet").task) == {"expression", "contacts"}
    for (cell, name), rows in nonempty(levels.groupby(["cell_type", "representation"])):
        scores = results.regression["level"].cell_types[cell].representations[name]
        assert scores.r2 == pytest.approx(r2_score(rows.level, rows.predicted))
        folds = [f for _, f in rows.groupby("fold")]
        expected = [0 if f.predicted.nunique() == 1 else spearmanr(f.level, f.predicted).statistic for f in folds]
        assert scores.spearman == pytest.approx(np.average(expected, weights=[len(f) for f in folds]))
        assert scores.r2_ci.low <= scores.r2_ci.high


def test_levels_are_log2_of_rpkm_plus_one(tiny: TinyEvaluation, done: Path) -> None:
    table = pandas.read_csv(tiny.folder / "labels" / "rpkm.tsv", sep="\t", index_col=0, usecols=[0, 1, 2])
    levels = pandas.read_parquet(done / "evaluation" / "levels.parquet")
    own = levels[(levels.cell_type == "A") & (levels.representation == "raw")]
    np.testing.assert_allclose(own.level, np.log2(table.A[own.example] + 1))


def test_levels_have_the_folds_of_the_classes(done: Path) -> None:
    keys = ["cell_type", "example", "fold"]
    classes = pandas.read_parquet(done / "evaluation" / "predictions.parquet").query("task == 'expression'")
    levels = pandas.read_parquet(done / "evaluation" / "levels.parquet")
    assert set(classes[keys].itertuples(index=False, name=None)) == set(levels[keys].itertuples(index=False, name=None))


def test_an_embedding_that_knows_the_level_says_so_and_one_that_does_not_does_not(results: EvaluationResults) -> None:
    cells = results.regression["level"].cell_types
    assert cells["A"].representations["embedding"].r2 > 0.3
    assert cells["B"].representations["embedding"].r2 < 0.1
    assert "level (log2(RPKM + 1)): with R2" in results.regression["level"].sentence


def test_the_leak_is_the_score_under_random_folds_minus_that_under_grouped_ones(results: EvaluationResults) -> None:
    for name, task in {**results.tasks, **results.regression}.items():
        leaks = results.leak[name].representations
        assert list(leaks) == ["embedding", "raw"]
        for representation, leak in leaks.items():
            honest = task.summary[representation]
            assert leak.grouped == pytest.approx(honest.r2 if name == "level" else honest.average_precision)
            assert leak.delta == pytest.approx(leak.random - leak.grouped)
            assert leak.ci.low <= leak.ci.high
        assert results.leak[name].measure == ("R2" if name == "level" else "average precision")


def test_random_folds_are_as_many_and_hold_each_example_out_on_its_own(tiny: TinyEvaluation) -> None:
    params = EvaluateParams.model_validate({"folds": {"by": "chromosome", "count": 4}})
    trials, _ = prepare_trials(
        load_tasks(tiny.inputs["tasks"]), tiny.inputs["labels"], Matrix(tiny.folder / "matrix"), params
    )
    for trial, leaky in nonempty(zip(trials, with_random_folds(trials, params), strict=True)):
        assert len(np.unique(leaky.folds.group)) == len(trial.examples)
        assert len(leaky.folds.splits()) == 4
        np.testing.assert_array_equal(leaky.cluster, trial.cluster)


def test_hidden_tracks_are_a_share_and_follow_from_the_seed() -> None:
    draws = hidden_tracks(20, 0.25, 1, 10)
    assert [each.sum() for each in draws] == [5] * 10
    assert len({each.tobytes() for each in draws}) == 10
    np.testing.assert_array_equal(draws[:4], hidden_tracks(20, 0.25, 1, 4))
    assert [each.sum() for each in hidden_tracks(3, 0.01, 1, 2)] == [1] * 2
    assert [each.sum() for each in hidden_tracks(3, 0.99, 1, 2)] == [2] * 2


def test_what_hidden_tracks_cost_is_reported_of_all_that_is_made_of_tracks(results: EvaluationResults) -> None:
    missing = results.missing_tracks
    assert missing is not None
    assert [len(draw) for draw in missing.draws] == [2] * 3
    assert {track for draw in missing.draws for track in draw} <= set(TRACKS)
    for name, task in nonempty(missing.tasks.items()):
        assert set(task.representations) == {"embedding", "raw", "pca", "nmf"}
        for fall in task.representations.values():
            assert fall.fall == pytest.approx(fall.full - fall.hidden)
        own, raw = task.representations["embedding"], task.representations["raw"]
        against = {each.baseline: each.delta for each in task.differences}
        assert against["raw"] == pytest.approx(raw.fall - own.fall)
        assert f"{name}: with tracks hidden, the embedding falls from" in task.sentence
    # Two of six tracks that all say the same, of which a linear classifier weighs each.
    assert missing.tasks["level"].representations["raw"].fall > 0


def test_a_cell_types_tracks_are_found_by_assay_and_put_in_every_place() -> None:
    names = TrackSet.of_names(["A-x", "A-y", "B-y", "B-x", "C-y", "A-z"])
    tracks = cell_tracks(names, ["A", "B", "D"])
    assert tracks is not None
    assert tracks.assays == ["x", "y"]
    assert {cell: columns.tolist() for cell, columns in tracks.columns.items()} == {"A": [0, 1], "B": [3, 2]}
    rows = np.arange(1, 7, dtype=np.float32)[None]
    np.testing.assert_array_equal(tracks.everywhere(rows, "B"), [[4, 3, 3, 4, 3, 0]])
    np.testing.assert_array_equal(tracks.alone(rows, "A"), [[1, 2, 0, 0, 0, 0]])
    assert cell_tracks(names, ["A"]) is None
    assert cell_tracks(TrackSet.of_names(["A-x", "B-y"]), ["A", "B"]) is None


def test_every_view_is_scored_on_a_cell_type_it_did_not_learn_from(results: EvaluationResults) -> None:
    across = results.cross_cell_type
    assert across is not None
    assert across.cell_types == ["A", "B"]
    assert across.view_sizes == {"raw": 3, "pca": 3, "nmf": 3, "embedding": EMBEDDING_SIZE, MASKED: EMBEDDING_SIZE}
    assert set(across.tasks) == {"expression", "level"}
    for task in nonempty(across.tasks.values()):
        assert set(task.summary) == {*across.view_sizes, "majority"}
        assert set(task.differences) == set(task.summary) - {"raw"}
        for name, transfer in nonempty(task.summary.items()):
            assert transfer.across == pytest.approx(np.mean([cell[name] for cell in task.cell_types.values()]))
            assert transfer.loss == pytest.approx(transfer.within - transfer.across)
    # B's levels are noise: what is learnt from them says nothing of A's.
    own = results.regression["level"].cell_types["A"].representations["raw"].r2
    assert across.tasks["level"].cell_types["A"]["raw"] < own - 0.2


def test_scores_across_cell_types_equal_a_plain_loop(tiny: TinyEvaluation, done: Path) -> None:
    """Views, folds and classifiers of one cell type, by hand."""
    from epilstm.scoring.classifier import predict_held_out
    from epilstm.steps.evaluate import cross_cell

    params = EvaluateParams.model_validate(
        yaml.safe_load((done / "params.yaml").read_text())["evaluate"] | {"pooling": ["mean"]}
    )
    matrix = Matrix(tiny.folder / "matrix")
    trials, windows = prepare_trials(load_tasks(done / "tasks.yaml"), tiny.inputs["labels"], matrix, params)
    trials = [trial for trial in trials if trial.task.name == "expression"]
    tracks = cell_tracks(TrackSet.of_names(TRACKS), ["A", "B"])
    assert tracks is not None
    from epilstm.representations.features import BinByBin

    views = {"raw": {cell: BinByBin(matrix, lambda x, c=c: x[:, c], 3) for cell, c in tracks.columns.items()}}
    stack = cross_cell._stacked(trials, params)
    assert len({(group, fold) for group, fold in zip(stack.groups, stack.fold, strict=True)}) == len(set(stack.groups))
    from epilstm.console import progress

    with progress("test", 1) as bar:
        scored = cross_cell.score_cross_cell(trials, windows, matrix, tracks, views, params, 1, bar)

    features = {}
    for trial in trials:
        rows = []
        for chroms, starts, ends in zip(trial.examples.chroms, trial.examples.starts, trial.examples.ends, strict=True):
            own = []
            for chrom, start, end in zip(chroms, starts, ends, strict=True):
                part = slice(start // 25, -(-end // 25))
                inside = tiny.values[chrom][part][tiny.mask[chrom][part]].astype(float)
                own.append(inside[:, tracks.columns[trial.cell_type]].mean(axis=0))
            rows.append(np.concatenate(own))
        features[trial.cell_type] = np.array(rows, np.float32)
    x = np.concatenate([features["A"], features["B"]])
    expected = []
    for fold in np.unique(stack.fold):
        test = (stack.cell == 1) & (stack.fold == fold)
        train = (stack.cell == 0) & (stack.fold != fold)
        scores = predict_held_out(x, stack.labels, stack.groups, test, params.classifier, 1, train=train)
        if stack.labels[test].any():
            expected.append(average_precision_score(stack.labels[test], scores))
    assert scored.tasks["expression"].cell_types["B"]["raw"] == pytest.approx(np.mean(expected), abs=0.02)


def test_the_distance_of_a_pair_is_a_feature_of_pairs_alone(tiny: TinyEvaluation) -> None:
    params = EvaluateParams.model_validate({"folds": {"count": 4}, "pair_distance": True})
    trials, windows = prepare_trials(
        load_tasks(tiny.inputs["tasks"]), tiny.inputs["labels"], Matrix(tiny.folder / "matrix"), params
    )
    pooled = np.zeros((len(windows), 2), np.float32)
    for trial in nonempty(trials):
        widths = len(trial.task.windows) * 2 + (trial.task.kind == "pair")
        assert features_of(trial, pooled, params).shape == (len(trial.examples), widths)
    pairs = next(trial for trial in trials if trial.task.kind == "pair")
    # Promoters are 500 bp long, enhancers begin 3 kb after them.
    np.testing.assert_array_equal(pair_distance(pairs), 2_500)
    np.testing.assert_allclose(features_of(pairs, pooled, params)[:, -1], np.log10(2_501))


def test_the_metrics_have_every_comparison_as_finite_numbers(done: Path) -> None:
    numbers = json.loads((done / "metrics.json").read_text())
    assert set(numbers["regression"]["level"]["A"]["embedding"]) == {"r2", "r2_ci_low", "r2_ci_high", "spearman"}
    assert set(numbers["leak"]) == set(numbers["missing_tracks"]) == {"expression", "contacts", "level"}
    assert set(numbers["cross_cell_type"]) == {"expression", "level"}
    parts = [numbers[key] for key in ("regression", "leak", "missing_tracks", "cross_cell_type")]
    leaves: list[float] = []
    while parts:
        part = parts.pop()
        parts += [each for each in part.values() if isinstance(each, dict)]
        leaves += [each for each in part.values() if not isinstance(each, dict)]
    assert np.isfinite(leaves).all()


def test_a_run_of_levels_alone_has_results(tiny: TinyEvaluation, tmp_path: Path) -> None:
    quick = {"representations": ["embedding", "raw"], "classifier": {"kind": "logistic"}}
    result = evaluate(tiny, tmp_path, quick, tasks=chosen_tasks(tmp_path, "level"))
    assert "; R2: level 0." in result.summary
    results = read_results(tmp_path / "evaluation")
    assert (list(results.tasks), list(results.regression)) == ([], ["level"])
    assert len(pandas.read_parquet(tmp_path / "evaluation" / "predictions.parquet")) == 0


def test_other_embeddings_must_be_of_the_same_matrix_and_there(tiny: TinyEvaluation, tmp_path: Path) -> None:
    foreign = changed(tiny.folder / "embeddings", tmp_path / "embeddings", "matrix_fingerprint", "0" * 64)
    (tmp_path / "out").mkdir()
    from epilstm.errors import DataError

    for path, message in ((foreign, "made from another matrix"), (tmp_path / "none", "no such folder")):
        with pytest.raises(DataError, match=rf"evaluate.also.other: {path}: .*{message}"):
            evaluate(tiny, tmp_path / "out", {"also": {"other": str(path)}})


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"representations": ["raw"]}, "embedding is what is evaluated"),
        ({"representations": ["embedding", "raw", "raw"]}, "raw is listed twice"),
        ({"pooling": ["mean", "q0"]}, "evaluate.pooling.1: string should match pattern"),
        ({"also": {"pca": "x"}}, "also: pca is the name of a representation"),
        ({"also": {"Pca ": "x"}}, "string should match pattern"),
        ({"leak": True, "folds": {"by": "random"}}, "leak compares random folds with grouped ones"),
        ({"missing_tracks": 1.0}, "missing_tracks: input should be less than 1"),
        ({"classifier": {"kind": "svm"}}, "classifier.kind: input should be 'xgboost'"),
    ],
)
def test_impossible_params_are_refused(tiny: TinyEvaluation, tmp_path: Path, params: dict, message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        evaluate(tiny, tmp_path, params)
