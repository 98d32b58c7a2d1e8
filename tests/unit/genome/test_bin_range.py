"""Ranges of bins: cut without loss, widened within their region."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epilstm.genome.bin_range import BinRange

ranges = st.builds(lambda first, bins: BinRange("chr1", first, first + bins), st.integers(0, 500), st.integers(1, 500))


@given(ranges, st.integers(1, 200))
def test_the_parts_of_a_range_are_its_bins_in_order_and_end_at_multiples(bins, size):
    parts = bins.cut(size)
    assert [at for part in parts for at in range(part.first, part.last)] == list(range(bins.first, bins.last))
    assert all(part.last % size == 0 for part in parts[:-1])
    assert all(part.bins <= size for part in parts)


@given(ranges, st.integers(0, 50), st.integers(0, 50), st.integers(0, 60), st.integers(1, 20))
def test_a_wider_range_has_the_margin_or_ends_with_its_region(bins, before, after, margin, frame):
    region = BinRange("chr1", max(0, bins.first - before), bins.last + after)
    wide = bins.widened([BinRange("chr2", 0, 2_000), region], margin, frame)
    assert (wide.first - region.first) % frame == 0
    assert max(region.first, bins.first - margin - frame + 1) <= wide.first <= max(region.first, bins.first - margin)
    assert wide.last == min(region.last, bins.last + margin)


def test_a_range_outside_every_region_cannot_be_widened():
    with pytest.raises(ValueError, match="is not inside a region"):
        BinRange("chr1", 5, 20).widened([BinRange("chr1", 0, 10), BinRange("chr2", 0, 50)], 5)


def test_a_range_is_the_same_whatever_region_it_lies_in():
    assert BinRange("chr1", 5, 20, (0, 40)) == BinRange("chr1", 5, 20)
    assert (BinRange("chr1", 5, 20, (0, 40)).region_last, BinRange("chr1", 5, 20).region_last) == (40, 20)
