"""Imputation of hidden tracks: what is hidden, each method against an independent one, and how they are compared."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression

from epilstm.errors import DataError
from epilstm.model.cell_types import cell_types_of
from epilstm.model.config import ModelConfig
from epilstm.model.networks import build
from epilstm.model.windows import reconstruct_bins
from epilstm.params import EvaluateParams, FactorisationParams, ImputationParams
from epilstm.runtime.runner import run_step
from epilstm.runtime.step_table import STEPS
from epilstm.scoring.gene_regions import GeneRegions
from epilstm.steps.evaluate.excerpts import RowsInContext
from epilstm.steps.evaluate.imputation import (
    AssayMean,
    AvocadoImputer,
    GaussianImputer,
    Imputer,
    NetworkImputer,
    blocks_of,
    compare,
    sampled_ranges,
    score_imputation,
    scored_ranges,
    scored_tracks,
    sentence,
    track_folds,
)
from epilstm.steps.evaluate.reconstruction import training_moments
from epilstm.store.evaluation_results import IMPUTATION_METHODS, read_results
from epilstm.store.manifests import Scaler
from epilstm.store.matrix import Matrix
from epilstm.store.moments import Moments
from epilstm.tracks.identity import TrackIdentity, TrackSet
from support.evaluate import tiny_evaluation
from support.evaluate.tiny_evaluation import TRACKS, TinyEvaluation
from support.nonempty import nonempty

NAMES = [(each.cell_type, each.assay) for each in TrackSet.of_names(TRACKS).identities]
SCALER = Scaler(tracks=TRACKS, mean=[0.5, 0.2, 1.0, 0.7, 0.4, 0.1], scale=[0.5, 1.0, 2.0, 1.5, 0.7, 0.3])
QUICK = FactorisationParams(training_bins=1_000, epochs=1, steps=2)


def parameters(**imputation: object) -> EvaluateParams:
    return EvaluateParams(bootstrap=200, imputation=ImputationParams(enabled=True, **imputation))  # type: ignore[arg-type]


def rows(bins: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    mixing = np.random.default_rng(0).normal(size=(3, len(TRACKS)))
    return (random.normal(size=(bins, 3)) @ mixing + 0.3 * random.normal(size=(bins, len(TRACKS)))).astype(np.float32)


def moments_of(training: np.ndarray) -> Moments:
    moments = Moments(training.shape[1])
    moments.add(training)
    return moments


def test_folds_are_diagonals_that_take_one_track_per_cell_type_and_assay() -> None:
    names = list(itertools.product("ABCDE", ("1", "2", "3", "4", "5")))
    folds = track_folds(names, range(25), 5)
    assert sorted(track for fold in folds for track in fold) == list(range(25))
    for fold in nonempty(folds):
        assert len({names[track][0] for track in fold}) == len({names[track][1] for track in fold}) == 5


@pytest.mark.parametrize("count", [1, 2, 5])
def test_an_assay_is_never_hidden_in_all_its_cell_types(count: int) -> None:
    random = np.random.default_rng(4)
    every = list(itertools.product("ABCD", ("1", "2", "3", "4", "5", "6")))
    names = [pair for pair in every if random.random() < 0.6]
    tracks, unable = scored_tracks(names, 0)
    folds = track_folds(names, tracks, count)
    assert sorted([*itertools.chain.from_iterable(folds), *unable]) == list(range(len(names)))
    for fold in nonempty(folds):
        for track in nonempty(fold):
            assert any(names[track][1] == assay and n not in fold for n, (_, assay) in enumerate(names))


def test_no_folds_hide_each_track_alone() -> None:
    assert track_folds(NAMES, [0, 3, 5], 0) == [[0], [3], [5]]


def test_a_track_whose_assay_is_in_one_cell_type_only_is_not_judged() -> None:
    names = [("A", "one"), ("B", "one"), ("A", "two"), ("C", "one")]
    assert scored_tracks(names, 0) == ([0, 1, 3], [2])
    assert scored_tracks(names, 2) == ([0, 1], [2])


def test_the_network_sees_hidden_tracks_at_their_mean_and_is_given_context() -> None:
    seen = []

    def reconstruct(shown: np.ndarray) -> np.ndarray:
        seen.append(shown)
        return np.tile(np.arange(len(TRACKS), dtype=np.float32), (len(shown), 1))

    all_rows, hidden = rows(30, 1), np.array([4, 1])
    found = NetworkImputer(reconstruct, 200, SCALER)(RowsInContext(all_rows, slice(5, 25)), hidden)
    expected = all_rows.copy()
    expected[:, hidden] = 0
    np.testing.assert_array_equal(seen[0], expected)
    np.testing.assert_allclose(found, np.tile([4 * 0.7 + 0.4, 1 * 1.0 + 0.2], (20, 1)), rtol=1e-6)


def test_a_model_by_cell_type_imputes_a_track_as_an_assay_that_was_not_observed() -> None:
    config = ModelConfig(
        architecture="bottleneck", tracks=6, embedding_size=10, context_size=6, hidden_size=5, context_hidden=4,
        frame_bins=10, linear_size=1, consensus_size=1, context_reaches=(1,),
        cell_types=cell_types_of(TrackSet.of_names(TRACKS)),
    )  # fmt: skip
    network = build(config, 1).eval()
    imputer = NetworkImputer(lambda shown: reconstruct_bins(network, shown), 0, SCALER, network.hidden_value)
    all_rows, hidden = rows(40, 3), np.array([4, 1])
    found = imputer(RowsInContext(all_rows, slice(None)), hidden)
    shown = all_rows.copy()
    shown[:, hidden] = np.nan
    given = reconstruct_bins(network, shown)[:, hidden] * np.array(SCALER.scale)[hidden] + np.array(SCALER.mean)[hidden]
    np.testing.assert_allclose(found, given, rtol=1e-5, atol=1e-6)
    shown[:, hidden] = 0
    at_mean = reconstruct_bins(network, shown)[:, hidden]
    assert np.abs(at_mean - reconstruct_bins(network, np.where(shown == 0, np.nan, shown))[:, hidden]).max() > 1e-3


def test_the_mean_of_the_assay_is_that_of_the_other_cell_types_in_the_space_of_the_transform() -> None:
    names = [("A", "one"), ("B", "one"), ("C", "one"), ("A", "two"), ("B", "two"), ("C", "two")]
    all_rows, hidden = rows(10, 2), np.array([1, 5])
    found = AssayMean(names, SCALER)(RowsInContext(all_rows, slice(2, 9)), hidden)
    for bin_, row in enumerate(all_rows[2:9]):
        signal = [row[t] * SCALER.scale[t] + SCALER.mean[t] for t in range(6)]
        np.testing.assert_allclose(found[bin_], [(signal[0] + signal[2]) / 2, (signal[3] + signal[4]) / 2], rtol=1e-5)


def test_the_linear_method_is_the_regression_of_the_hidden_on_the_seen_tracks() -> None:
    training, test, hidden = rows(800, 3), rows(40, 4), np.array([2, 5])
    seen = [0, 1, 3, 4]
    found = GaussianImputer.fitted(moments_of(training), SCALER)(RowsInContext(test, slice(None)), hidden)
    expected = LinearRegression().fit(training[:, seen], training[:, hidden]).predict(test[:, seen])
    expected = expected * np.array(SCALER.scale)[hidden] + np.array(SCALER.mean)[hidden]
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-3)


def test_pca_imputes_by_the_conditional_mean_of_its_probabilistic_form() -> None:
    training, test, hidden = rows(800, 5), rows(40, 6), np.array([0, 3])
    seen = np.array([1, 2, 4, 5])
    found = GaussianImputer.fitted(moments_of(training), SCALER, 2)(RowsInContext(test, slice(None)), hidden)
    pca = PCA(2).fit(training.astype(np.float64))
    covariance = pca.get_covariance()
    weights = np.linalg.inv(covariance[np.ix_(seen, seen)]) @ covariance[np.ix_(seen, hidden)]
    expected = pca.mean_[hidden] + (test[:, seen] - pca.mean_[seen]) @ weights
    expected = expected * np.array(SCALER.scale)[hidden] + np.array(SCALER.mean)[hidden]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_no_method_looks_at_hidden_tracks() -> None:
    training = rows(1_000, 7)
    moments = moments_of(training)
    params = parameters(factorisation=QUICK)
    imputers: list[Imputer] = [
        NetworkImputer(lambda shown: shown @ np.ones((6, 6), np.float32), 0, SCALER),
        AssayMean(NAMES, SCALER),
        GaussianImputer.fitted(moments, SCALER, 2),
        GaussianImputer.fitted(moments, SCALER),
        AvocadoImputer(NAMES, [training], params, 25, SCALER, seen=True),
        AvocadoImputer(NAMES, [training], params, 25, SCALER, seen=False),
    ]
    test, hidden = rows(50, 8), np.array([0, 4])
    other = test.copy()
    other[:, hidden] = 9
    for imputer in imputers:
        np.testing.assert_array_equal(
            imputer(RowsInContext(test, slice(None)), hidden), imputer(RowsInContext(other, slice(None)), hidden)
        )


def correlated(folder: Path) -> Matrix:
    """A matrix in which every track is the same signal; through `SCALER` they differ in level and strength."""
    random = np.random.default_rng(9)
    values, mask = {}, {}
    for chrom, size in tiny_evaluation.SIZES.items():
        bins = size // tiny_evaluation.BIN
        latent = random.gamma(0.3, 2.0, size=(bins, 1)) - 0.6
        values[chrom] = np.repeat(latent, len(TRACKS), axis=1).astype(np.float16)
        mask[chrom] = np.arange(bins) < bins - 200
    tiny_evaluation._write_matrix(folder, values, mask)
    return Matrix(folder)


def test_a_model_of_perfectly_correlated_tracks_imputes_better_than_the_mean_of_the_assay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix = correlated(tmp_path / "matrix")

    def reconstruct(shown: np.ndarray) -> np.ndarray:
        visible = np.abs(shown).sum(axis=0) > 0
        return np.repeat(shown[:, visible].mean(axis=1, keepdims=True), len(TRACKS), axis=1)

    monkeypatch.setattr("epilstm.steps.evaluate.imputation.RANGE_BINS", 200)
    done: list[int] = []
    found = score_imputation(
        matrix,
        NetworkImputer(reconstruct, 50, SCALER),
        training_moments(matrix, matrix.blocks(matrix.manifest.split.train), lambda bins: None),
        3,
        GeneRegions([], 25),
        parameters(baselines=["assay_mean", "pca", "linear"]).model_copy(update={"blocks_bp": 5_000}),
        done.append,
    )
    assert found.methods["model"].overall.mse_global < 1e-6 < found.methods["assay_mean"].overall.mse_global
    assert found.bins == found.of_bins == 1_800
    assert sum(done) == sum(region.bins for region in matrix.regions if region.chrom == "chr5")
    assert sorted(itertools.chain.from_iterable(found.folds)) == sorted(TRACKS)
    against = {each.measure: each for each in found.differences if each.baseline == "assay_mean"}
    assert {each.verdict for each in against.values()} == {"beats"}
    assert against["mse_global"].won == against["mse_global"].tracks == 6
    assert "mse_prom" not in against
    assert "mean of the assay in the other cell types: the network beats it everywhere" in found.sentence


def test_imputation_is_the_same_every_time_and_names_the_methods_that_ran(tiny: TinyEvaluation) -> None:
    matrix = Matrix(tiny.folder / "matrix")
    moments = training_moments(matrix, matrix.blocks(matrix.manifest.split.train), lambda bins: None)

    def scored() -> str:
        model = NetworkImputer(lambda shown: shown, 50, SCALER)
        params = parameters(folds=2, bins=1_000, factorisation=QUICK, trees={"count": 2}, training_bins=500)
        result = score_imputation(matrix, model, moments, 3, GeneRegions([], 25), params, lambda bins: None)
        assert list(result.methods) == list(IMPUTATION_METHODS)
        return result.model_dump_json()

    assert scored() == scored()


def test_params_can_be_chosen_on_the_validation_chromosomes(tiny: TinyEvaluation) -> None:
    matrix = Matrix(tiny.folder / "matrix")
    moments = training_moments(matrix, matrix.blocks(matrix.manifest.split.train), lambda bins: None)
    split = matrix.manifest.split
    assert split.test != split.validation
    for kind, chromosomes in (("test", split.test), ("validation", split.validation)):
        params = parameters(folds=2, bins=1_000, split=kind, baselines=["pca"])
        model = NetworkImputer(lambda shown: shown, 50, SCALER)
        blocks = []
        regions = GeneRegions([], 25)
        found = score_imputation(matrix, model, moments, 3, regions, params, blocks.append)
        assert found.chromosomes == chromosomes
        assert found.of_bins == sum(int(matrix.mask(block).sum()) for block in matrix.blocks(chromosomes))
        assert {block.chrom for block in scored_ranges(matrix, params)} <= set(chromosomes)


def test_assays_in_one_cell_type_only_are_refused(tiny: TinyEvaluation, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = Matrix(tiny.folder / "matrix")
    own = [TrackIdentity("A", name) for name in matrix.manifest.tracks]
    manifest = matrix.manifest.model_copy(update={"tracks": [each.name for each in own], "identities": own})
    monkeypatch.setattr(matrix, "manifest", manifest)
    model = NetworkImputer(lambda shown: shown, 0, SCALER)
    with pytest.raises(DataError, match=r"no assay is there in more than one cell type.*imputation\.enabled"):
        score_imputation(matrix, model, Moments(6), 3, GeneRegions([], 25), parameters(), lambda bins: None)


def test_replicates_are_hidden_together_and_count_as_one() -> None:
    """A replicate that is seen would give the hidden one away."""
    names = [("A", "x"), ("A", "x"), ("B", "x"), ("C", "x"), ("C", "x"), ("B", "y"), ("B", "y")]
    assert scored_tracks(names, 0) == ([0, 1, 2, 3, 4], [5, 6])
    assert scored_tracks(names, 1)[0] == [0, 1]
    assert track_folds(names, [0, 1, 2, 3, 4], 0) == [[0, 1], [2], [3, 4]]
    folds = track_folds(names, [0, 1, 2, 3, 4], 2)
    assert {frozenset(fold) & {0, 1} for fold in folds} <= {frozenset(), frozenset({0, 1})}
    assert all(len({names[track] for track in fold}) < 3 for fold in nonempty(folds))


def test_bin_ranges_are_spread_over_the_chromosomes_and_bounded(
    tiny: TinyEvaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("epilstm.steps.evaluate.imputation.RANGE_BINS", 200)
    matrix = Matrix(tiny.folder / "matrix")
    some = sampled_ranges(matrix, ["chr1", "chr2"], 1_200)
    assert sum(block.bins for block in some) == 1_200
    assert {block.chrom for block in some} == {"chr1", "chr2"}
    assert len({(block.chrom, block.first) for block in some}) == 6
    regions = [region for region in matrix.regions if region.chrom in ("chr1", "chr2")]
    assert sum(block.bins for block in sampled_ranges(matrix, ["chr1", "chr2"], 10**6)) == sum(
        region.bins for region in regions
    )


def sums(errors: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Of (blocks, tracks) mean squared errors, each over 10 bins."""
    return {measure: (10 * errors, np.full(errors.shape, 10.0)) for measure in ("mse_global", "mse_1obs")}


