"""Examples inside the covered regions, and intervals that share no bin."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from epilstm.genome.assembly import Region
from epilstm.genome.coverage import intervals_of, parts_of_regions, region_of

REGIONS = [Region("chr2", 100, 200), Region("chr1", 500, 900), Region("chr1", 0, 50)]


def place(*windows: tuple[str, int, int]) -> int:
    chroms, starts, ends = (np.array([column]) for column in zip(*windows, strict=True))
    return int(region_of(chroms, starts, ends, REGIONS)[0])


def test_a_window_must_lie_entirely_inside_one_region() -> None:
    assert place(("chr1", 500, 900)) == 1
    assert place(("chr1", 0, 50)) == 2
    assert place(("chr2", 100, 101)) == 0
    assert place(("chr1", 499, 600)) == -1
    assert place(("chr1", 800, 901)) == -1
    assert place(("chr1", -10, 20)) == -1
    assert place(("chr1", 40, 510)) == -1
    assert place(("chr9", 0, 10)) == -1


def test_all_windows_must_lie_in_the_same_region() -> None:
    assert place(("chr1", 510, 520), ("chr1", 600, 700)) == 1
    assert place(("chr1", 510, 520), ("chr1", 0, 10)) == -1
    assert place(("chr1", 510, 520), ("chr2", 110, 120)) == -1


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(5, 60))
def test_examples_of_different_intervals_share_no_bin(seed: int, n: int, interval: int) -> None:
    random = np.random.default_rng(seed)
    region = random.integers(0, 3, n)
    first = random.integers(0, 300, n)
    last = first + random.integers(1, 30, n)
    number = intervals_of(region, first, last, interval)
    for i in range(n):
        for j in range(i):
            if number[i] != number[j]:
                assert region[i] != region[j] or last[i] <= first[j] or last[j] <= first[i]
            else:
                assert region[i] == region[j]
    assert set(number.tolist()) == set(range(number.max() + 1))


def test_long_regions_are_cut_and_short_ones_are_not() -> None:
    first = np.arange(0, 100, 5)
    assert intervals_of(np.zeros(20, int), first, first + 5, 51).max() == 0
    assert np.bincount(intervals_of(np.zeros(20, int), first, first + 5, 25)).tolist() == [5, 5, 5, 5]


def test_at_fixed_cuts_examples_that_reach_over_one_are_in_no_part() -> None:
    region = np.array([0, 0, 0, 0, 1, 0])
    first, last = np.array([0, 40, 52, 99, 7, 50]), np.array([10, 51, 60, 100, 9, 50])
    assert parts_of_regions(region, first, last, 50).tolist() == [0, -1, 1, 1, 2, 1]
    assert parts_of_regions(region, first, last, 51).tolist() == [0, 0, 0, 0, 1, 0]
