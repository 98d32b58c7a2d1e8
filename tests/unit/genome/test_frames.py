"""Regions widened to whole frames."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from epilstm.genome.assembly import Region
from epilstm.genome.frames import widen_to_frames


def test_regions_grow_outward_to_whole_frames() -> None:
    assert widen_to_frames([Region("chr1", 120, 180)], 100) == [Region("chr1", 100, 200)]


def test_a_region_of_whole_frames_stays() -> None:
    assert widen_to_frames([Region("chr1", 100, 300)], 100) == [Region("chr1", 100, 300)]


def test_regions_that_come_to_share_or_touch_a_frame_are_joined() -> None:
    regions = [Region("chr1", 0, 110), Region("chr1", 150, 160), Region("chr1", 210, 220), Region("chr2", 0, 10)]
    assert widen_to_frames(regions, 100) == [Region("chr1", 0, 300), Region("chr2", 0, 100)]


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(1, 300)), min_size=1, max_size=8), st.integers(1, 120))
def test_widened_regions_cover_exactly_the_frames_that_hold_a_base(gaps: list[tuple[int, int]], frame: int) -> None:
    regions, at = [], 0
    for gap, length in gaps:
        regions.append(Region("chr1", at + gap, at + gap + length))
        at += gap + length
    widened = widen_to_frames(regions, frame)
    expected = {base // frame for region in regions for base in range(region.start, region.end)}
    covered = [index for region in widened for index in range(region.start // frame, region.end // frame)]
    assert sorted(expected) == covered
    assert all(region.start % frame == 0 and region.end % frame == 0 for region in widened)
    assert all(left.end < right.start for left, right in pairwise(widened))