def test_methods_are_compared_over_blocks_of_genome_and_track_by_track() -> None:
    model = np.array([[0.1, 0.6], [0.2, 0.5], [0.3, 0.4], [0.4, 0.3], [0.5, 0.2], [0.6, 0.1]])
    mixed = model + 0.1 * np.array([[1, 1], [-1, -1], [1, 1], [-1, -1], [1, 1], [-1, 1]])
    params = parameters()
    found = compare({"model": sums(model), "assay_mean": sums(model + 0.1), "pca": sums(mixed)}, ["a", "b"], params)
    assert {each.measure for each in found} == {"mse_global", "mse_1obs"}
    mean, pca = (next(each for each in found if each.baseline == name) for name in ("assay_mean", "pca"))
    assert (mean.won, mean.tracks, mean.verdict) == (2, 2, "beats")
    assert (mean.delta, mean.ci.low, mean.ci.high) == pytest.approx((-0.1, -0.1, -0.1))
    assert pca.verdict == "is indistinguishable from"
    assert pca.ci.low < 0 < pca.ci.high
    # Of track b, the signs are 4 of 6 worse for the baseline.
    assert pca.by_track["a"].delta == pytest.approx(0.0)
    assert pca.by_track["b"].delta == pytest.approx(-0.1 * (4 - 2) / 6)
    assert pca.tracks_ci is not None
    assert (pca.tracks_ci.low, pca.tracks_ci.high) == pytest.approx((-0.1 / 3, 0.0))
    assert "PCA" in sentence(found)


