"""Which examples lie inside the covered regions, and which intervals of genome hold them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from epilstm.genome.assembly import Region

#: Length (bp) of the intervals that long regions are divided into by folds by region. The scale is that of replication
#: domains, the broadest feature that the tasks predict; so is that of the blocks that the bootstrap resamples.
FOLD_INTERVAL = 1_000_000


def region_of(
    chroms: NDArray[np.str_], starts: NDArray[np.int64], ends: NDArray[np.int64], regions: Sequence[Region]
) -> NDArray[np.int64]:
    """Region that holds all windows of an example.

    Parameters
    ----------
    chroms, starts, ends : (n, windows) arrays
        Windows, 0-based half-open.
    regions : sequence of Region
        Disjoint.

    Returns
    -------
    (n,) int64 array
        Index into `regions`; -1 where a window is not entirely inside one, or two windows are in different ones.
    """
    found = np.full(starts.shape, -1, dtype=np.int64)
    places: dict[str, list[int]] = {}
    for place, region in enumerate(regions):
        places.setdefault(region.chrom, []).append(place)
    order = np.argsort(chroms, axis=None, kind="stable")
    names, firsts = np.unique(chroms.ravel()[order], return_index=True)
    for chrom, windows in zip(names.tolist(), np.split(order, firsts)[1:], strict=True):
        index = np.array(places.get(chrom, []), dtype=np.int64)
        if not len(index):
            continue
        index = index[np.argsort([regions[i].start for i in index])]
        region_starts = np.array([regions[i].start for i in index])
        region_ends = np.array([regions[i].end for i in index])
        candidate = np.searchsorted(region_starts, starts.flat[windows], side="right") - 1
        inside = (candidate >= 0) & (ends.flat[windows] <= region_ends[candidate])
        found.flat[windows] = np.where(inside, index[candidate], -1)
    same = (found == found[:, :1]).all(axis=1)
    return np.where(same, found[:, 0], -1)


def parts_of_regions(
    region: NDArray[np.int64], first: NDArray[np.int64], last: NDArray[np.int64], interval_bins: int
) -> NDArray[np.int64]:
    """Divide regions into equal parts at fixed cuts, whatever reaches over one.

    Parameters
    ----------
    region, first, last, interval_bins : as for `intervals_of`

    Returns
    -------
    (n,) int64 array
        Number of the part that an example lies in, from 0 in the order of regions and positions; -1 where it reaches
        over a cut.
    """
    count = int(region.max(initial=-1)) + 1
    low, high = np.full(count, np.iinfo(np.int64).max), np.zeros(count, np.int64)
    np.minimum.at(low, region, first)
    np.maximum.at(high, region, last)
    extent = np.maximum(high - low, 1)
    parts = np.maximum(1, extent // interval_bins)
    step = -(-extent // parts)
    part = (first - low[region]) // step[region]
    whole = part == (np.maximum(last - 1, first) - low[region]) // step[region]
    numbered = np.full(len(region), -1, np.int64)
    _, numbered[whole] = np.unique(np.stack([region[whole], part[whole]]), axis=1, return_inverse=True)
    return numbered


def intervals_of(
    region: NDArray[np.int64], first: NDArray[np.int64], last: NDArray[np.int64], interval_bins: int
) -> NDArray[np.int64]:
    """Divide examples into intervals of genome that share no bin.

    A region whose examples reach less than two intervals is one; a longer one is cut into equal parts, each cut moved
    right to the next bin that no example spans.

    Parameters
    ----------
    region : (n,) int64 array
        Region of each example.
    first, last : (n,) int64 arrays
        Bins from the start of an example's first window to the end of its last, half-open.
    interval_bins : int
        Length aimed at.

    Returns
    -------
    (n,) int64 array
        Number of each example's interval, from 0 in the order of regions and positions.
    """
    low = np.full(int(region.max(initial=-1)) + 1, np.iinfo(np.int64).max)
    high = np.zeros_like(low)
    np.minimum.at(low, region, first)
    np.maximum.at(high, region, last)
    interval = np.empty(len(region), dtype=np.int64)
    number, here, reach, cut, step = -1, -1, 0, 0, 0
    for i in np.lexsort((first, region)):
        if region[i] != here:
            number, here, reach = number + 1, region[i], 0
            extent = high[here] - low[here]
            step = -(-extent // max(1, extent // interval_bins))
            cut = low[here] + step
        elif first[i] >= cut and first[i] >= reach:
            number += 1
            cut += step * (1 + (first[i] - cut) // step)
        interval[i] = number
        reach = max(reach, last[i])
    return interval
