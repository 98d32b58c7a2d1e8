"""The search, compared with every placement computed by itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epilstm.outputs.similarity import search
from epilstm.outputs.similarity.search import find_similar


def runs_of(seed: int, lengths: list[int], size: int = 3):
    rng = np.random.default_rng(seed)
    runs = []
    for number, length in enumerate(lengths):
        vectors = rng.normal(size=(length, size)).astype(np.float32)
        vectors[rng.random(length) < 0.1] = np.nan
        runs.append((f"chr{number // 2 + 1}", 100 * (number % 2), vectors))
    return runs


def every_placement(query, runs):
    """(distance, chrom, first, reverse) of each place with data, by the definition."""
    found = []
    for chrom, first, vectors in runs:
        for start in range(len(vectors) - len(query) + 1):
            place = vectors[start : start + len(query)].astype(np.float64)
            apart = [np.sqrt(((place - each) ** 2).mean()) for each in (query, query[::-1])]
            if np.isfinite(apart[0]):
                found.append((min(apart), chrom, first + start, apart[1] < apart[0]))
    return sorted(found)


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 30))
def test_hits_are_the_closest_placements_that_do_not_overlap(seed, length, top):
    runs = runs_of(seed, [30, 12, 3, 25])
    query = np.random.default_rng(seed + 1).normal(size=(length, 3)).astype(np.float32)
    expected: list[tuple] = []
    for place in every_placement(query, runs):
        if all(place[1] != other[1] or abs(place[2] - other[2]) >= length for other in expected):
            expected.append(place)
    hits = find_similar(query, runs, top)
    assert [(hit.chrom, hit.first, hit.reverse) for hit in hits] == [tuple(place[1:]) for place in expected[:top]]
    np.testing.assert_allclose([hit.distance for hit in hits], [place[0] for place in expected[:top]], atol=1e-5)


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 4))
def test_p_is_the_share_of_placements_that_are_as_close(seed, length):
    runs = runs_of(seed, [30, 12])
    query = np.random.default_rng(seed + 1).normal(size=(length, 3)).astype(np.float32)
    distances = np.array([place[0] for place in every_placement(query, runs)])
    for hit in find_similar(query, runs, 10):
        assert hit.p == pytest.approx((distances <= hit.distance + 1e-6).mean())


def test_the_query_itself_is_no_hit():
    runs = runs_of(3, [40])
    query = np.array(runs[0][2][20:23])
    query = np.where(np.isnan(query), 0, query)
    runs[0][2][20:23] = query
    (itself,) = find_similar(query, runs, 1)
    assert (itself.first, itself.distance) == (20, pytest.approx(0, abs=1e-3))
    for hit in find_similar(query, runs, 100, ("chr1", 20, 23)):
        assert hit.last <= 20 or hit.first >= 23


def test_a_query_read_from_its_end_is_found():
    runs = runs_of(5, [50])
    runs[0][2][30:34] = query = np.arange(12, dtype=np.float32).reshape(4, 3)
    (hit,) = find_similar(query[::-1], runs, 1)
    assert (hit.first, hit.reverse, hit.distance) == (30, True, pytest.approx(0, abs=1e-3))


def test_blocks_change_nothing(monkeypatch):
    runs = runs_of(6, [90, 40])
    query = np.random.default_rng(1).normal(size=(3, 3)).astype(np.float32)
    whole = find_similar(query, runs, 20)
    monkeypatch.setattr(search, "BLOCK_WINDOWS", 7)
    assert find_similar(query, runs, 20) == whole


def test_a_query_longer_than_every_region_has_no_hits():
    assert find_similar(np.zeros((50, 3), np.float32), runs_of(1, [30, 12]), 5) == []