def test_an_interval_over_blocks_is_that_of_a_plain_bootstrap() -> None:
    random = np.random.default_rng(3)
    bins = random.integers(5, 50, size=(8, 1)) * np.ones((8, 3))
    model, other = bins * random.random((8, 3)), bins * random.random((8, 3))
    params = EvaluateParams(bootstrap=4_000)
    (found,) = compare(
        {"model": {"mse_global": (model, bins)}, "pca": {"mse_global": (other, bins)}}, ["a", "b", "c"], params
    )
    plain = []
    for _ in range(4_000):
        drawn = random.integers(0, 8, size=8)
        plain.append(((model - other)[drawn].sum(axis=0) / bins[drawn].sum(axis=0)).mean())
    assert found.delta == pytest.approx(((model - other).sum(axis=0) / bins.sum(axis=0)).mean())
    assert (found.ci.low, found.ci.high) == pytest.approx(np.quantile(plain, [0.025, 0.975]), abs=0.02)


def test_few_blocks_give_no_verdict() -> None:
    few = np.full((4, 6), 0.1)
    found = compare({"model": sums(few), "assay_mean": sums(few + 0.8)}, list("abcdef"), parameters())
    assert {(each.verdict, each.reason) for each in found} == {("not judged", "fewer than 5 independent regions")}
    assert "the network has no verdict against it everywhere (fewer than 5 independent regions)" in sentence(found)


