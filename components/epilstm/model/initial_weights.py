"""Were these weights ever trained? A test against the distribution that they were drawn from.

The published code draws every weight from U(-b, b) with b = 1 / sqrt(hidden size); training moves weights away from
there, and some of them out of the interval, which no draw can leave.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

#: Largest adjusted p-value at which a tensor is said to differ from its initial distribution.
ALPHA = 0.01

#: Rounding that a draw may exceed the bound by, relative to it.
ROUNDING = 1e-6


class TensorTest(BaseModel):
    """One tensor: Kolmogorov-Smirnov distance to the uniform distribution, p-values, weights outside the interval."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    weights: int
    distance: float
    p: float
    adjusted_p: float
    outside: int


class InitialWeightsTest(BaseModel):
    """Whether weights differ from their initial distribution, U(-bound, bound).

    `tensors` maps a tensor's name to its test; p-values are adjusted by Holm's method over all of them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    bound: float
    alpha: float = ALPHA
    tensors: dict[str, TensorTest]

    @property
    def smallest_p(self) -> float:
        """The smallest adjusted p-value."""
        return min(test.adjusted_p for test in self.tensors.values())

    @property
    def outside(self) -> int:
        """Weights that the initial distribution cannot have given."""
        return sum(test.outside for test in self.tensors.values())

    @property
    def differs(self) -> bool:
        """Whether the weights differ from their initial distribution."""
        return self.outside > 0 or self.smallest_p <= self.alpha


def compare_with_initial(tensors: Mapping[str, NDArray[np.floating]], hidden_size: int) -> InitialWeightsTest:
    """Test each tensor against U(-b, b), b = 1 / sqrt(hidden size), by Kolmogorov-Smirnov.

    Parameters
    ----------
    tensors : mapping of str to array
    hidden_size : int
    """
    from scipy.stats import kstest, uniform

    bound = hidden_size**-0.5
    initial = uniform(-bound, 2 * bound)
    found = {name: kstest(np.ravel(values).astype(np.float64), initial.cdf) for name, values in tensors.items()}
    adjusted = holm({name: float(result.pvalue) for name, result in found.items()})
    return InitialWeightsTest(
        bound=bound,
        tensors={
            name: TensorTest(
                weights=int(np.size(tensors[name])),
                distance=float(result.statistic),
                p=float(result.pvalue),
                adjusted_p=adjusted[name],
                outside=int((np.abs(tensors[name]) > bound * (1 + ROUNDING)).sum()),
            )
            for name, result in found.items()
        },
    )


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """P-values adjusted for their number (Holm 1979), by name."""
    names = sorted(p_values, key=p_values.__getitem__)
    steps = (min(1.0, (len(names) - rank) * p_values[name]) for rank, name in enumerate(names))
    return dict(zip(names, accumulate(steps, max), strict=True))


def least_movement(tensors: Mapping[str, NDArray[np.floating]], bound: float) -> float:
    """The least distance by which draws from U(-bound, bound) can have become these weights, relative to their norm.

    A tensor's sorted weights are compared with the quantiles of the distribution: optimal transport in one dimension.
    """
    moved = start = 0.0
    for values in tensors.values():
        quantiles = bound * (2 * (np.arange(np.size(values)) + 0.5) / np.size(values) - 1)
        moved += float(np.square(np.sort(np.ravel(values)) - quantiles).sum())
        start += float(np.square(quantiles).sum())
    return float(np.sqrt(moved / start))
