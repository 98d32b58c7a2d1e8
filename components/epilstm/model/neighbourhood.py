"""What a bin is imputed from: values at the bin, and their means before and after it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def neighbour_features(rows: NDArray[np.float32], keep: slice, window: Sequence[int]) -> NDArray[np.float32]:
    """Columns at each bin and around it: (bins, columns * (1 + 2 * distances)).

    First all columns at the bin, then for each distance their means over so many bins before it, and over so many
    after it. At an edge the mean is over the bins that exist; without any it is 0, the columns' mean.

    Parameters
    ----------
    rows : (bins + context, columns) float32 array
        Standardised.
    keep : slice
        The bins wanted within `rows`.
    window : sequence of int
        Distances in bins.
    """
    own = np.arange(len(rows))[keep]
    sums = np.zeros((len(rows) + 1, rows.shape[1]))
    np.cumsum(rows, axis=0, dtype=np.float64, out=sums[1:])
    parts = [rows[own]]
    for bins in window:
        for low, high in ((own - bins, own), (own + 1, own + 1 + bins)):
            low, high = np.clip(low, 0, len(rows)), np.clip(high, 0, len(rows))
            parts.append(((sums[high] - sums[low]) / np.maximum(high - low, 1)[:, None]).astype(np.float32))
    return np.concatenate(parts, axis=1)