def test_without_baselines_the_network_is_compared_with_nothing() -> None:
    assert "compared with nothing" in sentence([])


def test_blocks_are_regions_or_parts_of_long_ones(tiny: TinyEvaluation) -> None:
    matrix = Matrix(tiny.folder / "matrix")
    ranges = [each for region in matrix.regions_in(["chr1", "chr4"]) for each in region.cut(400)]
    whole = blocks_of(matrix, ranges, EvaluateParams())
    assert list(whole) == ranges
    assert {chrom: {whole[each] for each in ranges if each.chrom == chrom} for chrom in ("chr1", "chr4")} == {
        "chr1": {0},
        "chr4": {1},
    }
    parts = blocks_of(matrix, ranges, EvaluateParams(blocks_bp=20_000))
    assert [parts[each] for each in ranges] == sorted(parts.values())
    assert len(set(parts.values())) > 4


def test_a_pca_as_large_as_the_tracks_is_left_out_and_baselines_are_those_asked_for(tiny: TinyEvaluation) -> None:
    matrix = Matrix(tiny.folder / "matrix")
    moments = training_moments(matrix, matrix.blocks(matrix.manifest.split.train), lambda bins: None)
    model = NetworkImputer(lambda shown: shown, 0, SCALER)
    params = parameters(bins=1_000, baselines=["pca", "assay_mean"])
    for size, methods in ((6, ["model", "assay_mean"]), (5, ["model", "assay_mean", "pca"])):
        found = score_imputation(matrix, model, moments, size, GeneRegions([], 25), params, lambda bins: None)
        assert list(found.methods) == methods
        assert list(found.left_out) == ([] if "pca" in methods else ["pca"])


