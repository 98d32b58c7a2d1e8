"""Ridge and trees per track with neighbouring bins, against independent ones."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from epilstm.genome.bin_range import BinRange
from epilstm.model.neighbourhood import neighbour_features
from epilstm.params import ImputationParams, TreesParams
from epilstm.steps.evaluate.excerpts import RowsInContext
from epilstm.steps.evaluate.neighbour_imputers import (
    RidgeImputer,
    TreesImputer,
    training_features,
)
from epilstm.store.manifests import Scaler
from epilstm.store.matrix import Matrix
from epilstm.store.moments import Moments
from support.evaluate.tiny_evaluation import TRACKS, TinyEvaluation

NAMES = [("A", "one"), ("B", "one"), ("A", "two"), ("B", "two"), ("C", "two")]
SCALER = Scaler(tracks=[f"{c}-{a}" for c, a in NAMES], mean=[0.5, 0.2, 1.0, 0.7, 0.3], scale=[0.5, 1.0, 2.0, 1.5, 0.7])
WINDOW = [1, 3]
TREES = TreesParams(count=40, depth=3, features=1.0)


def rows(bins: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(bins, len(NAMES))).astype(np.float32)


def design(values: np.ndarray, tracks: list[int]) -> np.ndarray:
    """The tracks at each bin and their means before and after it, by a plain loop."""
    found = []
    for bin_ in range(len(values)):
        row = [values[bin_, track] for track in tracks]
        for bins in WINDOW:
            for near in (values[max(0, bin_ - bins) : bin_], values[bin_ + 1 : bin_ + 1 + bins]):
                row += [near[:, track].mean() if len(near) else 0.0 for track in tracks]
        found.append(row)
    return np.array(found)


def moments_of(features: np.ndarray) -> Moments:
    moments = Moments(features.shape[1])
    moments.add(features)
    return moments


def test_features_are_the_tracks_at_a_bin_and_their_means_on_either_side() -> None:
    values = rows(30, 1)
    found = neighbour_features(values, slice(0, 30), WINDOW)
    np.testing.assert_allclose(found, design(values, list(range(5))), atol=1e-5)
    np.testing.assert_array_equal(neighbour_features(values, slice(4, 9), WINDOW), found[4:9])


def test_ridge_is_sklearns_on_the_same_design_matrix() -> None:
    training, test, hidden = rows(400, 2), rows(60, 3), np.array([1, 4])
    for values in (training, test):
        values[1:, 1] += values[:-1, 0]  # what is hidden follows from the bin before
    ridge = RidgeImputer(moments_of(neighbour_features(training, slice(None), WINDOW)), WINDOW, 7.0, SCALER)
    found = ridge(RowsInContext(test, slice(5, 50)), hidden)
    seen = [0, 2, 3]
    expected = Ridge(alpha=7.0).fit(design(training, seen), training[:, hidden]).predict(design(test, seen))[5:50]
    expected = expected * np.array(SCALER.scale)[hidden] + np.array(SCALER.mean)[hidden]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
    signal = test[5:50, 1] * SCALER.scale[1] + SCALER.mean[1]
    assert np.mean((found[:, 0] - signal) ** 2) < 0.7 * signal.var()


def trees_on(training: np.ndarray, threads: int = 1) -> TreesImputer:
    return TreesImputer(NAMES, neighbour_features(training, slice(None), WINDOW), WINDOW, TREES, SCALER, 1, threads)


def skill(training: np.ndarray, test: np.ndarray, hidden: np.ndarray) -> float:
    """R2 of the first hidden track."""
    found = trees_on(training)(RowsInContext(test, slice(None)), hidden)[:, 0]
    signal = test[:, hidden[0]] * SCALER.scale[hidden[0]] + SCALER.mean[hidden[0]]
    return float(1 - np.mean((found - signal) ** 2) / signal.var())


def test_trees_have_no_skill_where_only_hidden_tracks_inform() -> None:
    training, test = rows(1_500, 4), rows(500, 5)
    for values in (training, test):
        values[:, 1] = values[:, 3]
    assert skill(training, test, np.array([1, 3])) < 0.05
    assert skill(training, test, np.array([1, 4])) > 0.9


@pytest.mark.parametrize("source", [0, 3])
def test_trees_see_the_neighbouring_bins_of_the_same_assay_and_of_the_same_cell_type(source: int) -> None:
    training, test = rows(1_500, 6), rows(500, 7)
    for values in (training, test):
        values[1:, 1] = values[:-1, source]  # track 1 is B-one; 0 is A-one, 3 is B-two
    assert skill(training, test, np.array([1])) > 0.9


def test_trees_do_not_depend_on_threads_or_on_what_is_hidden() -> None:
    training, test, hidden = rows(300, 8), rows(50, 9), np.array([0, 3])
    other = test.copy()
    other[:, hidden] = 9
    found = trees_on(training)(RowsInContext(test, slice(None)), hidden)
    np.testing.assert_array_equal(found, trees_on(training, threads=2)(RowsInContext(other, slice(None)), hidden))
    ridge = RidgeImputer(moments_of(neighbour_features(training, slice(None), WINDOW)), WINDOW, 7.0, SCALER)
    np.testing.assert_array_equal(
        ridge(RowsInContext(test, slice(None)), hidden), ridge(RowsInContext(other, slice(None)), hidden)
    )


def test_training_bins_are_drawn_from_bins_with_data_and_know_their_neighbours(tiny: TinyEvaluation) -> None:
    matrix = Matrix(tiny.folder / "matrix")
    region = matrix.regions_in(["chr1"])[0]
    ranges = [BinRange("chr1", region.first + 500, region.first + 1_500)]
    every = training_features(matrix, ranges, 10**6, WINDOW, 1)
    wide = matrix.rows(BinRange("chr1", region.first + 400, region.first + 1_600))
    expected = neighbour_features(wide, slice(100, 1_100), WINDOW)[matrix.mask(ranges[0])]
    np.testing.assert_array_equal(every, expected)
    some = training_features(matrix, ranges, 300, WINDOW, 1)
    assert some.shape[1] == len(TRACKS) * 5
    assert 200 < len(some) < 400
    assert {row.tobytes() for row in some} <= {row.tobytes() for row in every}


@pytest.mark.parametrize("given", [{"baselines": ["pca", "pca"]}, {"window": [5, 5]}])
def test_what_is_listed_twice_is_refused(given: dict[str, list]) -> None:
    with pytest.raises(ValueError, match=r"(pca|5) is listed twice"):
        ImputationParams(**given)
