"""Windows pooled from blocks of bins, against a plain loop."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from epilstm.representations.pooling import WindowStatistics, distinct_windows, window_bins


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.integers(1, 30), min_size=1, max_size=5), st.permutations(range(5)))
def test_statistics_equal_a_loop_over_windows_whatever_the_blocks(
    seed: int, lengths: list[int], order: list[int]
) -> None:
    random = np.random.default_rng(seed)
    bins, size = sum(lengths), 3
    values = random.normal(5, 2, (bins, size)).astype(np.float32)
    valid = random.random(bins) < 0.7
    values[~valid] = np.nan
    first = random.integers(0, bins + 1, 12)
    last = np.minimum(first + random.integers(0, bins + 1, 12), bins)
    pooled = WindowStatistics(first, last, size, ["std", "mean", "max"])
    bounds = np.concatenate([[0], np.cumsum(lengths)])
    for block in [i for i in order if i < len(lengths)]:
        part = slice(bounds[block], bounds[block + 1])
        pooled.add(int(bounds[block]), values[part], valid[part])
    features = pooled.features()
    for window, (start, stop) in enumerate(zip(first, last, strict=True)):
        inside = values[start:stop][valid[start:stop]]
        assert pooled.count[window] == len(inside)
        if len(inside):
            exact = inside.astype(np.float64)
            expected = np.concatenate([exact.std(axis=0), exact.mean(axis=0), exact.max(axis=0)])
            np.testing.assert_allclose(features[window], expected, rtol=1e-5, atol=1e-6)
        else:
            assert np.isnan(features[window]).all()


def test_long_windows_are_summed_as_short_ones_are() -> None:
    random = np.random.default_rng(2)
    values = random.normal(5, 2, (6_000, 4)).astype(np.float32)
    valid = random.random(6_000) < 0.9
    first = random.integers(0, 5_000, 20)
    last = first + random.integers(1, 1_000, 20)
    pooled = WindowStatistics(first, last, 4, ["mean", "std"])
    for start in (0, 3_500):
        stop = 3_500 if start == 0 else 6_000
        pooled.add(start, values[start:stop], valid[start:stop])
    expected = [
        [*exact.mean(axis=0), *exact.std(axis=0)]
        for start, stop in zip(first, last, strict=True)
        for exact in [values[start:stop][valid[start:stop]].astype(np.float64)]
    ]
    np.testing.assert_allclose(pooled.features(), expected, rtol=1e-6)
    assert pooled.count.tolist() == [int(valid[start:stop].sum()) for start, stop in zip(first, last, strict=True)]


def test_windows_in_base_pairs_take_every_bin_they_overlap() -> None:
    first, last = window_bins(np.array([0, 24, 25, 30]), np.array([25, 26, 50, 30]), 25)
    assert first.tolist() == [0, 0, 1, 1]
    assert last.tolist() == [1, 2, 2, 1]


def test_windows_that_trials_share_are_kept_once() -> None:
    chroms = np.array([["chr1", "chr1"], ["chr2", "chr1"]])
    first, last = np.array([[5, 1], [5, 5]]), np.array([[9, 2], [9, 9]])
    table, (rows, again) = distinct_windows([(chroms, first, last), (chroms[:1], first[:1], last[:1])])
    assert len(table) == 3
    for found, part in ((rows, slice(None)), (again, slice(0, 1))):
        np.testing.assert_array_equal(table.chroms[found], chroms[part])
        np.testing.assert_array_equal(table.first[found], first[part])
        np.testing.assert_array_equal(table.last[found], last[part])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.integers(1, 30), min_size=1, max_size=5), st.permutations(range(5)))
def test_quantiles_equal_numpys_whatever_the_blocks(seed: int, lengths: list[int], order: list[int]) -> None:
    random = np.random.default_rng(seed)
    bins = sum(lengths)
    values = random.normal(size=(bins, 2)).astype(np.float32)
    valid = random.random(bins) < 0.7
    first = random.integers(0, bins + 1, 12)
    last = np.minimum(first + random.integers(0, bins + 1, 12), bins)
    pooled = WindowStatistics(first, last, 2, ["q10", "mean", "q50"])
    bounds = np.concatenate([[0], np.cumsum(lengths)])
    for block in [i for i in order if i < len(lengths)]:
        part = slice(bounds[block], bounds[block + 1])
        pooled.add(int(bounds[block]), values[part], valid[part])
    features = pooled.features()
    for window, (start, stop) in enumerate(zip(first, last, strict=True)):
        inside = values[start:stop][valid[start:stop]]
        if len(inside):
            low, middle = np.quantile(inside, [0.1, 0.5], axis=0)
            expected = np.concatenate([low, inside.mean(axis=0), middle])
            np.testing.assert_allclose(features[window], expected, rtol=1e-4, atol=1e-5)
        else:
            assert np.isnan(features[window]).all()


def test_quantiles_of_a_long_window_are_of_evenly_spread_bins() -> None:
    values = np.arange(7_777, dtype=np.float32)[:, None]
    pooled = WindowStatistics(np.array([77]), np.array([7_707]), 1, ["q25"])
    for start in range(0, 7_777, 1_000):
        pooled.add(start, values[start : start + 1_000], np.ones(len(values[start : start + 1_000]), bool))
    expected = np.quantile(values[77:7_707:8], 0.25)
    assert pooled.features()[0, 0] == expected
    assert abs(expected - np.quantile(values[77:7_707], 0.25)) < 10
