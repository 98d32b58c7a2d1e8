"""What each part of the data is used for: whole chromosomes, or intervals of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from epilstm.errors import GenomeError
from epilstm.genome.assembly import Assembly, Region, RegionIndex, bins_of, merge
from epilstm.genome.frames import widen_to_frames
from epilstm.genome.name_matching import those_there
from epilstm.params import INTERVAL, SplitParams
from epilstm.store.manifests import USES, SignalManifest, Split, Use

#: Pieces of about equal length that the data are cut into where a share of them is held out: few, so that little of
#: what is held out lies next to what trains, and enough to spread over the genome.
PIECES = 40

Masks = Mapping[str, npt.NDArray[np.bool_]]


def split_regions(
    manifest: SignalManifest, params: SplitParams, frame_bins: int, masks: Masks
) -> tuple[Split, dict[Use, int]]:
    """Say what each interval of the regions is used for; what is not held out trains.

    Intervals begin and end at frames, counted from the chromosome's start: an end that is not one is rounded down.

    Parameters
    ----------
    params : SplitParams
        By region.
    masks : mapping of str to (bin,) bool array
        Bins with data of each chromosome.

    Returns
    -------
    dict
        Bins with data of each use.

    Raises
    ------
    GenomeError
        An interval is not in the data, overlaps another, or a use would have no data.
    """
    frame = frame_bins * manifest.bin_size
    sizes = manifest.chromosome_sizes
    regions = [
        Region(region.chrom, region.start, min(region.end, sizes[region.chrom]))
        for region in widen_to_frames(manifest.region_list(), frame)
    ]
    if isinstance(params.validation, float) or isinstance(params.test, float):
        assert isinstance(params.validation, float)
        assert isinstance(params.test, float)
        held_out = _drawn(regions, sizes, frame, params.validation, params.test, params.seed)
    else:
        validation = _named_intervals(params.validation, "validation", regions, sizes)
        test = _named_intervals(params.test, "test", regions, sizes)
        _require_apart([*validation, *test])
        held_out = {
            "validation": _in_frames(validation, "validation", regions, sizes, frame),
            "test": _in_frames(test, "test", regions, sizes, frame),
        }
    train = _without(regions, [*held_out["validation"], *held_out["test"]])
    found: dict[Use, list[Region]] = {"train": train, **held_out}
    count = {use: [_bins_with_data(region, manifest.bin_size, masks) for region in found[use]] for use in USES}
    found["train"] = [region for region, bins in zip(train, count["train"], strict=True) if bins]
    for use in USES:
        if not sum(count[use]):
            raise GenomeError(
                f"preprocess.split: no bin with data is left for {'training' if use == 'train' else use}; give other "
                "intervals, shares or another seed"
            )
    assembly = Assembly(manifest.assembly, sizes)
    places = {use: [str(region) for region in merge(found[use], assembly)] for use in USES}
    return Split(**places), {use: sum(count[use]) for use in USES}


def _named_intervals(
    places: Sequence[str], use: Use, regions: Sequence[Region], sizes: Mapping[str, int]
) -> list[Region]:
    """Return intervals that a user names."""
    found: list[Region] = []
    for place in places:
        where = f"preprocess.split.{use}: {place}"
        form = None if place in sizes else INTERVAL.fullmatch(place)
        chrom = place if form is None else form["chrom"]
        if chrom not in sizes:
            known = those_there(chrom, dict.fromkeys(region.chrom for region in regions))
            raise GenomeError(f"{where}: no such chromosome in the data, which has {known}")
        start, end = 0, sizes[chrom]
        if form is not None:
            start, end = (int(form[key].replace(",", "") or 0) for key in ("start", "end"))
        if not start < end <= sizes[chrom]:
            raise GenomeError(
                f"{where}: the start must be below the end, and the end at most {sizes[chrom]:,}, the chromosome's "
                "length"
            )
        found.append(Region(chrom, start, end))
    return found


def _in_frames(
    intervals: Sequence[Region], use: Use, regions: Sequence[Region], sizes: Mapping[str, int], frame: int
) -> list[Region]:
    """Return intervals in whole frames, as far as they lie in the regions."""
    found: list[Region] = []
    index = RegionIndex(regions)
    for interval in intervals:
        last = interval.end if interval.end == sizes[interval.chrom] else interval.end // frame * frame
        wanted = Region(interval.chrom, interval.start // frame * frame, last)
        inside = [each for region in index.overlapping(wanted) if (each := region.overlap(wanted)) is not None]
        if not inside:
            raise GenomeError(
                f"preprocess.split.{use}: {interval}: no region of the data lies there in whole frames of {frame:,} bp"
            )
        found += inside
    return found


def _drawn(
    regions: Sequence[Region], sizes: Mapping[str, int], frame: int, validation: float, test: float, seed: int
) -> dict[Use, list[Region]]:
    """Draw shares of the regions, in pieces of whole frames."""
    frames = np.array([-(-len(region) // frame) for region in regions])
    pieces = int(min(PIECES, frames.sum()))
    counts = max(1, round(validation * pieces)), max(1, round(test * pieces))
    if sum(counts) >= pieces:
        raise GenomeError(
            f"preprocess.split: the regions have {frames.sum()} frames of {frame:,} bp, too few to hold out "
            f"{validation:g} and {test:g} of them; lower preprocess.frame_bins, or add regions"
        )
    order = np.random.default_rng(seed).permutation(pieces).tolist()
    edges = np.linspace(0, frames.sum(), pieces + 1).round().astype(int)
    starts = np.concatenate([[0], np.cumsum(frames)])

    def intervals(numbers: Sequence[int]) -> list[Region]:
        found = []
        for number in sorted(numbers):
            begin = np.searchsorted(starts, edges[number], "right") - 1
            after = np.searchsorted(starts, edges[number + 1])
            for at in range(int(begin), int(after)):
                region = regions[at]
                first, last = max(edges[number], starts[at]), min(edges[number + 1], starts[at + 1])
                start = region.start + int(first - starts[at]) * frame
                end = min(region.start + int(last - starts[at]) * frame, sizes[region.chrom])
                found.append(Region(region.chrom, start, end))
        return found

    return {"validation": intervals(order[: counts[0]]), "test": intervals(order[counts[0] : sum(counts)])}


def _require_apart(intervals: Sequence[Region]) -> None:
    ordered = sorted(intervals)
    for one, other in pairwise(ordered):
        if one.chrom == other.chrom and other.start < one.end:
            raise GenomeError(f"preprocess.split: {one} and {other} overlap; hold out each interval once")


def _without(regions: Sequence[Region], held_out: Sequence[Region]) -> list[Region]:
    """Return what is left of regions."""
    left: list[Region] = []
    index = RegionIndex(held_out)
    for region in regions:
        start = region.start
        for other in index.overlapping(region):
            if start < other.start:
                left.append(Region(region.chrom, start, other.start))
            start = max(start, other.end)
        if start < region.end:
            left.append(Region(region.chrom, start, region.end))
    return left


def _bins_with_data(region: Region, bin_size: int, masks: Masks) -> int:
    first, last = bins_of(region, bin_size)
    return int(masks[region.chrom][first:last].sum())
