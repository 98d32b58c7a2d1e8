"""Does an encoder compute what the model computes? Both run on fresh random signal, the model in float64."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from epilstm.model.cell_types import with_missing
from epilstm.model.encoder_folder import EMBEDDING, SIGNAL, STATE_INPUTS, STATE_OUTPUTS
from epilstm.model.networks import Autoencoder
from epilstm.store.manifests import Scaler
from epilstm.store.standardisation import places_of, standardise, to_signal

#: (batch, time) of the signals compared.
SHAPES = ((1, 1), (1, 100), (5, 1), (3, 257), (16, 100), (2, 1000))

#: Share of tracks of a signal that are missing altogether, where a model takes such.
MISSING_SHARE = 0.2


@dataclass(frozen=True)
class _Compared:
    """One value for one signal, from the encoder and from the model."""

    value: str
    got: NDArray[np.float32]
    expected: NDArray[np.float64]
    batch: int
    time: int


@dataclass(frozen=True)
class Difference:
    """The largest difference found: relative to the standard deviation of a value over all signals, and where."""

    relative: float
    value: str
    batch: int
    time: int


def random_signal(rng: np.random.Generator, batch: int, time: int, scaler: Scaler) -> NDArray[np.float32]:
    """Signal like -log10 p, and worse: heavy-tailed, mostly near 0, some of it negative, huge or missing.

    Tracks that are not transformed lie about their means: huge values, which nothing tames, would drown the others.

    Returns
    -------
    array (batch, time, track), float32, with NaN in single values and in whole bins
    """
    shape = (batch, time, len(scaler.tracks))
    signal = rng.exponential(0.5, shape) * np.exp(rng.normal(0, 1.5, shape))
    signal[rng.random(shape) < 0.3] = 0
    signal[rng.random(shape) < 0.01] *= -1
    signal[rng.random(shape) < 0.001] = 1e5
    untransformed = places_of("none", scaler.transforms)
    if len(untransformed):
        about_mean = to_signal(rng.normal(0, 2, shape), scaler)
        signal[..., untransformed] = about_mean[..., untransformed]
    signal[rng.random(shape) < 0.02] = np.nan
    signal[rng.random((batch, time)) < 0.05] = np.nan
    return signal.astype(np.float32)


def reference(
    network: Autoencoder, scaler: Scaler, signal: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The model's embedding of a raw signal, in float64.

    Parameters
    ----------
    network : Autoencoder
        With float64 weights.
    signal : array (batch, time, track)

    Returns
    -------
    Embedding (batch, time, dim) and the last h and c, each (layer, batch, hidden)
    """
    standardised = with_missing(standardise(signal.astype(np.float64), scaler), signal, network.config.cell_types)
    x = torch.from_numpy(standardised).transpose(0, 1)
    with torch.inference_mode():
        embedding, state = network.encode(x)
    h, c = (torch.stack(state[which::2]).numpy() for which in (0, 1))
    return embedding.transpose(0, 1).numpy(), h, c


def largest_difference(network: Autoencoder, scaler: Scaler, session: Any, seed: int) -> Difference:
    """Compare an encoder of zero initial state with the model.

    Parameters
    ----------
    network : Autoencoder
        With float64 weights.
    seed : int
        Of the random signal.
    """
    rng = np.random.default_rng(seed)
    compared = []
    for batch, time in SHAPES:
        signal = random_signal(rng, batch, time, scaler)
        if network.config.cell_types is not None:
            # Assays that were not observed: a few tracks without data in any bin.
            signal[np.broadcast_to(rng.random((batch, 1, signal.shape[2])) < MISSING_SHARE, signal.shape)] = np.nan
        (embedding,) = session.run([EMBEDDING], {SIGNAL: signal})
        compared.append(_Compared(EMBEDDING, embedding, reference(network, scaler, signal)[0], batch, time))
    return _largest(compared)


def largest_streaming_difference(network: Autoencoder, scaler: Scaler, session: Any, seed: int) -> Difference:
    """Compare a stateful encoder, fed in pieces of random length, with the model's one pass."""
    rng = np.random.default_rng(seed)
    config = network.config
    compared = []
    for batch, time in SHAPES:
        signal = random_signal(rng, batch, time, scaler)
        state = [np.zeros((config.layers, batch, config.hidden_size), np.float32) for _ in STATE_INPUTS]
        pieces = []
        cuts = np.unique(rng.integers(1, max(time, 2), 3))
        cuts = cuts[cuts < time]
        for piece in np.split(signal, cuts, axis=1):
            fed = {SIGNAL: piece, **dict(zip(STATE_INPUTS, state, strict=True))}
            embedding, *state = session.run([EMBEDDING, *STATE_OUTPUTS], fed)
            pieces.append(embedding)
        expected = reference(network, scaler, signal)
        got = (np.concatenate(pieces, axis=1), *state)
        for value, one, other in zip((EMBEDDING, *STATE_OUTPUTS), got, expected, strict=True):
            compared.append(_Compared(value, one, other, batch, time))
    return _largest(compared)


def _largest(compared: list[_Compared]) -> Difference:
    """The largest difference, where one that is not a number is larger than any."""
    found = []
    for value in {one.value: None for one in compared}:
        of_value = [one for one in compared if one.value == value]
        # Over all signals together: the embedding of a single bin may be a single number, which has no spread.
        spread = float(np.concatenate([one.expected.ravel() for one in of_value]).std())
        spread = max(spread, float(np.finfo(np.float32).tiny))
        for one in of_value:
            relative = float(np.abs(one.got - one.expected).max()) / spread
            found.append(Difference(relative, value, one.batch, one.time))
    return max(found, key=lambda difference: np.nan_to_num(difference.relative, nan=np.inf))
