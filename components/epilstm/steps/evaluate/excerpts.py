"""Consecutive bins of the matrix with what lies around them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class RowsInContext:
    """Consecutive bins to impute, with context.

    Parameters
    ----------
    rows : (bins + context, tracks) float32 array
        Standardised.
    keep : slice
        The bin range within `rows`.
    """

    rows: NDArray[np.float32]
    keep: slice
