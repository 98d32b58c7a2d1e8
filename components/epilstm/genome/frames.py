"""Frames: runs of bins, counted from the start of the chromosome, that a model reads as a whole."""

from __future__ import annotations

from collections.abc import Iterable

from epilstm.genome.assembly import Region


def widen_to_frames(regions: Iterable[Region], frame_bases: int) -> list[Region]:
    """Widen regions outward to whole frames, and join those that then touch.

    Parameters
    ----------
    regions : iterable of Region
        Sorted by position within each chromosome.
    frame_bases : int
        Base pairs per frame.

    Returns
    -------
    list of Region
        The last frame of a chromosome may reach past its end.
    """
    widened: list[Region] = []
    for region in regions:
        start = region.start // frame_bases * frame_bases
        end = -(-region.end // frame_bases) * frame_bases
        if widened and widened[-1].chrom == region.chrom and start <= widened[-1].end:
            widened[-1] = Region(region.chrom, widened[-1].start, end)
        else:
            widened.append(Region(region.chrom, start, end))
    return widened
