"""Frames: runs of bins, counted from the start of the chromosome, that a model reads as a whole."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

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


def frame_weights(frame_bins: int) -> NDArray[np.floating]:
    """Shares of the codes of the frame before, of its own and of the one behind in the code of each bin of a frame.

    Returns
    -------
    array (3, bin), float32
        Linear between the centres of frames.
    """
    place = (np.arange(frame_bins) + 0.5) / frame_bins - 0.5
    before, behind = np.maximum(-place, 0), np.maximum(place, 0)
    return np.stack([before, 1 - before - behind, behind]).astype(np.float32)


def spread_codes(codes: NDArray[np.floating], bins: int, frame_bins: int) -> NDArray[np.floating]:
    """Codes of frames, interpolated linearly between the frames' centres to their bins, constant beyond the outermost.

    Parameters
    ----------
    codes : array (frame, dim)

    Returns
    -------
    array (bins, dim), float32
    """
    before = np.concatenate([codes[:1], codes[:-1]])
    behind = np.concatenate([codes[1:], codes[-1:]])
    # A product per frame: a fifth of the time that sums of weighted arrays take, which are larger than a cache.
    spread = np.matmul(frame_weights(frame_bins).T, np.stack([before, codes, behind], axis=1))
    return np.asarray(spread.reshape(-1, codes.shape[1])[:bins])