def test_evaluate_imputes_when_asked_to_and_keeps_what_it_found(tiny: TinyEvaluation, tmp_path: Path) -> None:
    params = {
        "folds": {"by": "chromosome", "count": 4},
        "classifier": {"trees": 2},
        "representations": ["embedding", "raw"],
        "bootstrap": 20,
        "threads": 1,
        "imputation": {
            "enabled": True,
            "folds": 2,
            "bins": 1_000,
            "factorisation": {"training_bins": 1_000, "epochs": 1, "steps": 1},
            "trees": {"count": 2},
            "training_bins": 500,
        },
    }
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"evaluate": params}))
    outputs = {"evaluation": tmp_path / "evaluation", "metrics": tmp_path / "metrics.json"}
    run_step(STEPS["evaluate"], tmp_path / "params.yaml", tiny.inputs | outputs, frozenset())
    results = read_results(tmp_path / "evaluation")
    assert results.imputation is not None
    assert set(results.imputation.methods) == set(IMPUTATION_METHODS)
    assert results.imputation.bins == results.reconstruction.bins
    # The tiny model's scaler is the identity, so the two spaces are one.
    for name, fit in nonempty(results.reconstruction.models.items()):
        measures = results.reconstruction.measures[name]
        assert measures.overall.mse_global == pytest.approx(fit.mse, rel=1e-4)
        assert measures.overall.mse_gene is not None
        assert {track: each.r2 for track, each in measures.tracks.items()} == pytest.approx(fit.track_r2, abs=1e-4)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["imputation"]["model"]["mse_1obs"] == results.imputation.methods["model"].overall.mse_1obs
