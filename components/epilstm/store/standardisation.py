"""From raw signal to the values of the matrix and back, per track: a transform, then mean 0 and deviation 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from epilstm.store.manifests import Scaler
from epilstm.tracks.signal_transform import Transform
from epilstm.tracks.transforms import BACK, FORWARD, Signal

#: Transformed values are cut off here before they are turned back: beyond lies nothing measured, only what a model
#: without sense makes up, up to infinity. arcsinh(5e12) is 30.
LARGEST_TRANSFORMED = 30.0


#: Largest finite float16.
LARGEST_STORED = float(np.finfo(np.float16).max)


def standardise(signal: Signal, scaler: Scaler) -> Signal:
    """Raw signal as values of the matrix: ``(transform(x) - mean) / scale``, within the scaler's clip.

    Computed in the signal's own precision.

    Parameters
    ----------
    signal : (..., track) float32 or float64 array
        Raw; NaN where there is no data, which counts as a signal of 0 or, in a track whose uncovered bases are missing,
        becomes the track's mean: 0. Signal below 0 counts as 0 under log1p.
    scaler : Scaler
        Of these tracks.

    Returns
    -------
    (..., track) array
        A new one, laid out in memory as the signal is.
    """
    dtype = signal.dtype.type
    without_data = np.isnan(signal)
    values: Any = np.where(without_data, dtype(0), signal)
    for transform, columns in _by_transform(scaler):
        if columns is None:
            FORWARD[transform](values, out=values)
        else:
            values[..., columns] = FORWARD[transform](values[..., columns])
    values -= np.array(scaler.mean, dtype)
    values /= np.array(scaler.scale, dtype)
    clipped(values, scaler)
    missing = missing_where_uncovered(scaler)
    if missing.any():
        values[without_data & missing] = 0
    result: Signal = values
    return result


def clipped(standardised: npt.NDArray[np.floating], scaler: Scaler) -> None:
    """Cut standardised values, (..., track), off at the scaler's clip, in place."""
    if scaler.clip is not None:
        np.clip(standardised, -scaler.clip, scaler.clip, out=standardised)


def to_signal(standardised: npt.NDArray[np.floating], scaler: Scaler) -> npt.NDArray[np.floating]:
    """Values of the matrix, or of a reconstruction of it, as raw signal: what `standardise` undone gives.

    Parameters
    ----------
    standardised : (..., track) float16, float32 or float64 array
    scaler : Scaler
        Of these tracks.

    Returns
    -------
    (..., track) array
        float64 for float64, else float32. Finite wherever the values are: what would lie beyond 5e12 is cut off. What
        had no data in a track comes back as 0, or as the track's mean where its uncovered bases are missing.
    """
    dtype = np.float64 if standardised.dtype == np.float64 else np.float32
    values: npt.NDArray[np.floating] = standardised.astype(dtype)
    values *= np.array(scaler.scale, dtype)
    values += np.array(scaler.mean, dtype)
    for transform, columns in _by_transform(scaler):
        if transform == "none":
            continue
        part = values if columns is None else values[..., columns]
        part = BACK[transform](np.clip(part, -LARGEST_TRANSFORMED, LARGEST_TRANSFORMED))
        if columns is None:
            values = part
        else:
            values[..., columns] = part
    return values


def stored(standardised: npt.NDArray[np.floating]) -> npt.NDArray[np.float16]:
    """Values as a matrix holds them: in float16, clipped to what is finite there."""
    clipped: npt.NDArray[np.floating] = np.clip(standardised, -LARGEST_STORED, LARGEST_STORED)
    return clipped.astype(np.float16)


def missing_where_uncovered(scaler: Scaler) -> npt.NDArray[np.bool_]:
    """Tracks, (track,), whose uncovered bases are missing and not a signal of 0."""
    return np.array([each == "missing" for each in scaler.uncovered_bases], bool)


def places_of(transform: Transform, transforms: Sequence[Transform]) -> npt.NDArray[np.int64]:
    """Places of the tracks with a transform."""
    return np.flatnonzero(np.array([each == transform for each in transforms], bool))


def _by_transform(scaler: Scaler) -> list[tuple[Transform, npt.NDArray[np.int64] | None]]:
    """Each transform with the places of its tracks; None stands for all of them."""
    if not isinstance(scaler.transform, list):
        return [(scaler.transform, None)]
    transforms = scaler.transforms
    return [(transform, places_of(transform, transforms)) for transform in dict.fromkeys(transforms)]
