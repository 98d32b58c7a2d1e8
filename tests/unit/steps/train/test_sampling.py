"""Which bin ranges are looked at, and what lies there."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epilstm.genome.assembly import Region
from epilstm.genome.bin_range import BinRange
from epilstm.steps.train.sampling import cut_evenly, runs_of, spread_evenly, token_sequences
from epilstm.steps.train.streams import some_windows, windows_of
from epilstm.store.arrays import open_group
from epilstm.store.manifests import MatrixManifest, read_manifest

WINDOWS = windows_of([Region("chr1", 0, 25 * 60_000), Region("chr2", 0, 25 * 25_100)], 25, 100)


def covered(windows) -> set[tuple[str, int]]:
    return {(window.chrom, window.first) for window in windows}


def test_no_number_of_bins_takes_all_windows():
    assert some_windows(WINDOWS, 0, seed=1) == WINDOWS


@pytest.mark.parametrize("bins", [1, 3_000, 25_000, 10_000_000])
def test_about_so_many_bins_are_taken_in_genome_order(bins):
    chosen = some_windows(WINDOWS, bins, seed=1)
    total, everything = (sum(window.bins for window in some) for some in (chosen, WINDOWS))
    assert min(bins, everything) <= total < bins + 100
    assert [(w.chrom, w.first) for w in chosen] == sorted((w.chrom, w.first) for w in chosen)


def test_more_bins_hold_the_fewer_ones_and_another_seed_takes_others():
    few, many, other = (covered(some_windows(WINDOWS, *each)) for each in ((5_000, 1), (30_000, 1), (5_000, 2)))
    assert few < many
    assert few != other


def test_a_window_that_does_not_follow_the_one_before_it_is_fresh():
    chosen = some_windows(WINDOWS, 30_000, seed=1)
    for before, window in zip([None, *chosen], chosen, strict=False):
        follows = before is not None and (before.chrom, before.first + before.bins) == (window.chrom, window.first)
        assert window.begins_region is not follows
    assert sum(window.begins_region for window in chosen) <= 4, "few long runs, not many windows apart"


def test_runs_join_what_follows_within_a_region():
    assert runs_of(WINDOWS) == [BinRange("chr1", 0, 60_000), BinRange("chr2", 0, 25_100)]


@given(st.integers(1, 900), st.integers(1, 300))
def test_cut_bin_ranges_cover_a_run_with_bin_ranges_of_one_length(bins, length):
    bin_ranges = cut_evenly([BinRange("chr1", 50, 50 + bins)], length)
    assert {each.bins for each in bin_ranges} == {min(bins, length)}
    assert {bin for each in bin_ranges for bin in range(each.first, each.last)} == set(range(50, 50 + bins))


def test_a_sample_is_bounded_and_spread_over_all():
    bin_ranges = cut_evenly(runs_of(WINDOWS), 1_000)
    sample = spread_evenly(bin_ranges, 10_000)
    assert sum(each.bins for each in sample) <= 10_000
    assert {each.chrom for each in sample} == {"chr1", "chr2"}
    assert spread_evenly(bin_ranges, 10**9) == bin_ranges
    assert len(spread_evenly(bin_ranges, 1)) == 1


def test_tokens_are_those_of_the_matrix_with_frames_that_have_data(matrix):
    manifest = read_manifest(matrix, MatrixManifest)
    values, mask = open_group(matrix / "matrix.zarr"), open_group(matrix / "mask.zarr")
    [(tokens, frames)] = token_sequences(matrix, [BinRange("chr1", 100, 400)], manifest.frame_bins)
    rows = values["chr1"][100:400].astype(np.float64).reshape(6, 50, 6)
    np.testing.assert_allclose(tokens, np.concatenate([rows.mean(1), rows.max(1), rows.std(1)], axis=1), atol=1e-5)
    assert frames.tolist() == mask["chr1"][100:400].reshape(6, 50).any(1).tolist()
