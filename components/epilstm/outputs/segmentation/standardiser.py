"""Numbers with mean 0 and standard deviation 1, weighted or not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Standardiser:
    """Mean and standard deviation of each dimension over the bins that were fitted on."""

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]

    @classmethod
    def of(cls, rows: NDArray[np.floating]) -> Standardiser:
        """From rows (bin, dim)."""
        deviation = rows.std(axis=0, dtype=np.float64)
        return cls(rows.mean(axis=0, dtype=np.float64), np.where(deviation > 0, deviation, 1.0))

    def weighted(self, weights: NDArray[np.float64]) -> Standardiser:
        """The same with a standard deviation of `weights` (dim,)."""
        return Standardiser(self.mean, self.scale / np.maximum(weights, 1e-6))

    def __call__(self, rows: NDArray[np.floating]) -> NDArray[np.float64]:
        """Rows with mean 0 and standard deviation 1."""
        return np.asarray((rows - self.mean) / self.scale)
