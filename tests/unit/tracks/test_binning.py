"""Mean per bin, compared with a plain loop over base pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epilstm.tracks.bigwig import Intervals
from epilstm.tracks.binning import (
    HISTOGRAM_BINS,
    HISTOGRAM_EDGES,
    SignalSummary,
    UnusableSignal,
    bin_means,
    bin_means_and_empty,
    histogram,
)
from epilstm.tracks.signal_transform import UNCOVERED, Uncovered
from support.ingest.bigwig_files import Interval, mean_per_bin


def block(*intervals: Interval) -> Intervals:
    starts, ends, values = zip(*intervals, strict=True)
    return Intervals(np.array(starts, np.uint32), np.array(ends, np.uint32), np.array(values, np.float32))


@st.composite
def signals(draw: st.DrawFn) -> list[Interval]:
    """Intervals with gaps, of 1 to 80 bases, some without a value."""
    intervals, at = [], 0
    value = st.one_of(st.just(float("nan")), st.floats(-100, 1000, width=32))
    for gap, length, number in draw(st.lists(st.tuples(st.integers(0, 70), st.integers(1, 80), value), max_size=12)):
        intervals.append((at + gap, at + gap + length, number))
        at += gap + length
    return intervals


@settings(deadline=None, max_examples=200)
@given(
    intervals=signals(),
    first=st.integers(0, 10),
    length=st.integers(1, 700),
    bin_size=st.integers(1, 60),
    blocks=st.integers(1, 4),
)
def test_bin_means_equal_a_loop_over_bases(
    intervals: list[Interval], first: int, length: int, bin_size: int, blocks: int
) -> None:
    start, end = first * bin_size, first * bin_size + length
    step = -(-len(intervals) // blocks) or 1
    pieces = [block(*intervals[k : k + step]) for k in range(0, len(intervals), step)]
    means = bin_means(pieces, start, end, bin_size)
    expected = mean_per_bin(intervals, start, end, bin_size)
    covered = mean_per_bin([(a, b, 0 * value + 1) for a, b, value in intervals], start, end, bin_size)
    over_covered = bin_means(pieces, start, end, bin_size, "missing")
    np.testing.assert_allclose(over_covered, expected / covered, rtol=1e-5, atol=1e-3)
    assert means.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(means), np.isnan(expected))
    np.testing.assert_allclose(means, expected, rtol=1e-6, atol=1e-4)  # rounding of float32; sums may cancel


def test_bins_without_any_covered_base_are_nan() -> None:
    np.testing.assert_array_equal(bin_means([block((0, 1, 0.0), (50, 60, 5.0))], 0, 75, 25), [0.0, np.nan, 2.0])


def test_uncovered_bases_count_as_zero() -> None:
    assert bin_means([block((10, 15, 5.0))], 0, 25, 25).tolist() == [1.0]


def test_the_mean_is_over_covered_bases_where_the_others_are_missing() -> None:
    cpgs = [block((3, 5, 1.0), (20, 21, 0.4), (60, 62, 0.0))]
    means = bin_means(cpgs, 0, 75, 25, "missing")
    np.testing.assert_allclose(means, [0.8, np.nan, 0.0], rtol=1e-6)


@pytest.mark.parametrize("uncovered", UNCOVERED)
@pytest.mark.parametrize("end", [26, 30, 49, 50])
def test_a_constant_track_is_constant_up_to_the_last_shorter_bin(uncovered: Uncovered, end: int) -> None:
    assert bin_means([block((0, 20, 2.5), (20, 60, 2.5))], 0, end, 25, uncovered).tolist() == [2.5, 2.5]


def test_uncovered_bases_of_the_last_shorter_bin_count_as_zero_as_far_as_the_bin_goes() -> None:
    assert bin_means([block((25, 28, 5.0))], 25, 35, 25).tolist() == [1.5]
    assert bin_means([block((25, 28, 5.0))], 25, 35, 25, "missing").tolist() == [5.0]


def test_one_interval_may_span_many_bins() -> None:
    assert bin_means([block((3, 1003, 2.0))], 0, 1000, 10).tolist() == [pytest.approx(1.4)] + [2.0] * 99


def test_an_interval_of_nan_covers_nothing() -> None:
    means = bin_means([block((0, 10, float("nan")), (30, 40, 5.0))], 0, 50, 25)
    np.testing.assert_array_equal(means, [np.nan, 2.0])


@pytest.mark.parametrize("value", [float("inf"), float("-inf")])
def test_an_infinite_value_is_refused_with_its_base(value: float) -> None:
    with pytest.raises(UnusableSignal, match="an infinite value at base 30"):
        bin_means([block((0, 10, 1.0), (30, 40, value))], 0, 50, 25)


def test_an_infinite_value_outside_the_interval_is_none_of_its_business() -> None:
    assert bin_means([block((0, 10, 5.0), (30, 40, np.inf))], 0, 25, 25).tolist() == [2.0]


def test_overlaps_within_and_between_blocks_are_refused() -> None:
    with pytest.raises(UnusableSignal, match="overlapping intervals at base 9"):
        bin_means([block((0, 10, 1.0), (9, 12, 1.0))], 0, 25, 25)
    with pytest.raises(UnusableSignal, match="overlapping intervals at base 9"):
        bin_means([block((0, 10, 1.0)), block((9, 12, 1.0))], 0, 25, 25)


def test_the_first_of_several_faults_is_named() -> None:
    overlapping, infinite = (30, 40, 1.0), (50, 60, np.inf)
    with pytest.raises(UnusableSignal, match="overlapping intervals at base 30"):
        bin_means([block((0, 35, 1.0), overlapping, infinite)], 0, 75, 25)
    with pytest.raises(UnusableSignal, match="an infinite value at base 50"):
        bin_means([block((0, 10, 1.0), infinite, (55, 58, 1.0))], 0, 75, 25)


def test_a_mean_does_not_depend_on_how_the_intervals_come_in_blocks() -> None:
    rng = np.random.default_rng(5)
    lengths = rng.integers(1, 9, 4000)
    lengths[::50] = 200
    values = rng.standard_normal(4000).astype(np.float32) * 10.0 ** rng.integers(-18, 18, 4000)
    ends = np.cumsum(lengths)
    intervals = list(zip((ends - lengths).tolist(), ends.tolist(), values.tolist(), strict=True))
    end = int(ends[-1])
    whole = bin_means([block(*intervals)], 0, end, 25)
    for size in (1, 7, 1000):
        pieces = [block(*intervals[k : k + size]) for k in range(0, len(intervals), size)]
        np.testing.assert_array_equal(bin_means(pieces, 0, end, 25), whole)


def test_intervals_of_length_0_are_skipped_and_counted_where_they_begin() -> None:
    blocks = [block((5, 5, 9.0), (10, 15, 5.0), (12, 12, np.inf)), block((25, 25, 1.0), (30, 35, 5.0), (60, 60, 1.0))]
    for start, end, means, empty in ((0, 25, [1.0], 2), (25, 50, [1.0], 1), (0, 75, [1.0, 1.0, np.nan], 4)):
        found, count = bin_means_and_empty(blocks, start, end, 25)
        np.testing.assert_array_equal(found, means)
        assert count == empty


def test_an_interval_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(UnusableSignal, match="ends before it starts at base 10"):
        bin_means([block((10, 9, 1.0))], 0, 25, 25)


def test_no_intervals_at_all_are_all_nan() -> None:
    assert np.isnan(bin_means([], 0, 100, 25)).all()


def test_a_summary_counts_covered_bins_of_all_that_was_added() -> None:
    rng = np.random.default_rng(3)
    signal = rng.gamma(0.5, 20, 5000).astype(np.float32) - 1
    signal[::7] = np.nan
    summary = SignalSummary.empty()
    for piece in np.array_split(signal, 3):
        summary.add(piece)
    transformed = np.arcsinh(signal[~np.isnan(signal)].astype(np.float64))
    assert summary.covered == len(transformed)
    assert summary.total == pytest.approx(transformed.sum(), rel=1e-6)
    assert summary.squares == pytest.approx(np.square(transformed).sum(), rel=1e-6)
    assert summary.histogram.sum() == summary.covered


@given(st.lists(st.floats(-3.75, 11.75, width=32), min_size=1, max_size=200))
def test_histograms_equal_numpys(values: list[float]) -> None:
    array = np.array(values, np.float32)
    np.testing.assert_array_equal(histogram(array), np.histogram(array, HISTOGRAM_EDGES)[0])


def test_values_beyond_the_edges_are_counted_at_the_ends() -> None:
    counts = histogram(np.array([-50.0, 99.0, 98.0], np.float32))
    assert counts[0] == 1
    assert counts[HISTOGRAM_BINS - 1] == 2
