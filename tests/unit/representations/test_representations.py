"""What is compared, block by block, and how well it reconstructs; against whole-array references."""

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression

from epilstm.errors import DataError, ParamsError
from epilstm.genome.bin_range import BinRange
from epilstm.model.chunks import CONTEXT_BINS
from epilstm.model.folder import load_model, untrained_model
from epilstm.model.windows import encode_bins, reconstruct_bins
from epilstm.params import EvaluateParams, validate
from epilstm.representation_names import parse_name
from epilstm.representations.features import (
    Embedding,
    Means,
    Network,
    PrincipalComponents,
    RawTracks,
    SideBySide,
    pooled_features,
)
from epilstm.representations.pca import Pca, fit_pca
from epilstm.representations.pooling import WindowTable
from epilstm.steps.evaluate.compared import fit_wide, require_own_codes
from epilstm.steps.evaluate.compared import make as representation_of
from epilstm.steps.evaluate.reconstruction import (
    reconstruction_score,
    score_reconstruction,
    training_moments,
)
from epilstm.store.arrays import create_bin_array, open_group
from epilstm.store.matrix import Matrix
from epilstm.store.moments import Moments
from epilstm.store.shards import BinArray
from support.evaluate.factors import fit_factors, ingredients_of
from support.evaluate.tiny_evaluation import BIN, CHUNK_BINS, EMBEDDING_SIZE, SPLIT, TRACKS, TinyEvaluation, make
from support.nonempty import nonempty


@pytest.fixture
def matrix(tiny: TinyEvaluation, monkeypatch: pytest.MonkeyPatch) -> Matrix:
    monkeypatch.setattr("epilstm.store.bin_ranges.BLOCK_BINS", 700)
    return Matrix(tiny.folder / "matrix")


def with_data(tiny: TinyEvaluation, chromosomes: list[str]) -> np.ndarray:
    return np.concatenate([tiny.values[c][tiny.mask[c]] for c in chromosomes]).astype(np.float64)


def test_blocks_cover_each_region_once(matrix: Matrix) -> None:
    blocks = matrix.blocks()
    for region in nonempty(matrix.regions):
        own = [block for block in blocks if block.chrom == region.chrom]
        assert own[0].first == region.first
        assert own[-1].last == region.last
        assert all(a.last == b.first and a.bins <= 700 for a, b in itertools.pairwise(own))
        assert len(own) > 1


