"""Windows, plans and where they are read from."""

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from epilstm.errors import TrainingError
from epilstm.genome.assembly import Region
from epilstm.steps.train.streams import MemoryWindows, StoredWindows, plan_epoch, windows_of
from epilstm.store.arrays import open_group
from epilstm.store.manifests import MatrixManifest, read_manifest


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 700)), min_size=1, max_size=8), st.integers(1, 130))
def test_windows_cover_every_bin_of_every_region_once_in_order(gaps_and_lengths, window_bins):
    regions, at = [], 0
    for gap, length in gaps_and_lengths:
        regions.append(Region("chr1", (at + gap) * 25, (at + gap + length) * 25))
        at += gap + length
    covered = [bin for w in windows_of(regions, 25, window_bins) for bin in range(w.first, w.first + w.bins)]
    assert covered == [bin for r in regions for bin in range(r.start // 25, r.end // 25)]


def test_the_first_window_of_each_region_is_fresh_and_no_other():
    windows = windows_of([Region("chr1", 0, 25 * 250), Region("chr2", 2500, 2500 + 25 * 100)], 25, 100)
    assert [w.begins_region for w in windows] == [True, False, False, True]


@given(st.integers(1, 500), st.integers(1, 40), st.integers(0, 5), st.integers(0, 3))
def test_a_plan_deals_each_window_at_most_once_and_streams_continue_where_they_were(windows, streams, seed, epoch):
    if windows < streams:
        with pytest.raises(TrainingError, match=r"train\.streams"):
            plan_epoch(windows, streams, seed, epoch)
        return
    plan = plan_epoch(windows, streams, seed, epoch)
    assert plan.shape == (windows // streams, streams)
    assert len(np.unique(plan)) == plan.size
    assert np.array_equal(plan[1:], (plan[:-1] + 1) % windows)


def test_every_epoch_deals_anew_and_a_seed_deals_the_same():
    assert np.array_equal(plan_epoch(300, 8, 1, 2), plan_epoch(300, 8, 1, 2))
    assert not np.array_equal(plan_epoch(300, 8, 1, 2), plan_epoch(300, 8, 1, 3))


@pytest.mark.parametrize("source", [MemoryWindows, partial(StoredWindows, readers=2)], ids=["memory", "stored"])
def test_sources_read_the_windows_of_the_plan_with_their_mask(matrix, source):
    manifest = read_manifest(matrix, MatrixManifest)
    windows = windows_of(manifest.region_list(["chr1"]), 25, 100)
    values, masks = open_group(matrix / "matrix.zarr"), open_group(matrix / "mask.zarr")
    reader = source(matrix, windows, 100, torch.device("cpu"))
    for epoch in range(2):
        plan = plan_epoch(len(windows), 4, 1, epoch)
        reader.start(plan, 3)
        for step in range(3, len(plan)):
            reader.prefetch(step)
            x, mask = reader.read(step, slice(1, 3))
            assert x.shape == (100, 2, 6)
            assert x.dtype == mask.dtype == torch.float32
            for column, index in enumerate(plan[step, 1:3]):
                w = windows[index]
                bins = slice(w.first, w.first + w.bins)
                np.testing.assert_array_equal(x[: w.bins, column], values["chr1"][bins].astype(np.float32))
                np.testing.assert_array_equal(mask[: w.bins, column], masks["chr1"][bins])
                assert mask[w.bins :, column].sum() == 0, "padding is without data"
