"""Short segments join their neighbours; features cover what a base-by-base count says."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from epilstm.outputs.segmentation.annotation import Intervals
from epilstm.outputs.segmentation.heatmap import grouped
from epilstm.outputs.segmentation.segments import without_short
from epilstm.outputs.segmentation.states import NO_STATE
from epilstm.outputs.segmentation.tables import order_by_similarity
from epilstm.tracks.identity import TrackSet


def runs(text: str) -> np.ndarray:
    """States from letters; '.' is a bin without data."""
    return np.array([NO_STATE if letter == "." else ord(letter) - ord("a") for letter in text], np.uint8)


@pytest.mark.parametrize(
    ("least", "before", "after"),
    [
        (1, "aabac", "aabac"),
        (2, "aaabaa", "aaaaaa"),  # between runs of one state, all three become one
        (2, "aabccc", "aacccc"),  # the longer neighbour
        (2, "aabcc", "aaacc"),  # the one before, where both are as long
        (3, "aaabcddd", "aaaaaddd"),  # b joins a, then c the longer a
        (3, "aa.bbb", "...bbb"),  # nothing is joined across a gap, and what is too short alone has no state
        (2, "ab.bbb", "bb.bbb"),  # the first of those as short
        (4, "ababab", "bbbbbb"),
        (2, "a", "."),
        (5, "..", ".."),
        (3, "", ""),
    ],
)
def test_short_runs_join_their_longer_neighbour(least, before, after):
    np.testing.assert_array_equal(without_short(runs(before), least), runs(after))


def test_no_run_is_short_and_only_intervals_with_data_that_are_lose_their_states():
    random = np.random.default_rng(1)
    states = random.integers(0, 4, 5_000).astype(np.uint8)
    states[random.random(5_000) < 0.1] = NO_STATE
    joined = without_short(states, 6)
    edges = np.flatnonzero(np.diff(joined, prepend=254, append=254))
    assert all(last - first >= 6 or joined[first] == NO_STATE for first, last in pairwise(edges))
    data = np.flatnonzero(np.diff((states != NO_STATE).astype(int), prepend=0, append=0)).reshape(-1, 2)
    lost = {(first, last) for first, last in data.tolist() if last - first < 6}
    assert len(lost) > 10
    for first, last in data.tolist():
        assert (joined[first:last] == NO_STATE).all() == ((first, last) in lost)


def test_covered_bases_are_those_of_a_count_base_by_base():
    random = np.random.default_rng(2)
    starts = random.integers(0, 950, 40)
    ends = starts + random.integers(1, 50, 40)
    intervals = [("chr1", start, end) for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
    bases = np.zeros(1_000)
    for _, start, end in intervals:
        bases[start:end] = 1
    edges = np.unique(np.concatenate([[0, 1_000], random.integers(0, 1_000, 30)]))
    found = Intervals.of(intervals).covered("chr1", edges)
    expected = [bases[a:b].sum() for a, b in pairwise(edges)]
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(Intervals.of(intervals).covered("chr2", edges), 0)


def test_a_feature_that_begins_before_the_chromosome_is_cut():
    covered = Intervals.of([("chr1", -1_500, 2_500)]).covered("chr1", np.array([0, 1_000, 3_000]))
    assert covered.tolist() == [1_000, 1_500]


def test_alike_states_are_neighbours_and_the_strongest_end_comes_first():
    rows = np.array([[0.0, 0.1], [5.0, 5.0], [0.2, 0.0], [4.0, 5.0], [2.0, 2.5]])
    assert order_by_similarity(rows)[0] in (1, 3)
    assert {*order_by_similarity(rows)[:2]} == {1, 3}
    assert {*order_by_similarity(rows)[-2:]} == {0, 2}
    assert order_by_similarity(rows[:2]) == [1, 0]


def test_many_tracks_are_shown_by_assay():
    tracks = [f"E{cell:03}-{assay}" for cell in range(30) for assay in ("H3K4me3", "DNase")]
    values = np.arange(120.0).reshape(2, 60)
    names, means = grouped(TrackSet.of_names(tracks), values)
    assert names == ["DNase (mean)", "H3K4me3 (mean)"]
    np.testing.assert_allclose(means[0], [values[0, 1::2].mean(), values[0, ::2].mean()])
    assert grouped(TrackSet.of_names(tracks[:4]), values[:, :4])[0] == [
        "E000-DNase",
        "E001-DNase",
        "E000-H3K4me3",
        "E001-H3K4me3",
    ]
