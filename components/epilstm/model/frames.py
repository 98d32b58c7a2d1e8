"""Frames and their statistics: what the context level sees of the bins, and how its codes go back to them.

A frame's *token* is the mean, the maximum and the standard deviation of each track over the frame's bins. A bin range
starts with a frame's first bin; its last frame may be cut short, and its token is then over the bins that are there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

#: Statistics of a track in a token.
STATISTICS = 3

#: Values (bins x tracks) summarised at a time: they stay in a core's cache.
BLOCK_VALUES = 100_000


def frame_count(bins: int, frame_bins: int) -> int:
    """Frames of so many bins, the last one whole or not."""
    return -(-bins // frame_bins)


def frame_tokens(rows: NDArray[np.floating], frame_bins: int) -> Floats:
    """Tokens of the frames of a bin range.

    Parameters
    ----------
    rows : array (bins, track)
        Bins of the standardised matrix.
    frame_bins : int

    Returns
    -------
    array (frame, 3 * track), float32
        Means, maxima, standard deviations.
    """
    tracks = rows.shape[1]
    whole = len(rows) // frame_bins
    tokens = np.empty((frame_count(len(rows), frame_bins), STATISTICS * tracks), np.float32)
    together = max(1, BLOCK_VALUES // (frame_bins * tracks))
    for first in range(0, whole, together):
        last = min(first + together, whole)
        _summarise(rows[first * frame_bins : last * frame_bins].reshape(-1, frame_bins, tracks), tokens[first:last])
    if whole < len(tokens):
        _summarise(rows[None, whole * frame_bins :], tokens[whole:])
    return tokens


def _summarise(frames: NDArray[np.floating], tokens: Floats) -> None:
    """Put the tokens of frames (frame, bin, track) into `tokens`."""
    values = frames.astype(np.float32)
    mean, highest, deviation = np.split(tokens, STATISTICS, axis=1)
    values.max(axis=1, out=highest)
    values.mean(axis=1, out=mean)
    values -= mean[:, None]
    np.square(values, out=values)
    values.mean(axis=1, out=deviation)
    np.sqrt(deviation, out=deviation)
