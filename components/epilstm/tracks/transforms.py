"""Transforms of signal, and their inverses: arcsinh, log1p, none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from epilstm.tracks.signal_transform import Transform

Signal = TypeVar("Signal", bound=npt.NDArray[np.floating])


def _log1p(values: Any, out: Any = None) -> Any:
    return np.log1p(np.maximum(values, 0, out=out), out=out)


def _identity(values: Any, out: Any = None) -> Any:
    return values


FORWARD: dict[Transform, Callable[..., Any]] = {"arcsinh": np.arcsinh, "log1p": _log1p, "none": _identity}
BACK: dict[Transform, Callable[..., Any]] = {"arcsinh": np.sinh, "log1p": np.expm1, "none": _identity}


def transformed(signal: Signal, transform: Transform) -> Signal:
    """Signal after its transform; NaN stays NaN, and log1p takes what is below 0 as 0."""
    values: Signal = FORWARD[transform](signal)
    return values
