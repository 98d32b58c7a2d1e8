"""Means over wide windows, a cell type's own tracks, and what is fitted to both: against loops and scikit-learn."""

import numpy as np
import pytest
from sklearn.decomposition import NMF, PCA

from epilstm.errors import DataError
from epilstm.genome.bin_range import BinRange
from epilstm.genome.frames import spread_codes
from epilstm.params import EvaluateParams
from epilstm.representation_names import parse_name
from epilstm.representations.features import FrameValues, Means, Representation, pooled_features, pooled_frames
from epilstm.representations.pooling import WindowTable
from epilstm.scoring.prediction import PooledWindows
from epilstm.steps.evaluate.compared import Fitted, Ingredients, fit_wide, make
from epilstm.store.matrix import Matrix
from support.evaluate.factors import fit_factors, ingredients_of
from support.evaluate.tiny_evaluation import SPLIT, TRACKS, TinyEvaluation

#: Bins per frame of the tiny matrix; ten of them and more are counted in whole frames.
FRAME = 100
WINDOWS = WindowTable(np.array(["chr1", "chr2", "chr5"]), np.array([10, 650, 40]), np.array([900, 700, 60]))


@pytest.fixture
def matrix(tiny: TinyEvaluation, monkeypatch: pytest.MonkeyPatch) -> Matrix:
    monkeypatch.setattr("epilstm.store.bin_ranges.BLOCK_BINS", 700)
    return Matrix(tiny.folder / "matrix")


def whole(representation: Representation, matrix: Matrix, chrom: str) -> np.ndarray:
    return np.concatenate([representation.block(block) for block in matrix.blocks([chrom])])


def test_wide_means_are_those_of_the_frames_around_the_bins_own(tiny: TinyEvaluation, matrix: Matrix) -> None:
    region = next(region for region in matrix.regions if region.chrom == "chr1")
    reach = 10 * FRAME
    got = whole(Means(matrix, lambda rows: rows[:, 1:3], 2, [7, reach]), matrix, "chr1")
    values, mask = tiny.values["chr1"].astype(np.float64), tiny.mask["chr1"]
    for place in (region.first, 1_234, 2_345, region.last - 1):
        frame = place // FRAME
        window = slice(max((frame - 10) * FRAME, region.first), min((frame + 11) * FRAME, region.last))
        expected = values[window, 1:3][mask[window]].mean(axis=0)
        np.testing.assert_allclose(got[place - region.first, 2:], expected, atol=1e-5)
        near = slice(max(place - 7, region.first), min(place + 8, region.last))
        np.testing.assert_allclose(got[place - region.first, :2], values[near, 1:3][mask[near]].mean(axis=0), atol=1e-5)


def fitted(name: str, matrix: Matrix) -> Ingredients:
    plain = ingredients_of(matrix)
    wide = fit_wide([parse_name(name)], plain, matrix.blocks(SPLIT.train), fit_factors, ["A", "B"])
    return Ingredients(**{**vars(plain), "fitted": Fitted(plain.fitted.pca, {}, {}, wide)})


def train_rows(name: str, matrix: Matrix, of: Ingredients) -> np.ndarray:
    representation = make(parse_name(name), of)
    blocks = matrix.blocks(SPLIT.train)
    return np.concatenate([representation.block(block)[matrix.mask(block)] for block in blocks]).astype(np.float64)


#: Columns of cell type B in raw+means:250,30k of six tracks, of which B has the last three.
OWN_COLUMNS = [3, 4, 5, 9, 10, 11, 15, 16, 17]


def test_own_is_the_tracks_and_means_of_the_cell_type(matrix: Matrix) -> None:
    of = fitted("own(raw)", matrix)
    everything = whole(make(parse_name("raw+means:250,30k"), of), matrix, "chr2")
    own = make(parse_name("own(raw+means:250,30k)"), of, "B")
    assert own.size == 9
    # Parts stand side by side, so the tracks come first and then the means.
    np.testing.assert_array_equal(whole(own, matrix, "chr2"), everything[:, OWN_COLUMNS])


def test_a_pca_of_a_cell_types_own_tracks_is_that_of_their_standardised_columns(matrix: Matrix) -> None:
    of = fitted("own(pca:2(raw+means:250,30k))", matrix)
    rows = train_rows("raw+means:250,30k", matrix, of)[:, OWN_COLUMNS]
    expected = PCA(2, svd_solver="full").fit_transform((rows - rows.mean(axis=0)) / rows.std(axis=0))
    found = make(parse_name("own(pca:2(raw+means:250,30k))"), of, "B")
    blocks = matrix.blocks(SPLIT.train)
    got = np.concatenate([found.block(block)[matrix.mask(block)] for block in blocks])
    np.testing.assert_allclose(np.abs(got), np.abs(expected), atol=5e-3)


def test_factors_of_tracks_and_means_are_scikit_learns_on_the_lifted_columns(matrix: Matrix) -> None:
    of = fitted("nmf:2(raw+means:250)", matrix)
    rows = train_rows("raw+means:250", matrix, of)
    lifted = np.maximum(rows + np.tile(np.arange(len(TRACKS)), 2) + 5, 0)
    reference = NMF(2, init="nndsvda", max_iter=300, tol=1e-4, random_state=1).fit(lifted.astype(np.float32))
    found = make(parse_name("nmf:2(raw+means:250)"), of)
    block = matrix.blocks(SPLIT.test)[0]
    expected = np.maximum(make(parse_name("raw+means:250"), of).block(block) + np.tile(np.arange(6), 2) + 5, 0)
    error = np.square(found.block(block) @ reference.components_ - expected).mean()
    best = np.square(reference.transform(expected.astype(np.float32)) @ reference.components_ - expected).mean()
    assert error == pytest.approx(best, rel=0.02)


