"""Distance between bins against how far apart they lie."""

import numpy as np
import pytest
from scipy.spatial.distance import cosine

from epilstm.errors import DataError
from epilstm.figures.smoothness import RANDOM_PAIRS, measure, spaced_lags
from support.plot.embedded import Chosen, intervals


def walk(bins=300, size=3, seed=0):
    return np.cumsum(np.random.default_rng(seed).normal(size=(bins, size)), axis=0)


def looped(values, mask, parts, lag, distance):
    """Mean distance, pair by pair."""
    found = [
        distance(values[at], values[at + lag])
        for part in parts
        for at in range(part.first, part.last - lag)
        if mask[at] and mask[at + lag]
    ]
    return np.mean(found), len(found)


@pytest.mark.parametrize("kind", ["euclidean", "cosine"])
def test_the_mean_distance_at_a_lag_is_that_of_all_pairs_with_data_inside_an_interval(kind):
    values = walk().astype(np.float32)
    mask = np.random.default_rng(1).random(300) < 0.8
    chosen, parts = Chosen(values, mask), intervals(0, 120, 300)
    found = measure(chosen, chosen, parts, np.array([1, 2, 7, 60]), kind)
    # Fewer bins than a pool holds: vectors are seen from the mean of all that have data.
    seen_from = values[mask].mean(axis=0)
    distance = (
        (lambda a, b: np.linalg.norm(a - b))
        if kind == "euclidean"
        else (lambda a, b: cosine(a - seen_from, b - seen_from))
    )
    for at, lag in enumerate(found.lags):
        mean, pairs = looped(values, mask, parts, lag, distance)
        assert found.pairs[at] == pairs
        assert found.distance[at] * found.random == pytest.approx(mean, rel=1e-4)
    assert (found.low <= found.distance).all()
    assert (found.distance <= found.high).all()


def test_the_unit_is_the_mean_distance_of_two_different_bins_with_data():
    values = np.random.default_rng(2).normal(size=(200, 4)).astype(np.float32)
    mask = np.arange(200) % 5 > 0
    values[~mask] = 1e6
    chosen = Chosen(values, mask)
    found = measure(chosen, chosen, intervals(0, 200), np.array([1]))
    known = values[mask].astype(np.float64)
    all_pairs = np.linalg.norm(known[:, None] - known, axis=2)
    exact = all_pairs.sum() / (len(known) * (len(known) - 1))
    assert found.random == pytest.approx(exact, rel=6 / np.sqrt(RANDOM_PAIRS))


def test_bins_that_do_not_follow_from_each_other_are_as_far_apart_as_random_ones():
    chosen = Chosen(np.random.default_rng(3).normal(size=(4000, 5)))
    found = measure(chosen, chosen, intervals(0, 2000, 4000), spaced_lags(500))
    np.testing.assert_allclose(found.distance, 1, atol=0.05)


def test_lags_rise_from_one_to_the_largest_without_repeating():
    for largest in (1, 2, 10, 4000):
        lags = spaced_lags(largest)
        assert lags[0] == 1
        assert lags[-1] == largest
        assert (np.diff(lags) > 0).all()


@pytest.mark.parametrize(
    ("values", "mask", "lag", "message"),
    [
        (np.ones((50, 2)), None, 1, "the same vector at every bin"),
        (walk(50), np.arange(50) < 1, 1, "fewer than two bins have data"),
        (walk(50), np.arange(50) < 5, 20, "no two bins with data lie 20 bins apart"),
    ],
    ids=["constant", "no-data", "too-far"],
)
def test_what_has_no_smoothness_is_refused(values, mask, lag, message):
    chosen = Chosen(values, mask)
    with pytest.raises(DataError, match=message):
        measure(chosen, chosen, intervals(0, 50), np.array([lag]))
