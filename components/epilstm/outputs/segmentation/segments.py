"""Segments: runs of bins in one state, without those too short, as BED."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from epilstm.genome.bin_range import BinRange
from epilstm.outputs.segmentation.states import NO_STATE, States


@dataclass(frozen=True)
class Segment:
    """Consecutive bins of a chromosome in one state (from 0); 0-based, half-open, in base pairs."""

    chrom: str
    start: int
    end: int
    state: int


def without_short(states: States, least: int) -> States:
    """States in which each run is at least so many bins long.

    The shortest run that is too short (of those of a length, the first) joins its longer neighbour, or the one before
    where both are as long, until there is none; so no state can spread over an interval with data that it does not hold
    the most of. An interval with data that is shorter itself has no state then.

    Parameters
    ----------
    states : (bin,) uint8 array
        Of consecutive bins; `NO_STATE` where there is no data, which nothing is joined across.
    least : int
        In bins.
    """
    edges = (
        np.concatenate([[0], np.flatnonzero(np.diff(states)) + 1, [len(states)]]) if len(states) else np.zeros(1, int)
    )
    state = [int(states[first]) for first in edges[:-1]]
    length = np.diff(edges).tolist()
    count = len(state)
    before, behind = list(range(-1, count - 1)), [*range(1, count), -1]
    waiting = [(length[run], run) for run in range(count) if length[run] < least and state[run] != NO_STATE]
    heapq.heapify(waiting)
    gone = [False] * count

    def join(run: int, other: int) -> None:
        """Let `other` take over a neighbour's bins."""
        gone[run] = True
        length[other] += length[run]
        left, right = before[run], behind[run]
        if left >= 0:
            behind[left] = right
        if right >= 0:
            before[right] = left

    while waiting:
        was, run = heapq.heappop(waiting)
        if gone[run] or was != length[run] or length[run] >= least:
            continue
        sides = [side for side in (before[run], behind[run]) if side >= 0 and state[side] != NO_STATE]
        if not sides:
            continue
        taker = max(sides, key=lambda side: length[side])
        join(run, taker)
        for side in (before[taker], behind[taker]):
            if side >= 0 and state[side] == state[taker]:
                join(side, taker)
        if length[taker] < least:
            heapq.heappush(waiting, (length[taker], taker))
    kept = [run for run in range(count) if not gone[run]]
    # Runs are numbered by where they began; one that took over what was before it begins earlier than its number.
    result = np.empty_like(states)
    start = 0
    for run in kept:
        result[start : start + length[run]] = state[run] if length[run] >= least else NO_STATE
        start += length[run]
    return result


def segments_of(bin_range: BinRange, states: States, bin_size: int, size: int) -> Iterator[Segment]:
    """Segments of a bin range, in order; the last bin of a chromosome of `size` base pairs ends with it."""
    edges = np.concatenate([[0], np.flatnonzero(np.diff(states)) + 1, [len(states)]]).tolist()
    for first, last in pairwise(edges):
        if last > first and states[first] != NO_STATE:
            start, end = ((bin_range.first + place) * bin_size for place in (first, last))
            yield Segment(bin_range.chrom, start, min(end, size), int(states[first]))


def bed9_line(segment: Segment, names: Sequence[str], colours: Sequence[tuple[int, int, int]]) -> str:
    """A segment as a line of BED9: thick all over, in its state's colour."""
    red, green, blue = colours[segment.state]
    return (
        f"{segment.chrom}\t{segment.start}\t{segment.end}\t{names[segment.state]}\t0\t.\t{segment.start}\t{segment.end}\t"
        f"{red},{green},{blue}\n"
    )
