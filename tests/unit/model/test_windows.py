"""Windows keep every bin once, warmed up, and never leave their region."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from epilstm.genome.bin_range import BinRange
from epilstm.model.genome_windows import ShardRanges, WindowShape, batches_of, shards_of, windows_of
from support.nonempty import nonempty

shapes = st.builds(WindowShape, chunk=st.integers(1, 40), before=st.integers(0, 30), after=st.integers(0, 30))


@st.composite
def bin_ranges(draw) -> BinRange:
    cuts = sorted(draw(st.lists(st.integers(0, 300), min_size=4, max_size=4, unique=True)))
    region_first, first, last, region_last = cuts
    return BinRange(
        "chr1",
        draw(st.sampled_from([region_first, first])),
        draw(st.sampled_from([last, region_last])),
        (region_first, region_last),
    )


@given(bin_ranges(), shapes)
def test_every_bin_of_a_bin_range_is_kept_once_and_in_order(bin_range, shape):
    kept = [place for window in windows_of(bin_range, shape) for place in range(window.first, window.last)]
    assert kept == list(range(bin_range.first, bin_range.last))


@given(bin_ranges(), shapes)
def test_windows_stay_inside_their_region(bin_range, shape):
    for window in nonempty(windows_of(bin_range, shape)):
        assert (
            bin_range.region_first <= window.start <= window.first < window.last <= window.stop <= bin_range.region_last
        )


@given(bin_ranges(), shapes)
def test_kept_bins_are_warmed_up_unless_the_region_begins_or_ends_there(bin_range, shape):
    for window in nonempty(windows_of(bin_range, shape)):
        assert window.first - window.start >= shape.before or window.start == bin_range.region_first
        assert window.stop - window.last >= shape.after or window.stop == bin_range.region_last


@given(bin_ranges(), shapes)
def test_windows_have_one_length_and_only_a_short_region_a_shorter_one(bin_range, shape):
    lengths = {window.bins for window in windows_of(bin_range, shape)}
    assert lengths == {min(shape.bins, bin_range.region_last - bin_range.region_first)}


@given(bin_ranges(), shapes, st.integers(1, 30))
def test_windows_of_frames_begin_with_one_and_keep_and_end_as_they_would_without(bin_range, shape, frame):
    framed = list(windows_of(bin_range, replace(shape, frame=frame)))
    plain = list(windows_of(bin_range, shape))
    assert [(w.first, w.last, w.stop) for w in framed] == [(w.first, w.last, w.stop) for w in plain]
    assert all((window.start - bin_range.region_first) % frame == 0 for window in nonempty(framed))
    assert all(bin_range.region_first <= one.start <= other.start for one, other in zip(framed, plain, strict=True))


region_lists = st.lists(st.integers(0, 500), min_size=2, max_size=10, unique=True).map(
    lambda cuts: list(zip(sorted(cuts)[::2], sorted(cuts)[1::2], strict=False))
)


@given(region_lists, st.integers(1, 450), st.integers(1, 120))
def test_shards_hold_every_bin_of_the_regions_once_up_to_the_chromosomes_end(regions, bins, shard_bins):
    shards = list(shards_of("chr1", regions, bins, shard_bins))
    held = [place for shard in shards for s in shard.bin_ranges for place in range(s.first, s.last)]
    assert held == [place for first, last in regions for place in range(first, min(last, bins))]


@given(region_lists, st.integers(1, 450), st.integers(1, 120))
def test_no_shard_is_written_twice_and_no_write_touches_two(regions, bins, shard_bins):
    shards: list[ShardRanges] = list(shards_of("chr1", regions, bins, shard_bins))
    numbers = [shard.first // shard_bins for shard in shards]
    assert len(set(numbers)) == len(numbers)
    assert numbers == [(shard.last - 1) // shard_bins for shard in shards]


def test_batches_hold_windows_of_one_length():
    long, short = (BinRange("chr1", 0, n) for n in (100, 7))
    shape = WindowShape(chunk=10, before=5, after=0)
    windows = [window for bin_range in (short, long, short) for window in windows_of(bin_range, shape)]
    batches = list(batches_of(((window, None) for window in windows), 4))
    assert all(len({window.bins for window, _ in batch}) == 1 for batch in batches)
    assert sorted(len(batch) for batch in batches) == [2, 2, 4, 4]
    assert sorted(id(window) for batch in batches for window, _ in batch) == sorted(map(id, windows))