def test_blocks_end_where_chunks_do_so_that_each_chunk_is_read_once(
    matrix: Matrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = []
    decode = BinArray._decode

    def counted(array: BinArray, stored: bytes, into: np.ndarray, *place: int) -> None:
        decoded.append(len(into))
        decode(array, stored, into, *place)

    monkeypatch.setattr(BinArray, "_decode", counted)
    for block in matrix.blocks():
        matrix.rows(block)
    assert len(decoded) == sum(-(-region.last // CHUNK_BINS) for region in matrix.regions)


def test_a_region_that_starts_within_a_chunk_is_cut_at_whole_chunks() -> None:
    blocks = [(block.first, block.last) for block in BinRange("chr1", 130, 1270).cut(500)]
    assert blocks == [(130, 500), (500, 1000), (1000, 1270)]
    assert BinRange("chr1", 500, 1000).cut(500) == [BinRange("chr1", 500, 1000)]
    assert BinRange("chr1", 600, 700).cut(500) == [BinRange("chr1", 600, 700)]


def test_a_chunk_longer_than_a_block_may_be_is_a_block(tiny: TinyEvaluation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("epilstm.store.bin_ranges.BLOCK_BINS", 70)
    assert {block.bins for block in Matrix(tiny.folder / "matrix").blocks(["chr1"])} == {CHUNK_BINS}


def test_covered_regions_end_where_the_data_do(tiny: TinyEvaluation, matrix: Matrix) -> None:
    for region in nonempty(matrix.covered()):
        filled = np.flatnonzero(tiny.mask[region.chrom])
        assert (region.start, region.end) == (filled[0] * BIN, (filled[-1] + 1) * BIN)
    assert [region.chrom for region in matrix.covered()] == list(tiny.mask)


def test_features_of_raw_tracks_are_means_over_bins_with_data(tiny: TinyEvaluation, matrix: Matrix) -> None:
    windows = WindowTable(np.array(["chr2", "chr1", "chr1"]), np.array([650, 0, 90]), np.array([1500, 30, 90]))
    features = pooled_features(RawTracks(matrix), matrix, windows, ["mean"])
    for row, (chrom, first, last) in enumerate([("chr2", 650, 1500), ("chr1", 0, 30)]):
        part = tiny.values[chrom][first:last][tiny.mask[chrom][first:last]].astype(np.float64)
        np.testing.assert_allclose(features[row], part.mean(axis=0), rtol=1e-5, atol=1e-6)
    assert np.isnan(features[2]).all()


def test_features_of_the_embedding_ignore_bins_without_data(tiny: TinyEvaluation, matrix: Matrix) -> None:
    windows = WindowTable(np.array(["chr1"]), np.array([100]), np.array([1900]))
    features = pooled_features(Embedding(matrix, tiny.folder / "embeddings"), matrix, windows, ["mean", "max"])
    part = tiny.embedding["chr1"][100:1900]
    expected = np.concatenate([np.nanmean(part, axis=0), np.nanmax(part, axis=0)])
    np.testing.assert_allclose(features[0], expected, rtol=1e-5, atol=1e-6)


def test_means_are_those_of_the_bins_with_data_around_within_the_region(tiny: TinyEvaluation, matrix: Matrix) -> None:
    means = Means(matrix, lambda rows: rows[:, :2], 2, [3, 40])
    region = next(region for region in matrix.regions if region.chrom == "chr2")
    values, mask = (each["chr2"][region.first : region.last] for each in (tiny.values, tiny.mask))
    expected = np.zeros((region.bins, 4))
    for place in range(region.bins):
        for column, reach in enumerate((3, 40)):
            window = slice(max(place - reach, 0), place + reach + 1)
            rows = values[window, :2].astype(np.float64)[mask[window]]
            expected[place, 2 * column : 2 * column + 2] = rows.mean(axis=0) if len(rows) else 0
    got = np.concatenate([means.block(block) for block in matrix.blocks(["chr2"])])
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_a_pca_of_tracks_and_means_is_that_of_their_standardised_columns(matrix: Matrix) -> None:
    blocks = matrix.blocks(SPLIT.train)
    name = parse_name("pca:4(raw+means:250,2k)")
    [pca] = fit_wide([name], ingredients_of(matrix), blocks, fit_factors).values()
    assert isinstance(pca, Pca)
    whole = SideBySide([RawTracks(matrix), Means(matrix, lambda rows: rows, len(TRACKS), [10, 80])])
    rows = np.concatenate([whole.block(block)[matrix.mask(block)] for block in blocks]).astype(np.float64)
    standard = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    expected = PCA(4, svd_solver="full").fit_transform(standard)
    got = pca.transform(rows, 4)
    np.testing.assert_allclose(np.abs(got), np.abs(expected), atol=2e-3)


def test_a_cell_types_own_code_is_its_columns_of_the_embedding(matrix: Matrix) -> None:
    of = replace(ingredients_of(matrix), bin_code=3, own_codes={"A": np.array([0, 4]), "B": np.array([2, 3, 5])})
    block = matrix.blocks(["chr1"])[0]
    rows = matrix.rows(block)
    for name, cell, columns in (
        ("own(embedding)", "A", [0, 4]), ("own(bin_code)", "B", [2]), ("own(context_code)", "B", [3, 5]),
        ("own(embedding+raw)", "A", [0, 4, 0, 1, 2]),
    ):  # fmt: skip
        found = representation_of(parse_name(name), of, cell)
        np.testing.assert_array_equal(found.block(block), rows[:, columns])


def test_a_cell_types_own_code_of_a_model_of_all_tracks_is_refused() -> None:
    params = validate(EvaluateParams, {"representations": ["embedding", "own(context_code)"]}, "evaluate")
    with pytest.raises(ParamsError, match="the model has one code of all tracks"):
        require_own_codes(params, by_cell_type=False)
    require_own_codes(params, by_cell_type=True)


def test_a_networks_blocks_join_to_what_it_makes_of_the_whole_region(tiny: TinyEvaluation, matrix: Matrix) -> None:
    network = untrained_model(load_model(tiny.folder / "model")[1])
    blockwise = Network(matrix, lambda rows: encode_bins(network, rows), EMBEDDING_SIZE, CONTEXT_BINS)
    joined = np.concatenate([blockwise.block(block) for block in matrix.blocks(["chr1"])])
    whole = encode_bins(network, matrix.rows(matrix.regions[0]))
    np.testing.assert_allclose(joined, whole, atol=2e-5)


def test_a_bin_with_data_but_without_embedding_is_named(tmp_path: Path) -> None:
    import zarr

    own = make(tmp_path / "own")
    position = int(np.flatnonzero(own.mask["chr2"])[5])
    zarr.open_group(own.folder / "embeddings" / "embeddings.zarr", mode="r+")["chr2"][position] = np.nan
    embedding = Embedding(Matrix(own.folder / "matrix"), own.folder / "embeddings")
    with pytest.raises(DataError, match=f"bin {position} of chr2 has data but no embedding"):
        embedding.block(BinRange("chr2", 0, 100))
    assert "chr2" in open_group(own.folder / "embeddings" / "embeddings.zarr")


def test_the_last_frame_may_reach_past_the_chromosomes_end_where_no_embeddings_are(tmp_path: Path) -> None:
    import zarr

    own, bins = make(tmp_path / "own"), 1_780  # the matrix has 18 frames of 100 bins
    mask = zarr.open_group(own.folder / "matrix" / "mask.zarr", mode="r+")["chr5"]
    mask[bins:] = False
    manifest = json.loads((own.folder / "matrix" / "manifest.json").read_text())
    manifest["bins_with_data"]["chr5"] = int(mask[:].sum())
    (own.folder / "matrix" / "manifest.json").write_text(json.dumps(manifest))
    (path := own.folder / "embeddings" / "embeddings.zarr" / "chr5").rename(tmp_path / "longer")
    group = zarr.open_group(path.parent, mode="r+")
    create_bin_array(group, "chr5", bins, EMBEDDING_SIZE, "float32", "none", np.nan)[:] = own.embedding["chr5"][:bins]
    matrix = Matrix(own.folder / "matrix")
    embedding = Embedding(matrix, own.folder / "embeddings")
    values = embedding.block(BinRange("chr5", 1_700, 1_800))
    np.testing.assert_array_equal(values[:80], own.embedding["chr5"][1_700:bins])
    assert len(values) == 100
    assert np.isnan(values[80:]).all()
    windows = WindowTable(np.array(["chr5"]), np.array([1_700]), np.array([1_800]))
    expected = np.nanmean(own.embedding["chr5"][1_700:bins], axis=0)
    np.testing.assert_allclose(pooled_features(embedding, matrix, windows, ["mean"])[0], expected, rtol=1e-5)


def test_pca_is_fitted_on_the_training_chromosomes_alone(tiny: TinyEvaluation, matrix: Matrix) -> None:
    pca = fit_pca(training_moments(matrix, matrix.blocks(SPLIT.train), lambda bins: None))
    reference = PCA(2).fit(with_data(tiny, SPLIT.train))
    block = BinRange("chr5", 100, 300)
    found = PrincipalComponents(matrix, pca, 2).block(block)
    expected = reference.transform(matrix.rows(block).astype(np.float64))
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-4)


def test_pca_of_more_dimensions_than_tracks_keeps_them_all(matrix: Matrix) -> None:
    pca = fit_pca(training_moments(matrix, matrix.blocks(SPLIT.train), lambda bins: None))
    assert PrincipalComponents(matrix, pca, 50).size == len(TRACKS)


def test_a_pca_that_gives_all_tracks_back_is_left_out_of_the_reconstruction(
    tiny: TinyEvaluation, matrix: Matrix
) -> None:
    pca = fit_pca(training_moments(matrix, matrix.blocks(SPLIT.train), lambda bins: None))
    raw = RawTracks(matrix)
    scaler = load_model(tiny.folder / "model")[1].scaler
    found = score_reconstruction(
        matrix, raw, raw, pca, len(TRACKS), matrix.blocks(SPLIT.test), lambda bins: None, scaler
    )
    assert list(found.models) == list(found.measures) == ["model", "untrained"]
    assert found.left_out == {"pca": "as many components as there are tracks: that is the raw tracks, rotated"}
    assert [point.size for point in found.pca_curve] == [1, 2, 3, 4, 5]
    assert found.models["model"].r2 == 1.0


def test_reconstruction_equals_computing_it_from_whole_arrays(tiny: TinyEvaluation, matrix: Matrix) -> None:
    trained, manifest = load_model(tiny.folder / "model")
    network = untrained_model(manifest)
    untrained = Network(matrix, lambda rows: encode_bins(network, rows), EMBEDDING_SIZE, CONTEXT_BINS)
    model = Network(matrix, lambda rows: reconstruct_bins(trained, rows), len(TRACKS), CONTEXT_BINS)
    pca = fit_pca(training_moments(matrix, matrix.blocks(SPLIT.train), lambda bins: None))
    advanced: list[int] = []
    found = score_reconstruction(
        matrix, model, untrained, pca, EMBEDDING_SIZE, matrix.blocks(SPLIT.test), advanced.append
    )
    assert sum(advanced) == sum(block.bins for block in matrix.blocks(SPLIT.train) + matrix.blocks(SPLIT.test))

    train, truth = with_data(tiny, SPLIT.train), with_data(tiny, SPLIT.test)
    total = ((truth - truth.mean(axis=0)) ** 2).sum(axis=0)

    def r2(rebuilt: np.ndarray) -> float:
        return float(1 - ((rebuilt - truth) ** 2).sum() / total.sum())

    def encoded(chromosomes: list[str]) -> np.ndarray:
        parts = []
        for region in [each for each in matrix.regions if each.chrom in chromosomes]:
            parts.append(encode_bins(network, matrix.rows(region))[matrix.mask(region)])
        return np.concatenate(parts).astype(np.float64)

    assert found.bins == len(truth)
    assert found.chromosomes == SPLIT.test
    reference = PCA(EMBEDDING_SIZE).fit(train)
    assert found.models["pca"].r2 == pytest.approx(
        r2(reference.inverse_transform(reference.transform(truth))), abs=1e-6
    )
    readout = LinearRegression().fit(encoded(SPLIT.train), train)
    assert found.models["untrained"].r2 == pytest.approx(r2(readout.predict(encoded(SPLIT.test))), abs=1e-4)
    region = next(each for each in matrix.regions if each.chrom == "chr5")
    rebuilt = reconstruct_bins(trained, matrix.rows(region))[matrix.mask(region)]
    assert found.models["model"].r2 == pytest.approx(r2(rebuilt), abs=1e-5)
    assert found.models["model"].mse == pytest.approx(((rebuilt - truth) ** 2).mean(), rel=1e-5)
    per_track = 1 - ((rebuilt - truth) ** 2).sum(axis=0) / total
    assert list(found.models["model"].track_r2.values()) == pytest.approx(per_track.tolist(), abs=1e-5)
    assert [point.size for point in found.pca_curve] == [1, 2, 3, 4, 5]  # 6 are the tracks themselves
    assert found.left_out == {}
    assert found.pca_curve[2].r2 == found.models["pca"].r2


def test_a_constant_track_has_no_r2() -> None:
    true = Moments(2)
    true.add(np.array([[3.1, 0.0], [3.1, 1.0], [3.1, 2.0]]))
    found = reconstruction_score(np.array([0.0, 0.5]), true, ["flat", "varied"])
    assert found.track_r2 == {"flat": None, "varied": pytest.approx(0.75)}
    assert found.r2 == pytest.approx(0.75)