@pytest.mark.parametrize("pooling", [["mean"], ["mean", "context"], ["mean", "max", "std"]])
def test_features_of_composed_representations_are_those_of_their_bins(matrix: Matrix, pooling: list[str]) -> None:
    """What follows from other features is the same as a pass over the bins."""
    name = "pca:2(raw+means:30k)+own(raw+means:30k)+own(pca:2(raw+means:30k))"
    of = fitted(name, matrix)
    representation = make(parse_name(name), of, "A")
    params = EvaluateParams(pooling=pooling, context_bp=500)
    expected = pooled_features(representation, matrix, WINDOWS, pooling, 20)
    np.testing.assert_allclose(PooledWindows(matrix, WINDOWS, params).of(representation), expected, atol=1e-4)


def test_features_are_pooled_once_for_all_representations_that_share_them(
    matrix: Matrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = fitted("own(pca:2(raw+means:30k))", matrix)
    passes: list[object] = []

    def counted(representation: Representation, *rest: object) -> np.ndarray:
        passes.append(representation)
        return pooled_features(representation, *rest)  # type: ignore[arg-type]

    def counted_frames(values: FrameValues, *rest: object) -> np.ndarray:
        passes.append(values)
        return pooled_frames(values, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr("epilstm.scoring.prediction.pooled_features", counted)
    monkeypatch.setattr("epilstm.scoring.prediction.pooled_frames", counted_frames)
    pooled = PooledWindows(matrix, WINDOWS, EvaluateParams(pooling=["mean"]))
    for name in ("raw", "raw+means:30k", "own(raw+means:30k)", "own(pca:2(raw+means:30k))"):
        for cell in ("A", "B"):
            pooled.of(make(parse_name(name), of, cell))
    assert len(passes) == 2


def test_means_pooled_by_frame_and_by_bin_are_those_of_every_bin(matrix: Matrix) -> None:
    means = Means(matrix, lambda rows: rows[:, :2], 2, [7, 10 * FRAME, 20 * FRAME])
    near, frames = means.split()
    assert (near and near.size, frames and frames.size) == (2, 4)
    expected = pooled_features(means, matrix, WINDOWS, ["mean"])
    pooled = PooledWindows(matrix, WINDOWS, EvaluateParams(pooling=["mean"]))
    np.testing.assert_allclose(pooled.of(means), expected, atol=1e-5)


def test_means_whose_far_reaches_come_first_are_pooled_bin_by_bin(matrix: Matrix) -> None:
    means = Means(matrix, lambda rows: rows[:, :2], 2, [10 * FRAME, 7])
    assert means.split() == (means, None)


@pytest.mark.parametrize("interpolated", [False, True])
def test_windows_of_frames_values_are_means_over_their_bins_with_data(matrix: Matrix, interpolated: bool) -> None:
    codes = {
        region.chrom: np.random.default_rng(region.bins).normal(size=(-(-region.bins // FRAME), 3)).astype(np.float32)
        for region in matrix.regions
    }
    values = FrameValues(3, lambda region: codes[region.chrom], interpolated)
    first = np.array([0, 150, 199, 201, 333, 5, 700, 40])
    last = np.array([100, 250, 201, 202, 2_500, 5, 710, 60])
    windows = WindowTable(np.array(["chr1"] * 7 + ["chr2"]), first, last)
    expected = np.full((8, 3), np.nan)
    for row, (chrom, low, high) in enumerate(zip(windows.chroms.tolist(), first, last, strict=True)):
        region = matrix.regions_on(chrom)[0]
        known, own = matrix.mask(region)[low:high], codes[chrom]
        bins = spread_codes(own, region.bins, FRAME) if interpolated else np.repeat(own, FRAME, axis=0)
        if known.any():
            expected[row] = bins[low:high][known].mean(axis=0)
    assert np.isnan(expected[5]).all()
    assert np.isfinite(expected[[0, 1, 4, 7]]).all()
    np.testing.assert_allclose(pooled_frames(values, matrix, windows), expected, atol=1e-5)


def test_a_frame_with_data_and_no_values_is_an_error(matrix: Matrix) -> None:
    def lacking(region: BinRange) -> np.ndarray:
        found = np.zeros((-(-region.bins // FRAME), 1), np.float32)
        found[4] = np.nan
        return found

    with pytest.raises(DataError, match="frame 4 of a region of chr1 has data but no values; run embed again"):
        pooled_frames(FrameValues(1, lacking, interpolated=True), matrix, WINDOWS)


def test_factors_of_tracks_and_means_are_those_of_a_windows_mean(matrix: Matrix) -> None:
    of = fitted("nmf:2(raw+means:30k)", matrix)
    pooled = PooledWindows(matrix, WINDOWS, EvaluateParams(pooling=["mean"]))
    means = pooled.of(make(parse_name("raw+means:30k"), of))
    factors = make(parse_name("nmf:2(raw+means:30k)"), of)
    np.testing.assert_allclose(pooled.of(factors), factors.transform(means), atol=1e-5)
    some = pooled.of(factors, np.array([2]))
    np.testing.assert_allclose(some[2], pooled.of(factors)[2], atol=1e-5)
    assert np.isnan(some[:2]).all()
