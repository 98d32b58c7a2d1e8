"""Plain loops that compute what the fast paths compute: what they are compared with, and the oracles of their tests.

Written in the style of the code published with Epi-LSTM: text parsed line by line, one base, one bin, one time step at
a time, batches of one. Its faults are not copied: gradients are clipped to a sensible norm, the state is carried on.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor


def bin_bedgraph(lines: Iterable[str], start: int, end: int, bin_size: int) -> list[float]:
    """Mean signal per bin from bedGraph text: parse, fill an array base by base, average bin by bin.

    Parameters
    ----------
    lines : iterable of str
        ``chrom<TAB>start<TAB>end<TAB>value`` of one chromosome.
    start, end : int
        Interval in base pairs; `start` is a multiple of `bin_size`.
    bin_size : int

    Returns
    -------
    list of float
        A base without signal counts as 0; a bin without any base with signal is NaN.
    """
    bases = np.full(end - start, np.nan)
    for line in lines:
        _, first, last, value = line.split("\t")
        for base in range(max(int(first), start), min(int(last), end)):
            bases[base - start] = float(value)
    means = []
    for first_base in range(0, end - start, bin_size):
        window = bases[first_base : first_base + bin_size]
        covered = not np.isnan(window).all()
        means.append(float(np.nan_to_num(window).sum()) / bin_size if covered else math.nan)
    return means


def standardise(signal: NDArray[np.float32], mean: list[float], scale: list[float]) -> NDArray[np.float16]:
    """``(arcsinh(x) - mean) / scale``, bin by bin.

    Parameters
    ----------
    signal : (track, bin) float32 array
        NaN, no data, counts as 0.
    mean, scale : list of float
        Per track.

    Returns
    -------
    (bin, track) float16 array
    """
    rows = []
    for bin_number in range(signal.shape[1]):
        column = np.nan_to_num(signal[:, bin_number], nan=0.0)
        rows.append((np.arcsinh(column) - np.array(mean)) / np.array(scale))
    return np.array(rows, dtype=np.float16)


def pool(
    values: NDArray[np.float32], valid: NDArray[np.bool_], first: NDArray[np.int64], last: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Mean, maximum and standard deviation of windows, window by window.

    Parameters
    ----------
    values : (bin, size) float32 array
    valid : (bin,) bool array
        Bins that count.
    first, last : (window,) int64 arrays
        Half-open.

    Returns
    -------
    (window, 3 * size) float32 array
        NaN where no bin counts.
    """
    features = []
    for start, stop in zip(first, last, strict=True):
        rows = [values[index].astype(np.float64) for index in range(start, stop) if valid[index]]
        if rows:
            features.append(np.concatenate([np.mean(rows, axis=0), np.max(rows, axis=0), np.std(rows, axis=0)]))
        else:
            features.append(np.full(3 * values.shape[1], np.nan))
    return np.array(features, dtype=np.float32)


Weights = Mapping[str, "Tensor"]
State = tuple["Tensor", ...]


def lstm(
    x: list[Tensor], weights: Weights, prefix: str, h: Tensor, c: Tensor, softsign: bool, cells: Any = None
) -> tuple[list[Tensor], list[Tensor]]:
    """One recurrent layer, one step at a time.

    Parameters
    ----------
    x : list of Tensor (1, input)
        One entry per step.
    weights : mapping of str to Tensor
        Named as in `torch.nn.LSTM`, behind `prefix`; gates in the order input, forget, candidate, output.
    prefix : str
    h, c : Tensor (1, hidden)
    softsign : bool
        The published cell: softsign in place of tanh.
    cells : list of Tensor (1, hidden), optional
        Cell states to continue from at each step, in place of its own.

    Returns
    -------
    list of Tensor (1, hidden)
        Hidden states.
    list of Tensor (1, hidden)
        Cell states.
    """
    import torch
    from torch.nn import functional

    squash = functional.softsign if softsign else torch.tanh
    hidden_states, cell_states = [], []
    for step, row in enumerate(x):
        from_input = functional.linear(row, weights[f"{prefix}weight_ih_l0"], weights[f"{prefix}bias_ih_l0"])
        from_hidden = functional.linear(h, weights[f"{prefix}weight_hh_l0"], weights[f"{prefix}bias_hh_l0"])
        i, f, g, o = (from_input + from_hidden).chunk(4, dim=1)
        c = torch.sigmoid(f) * (c if cells is None else cells[step]) + torch.sigmoid(i) * squash(g)
        h = torch.sigmoid(o) * squash(c)
        hidden_states.append(h)
        cell_states.append(c)
    return hidden_states, cell_states


def encode(architecture: str, weights: Weights, x: list[Tensor], state: State) -> list[Tensor]:
    """Embedding of each bin, one at a time.

    Parameters
    ----------
    architecture : str
        ``published``, ``published_softsign`` or ``bottleneck`` (of one layer and one direction).
    weights : mapping of str to Tensor
        The network's ``state_dict``.
    x : list of Tensor (1, track)
        Bins of the matrix.
    state : tuple of Tensor (1, hidden)
        As the network's `zero_state`.
    """
    return _encode(architecture, weights, x, state)[0]


def _encode(
    architecture: str, weights: Weights, x: list[Tensor], state: State
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    from torch.nn import functional

    softsign = architecture == "published_softsign"
    prefix = "encoder." if softsign else "encoder.layers.0."
    hidden, cells = lstm(x, weights, prefix, state[0], state[1], softsign)
    if architecture != "bottleneck":
        return hidden, hidden, cells
    embedding = [
        functional.linear(h, weights["bottleneck.weight"], weights["bottleneck.bias"])
        + functional.linear(row, weights["around_encoder.weight"])
        for h, row in zip(hidden, x, strict=True)
    ]
    return embedding, hidden, cells


def reconstruct(architecture: str, weights: Weights, x: list[Tensor], state: State) -> tuple[list[Tensor], State]:
    """Reconstruction of each bin of a frame, and the state after it; parameters as for `encode`."""
    import torch
    from torch.nn import functional

    embedding, hidden, cells = _encode(architecture, weights, x, state)
    last: State = (hidden[-1], cells[-1])
    if architecture == "published":
        decoded, _ = lstm(embedding, weights, "decoder.layers.0.", last[0], last[1], softsign=False)
    elif architecture == "published_softsign":
        decoded, _ = lstm(embedding, weights, "decoder.", last[0], last[1], softsign=True, cells=cells)
    else:
        zero = torch.zeros_like(hidden[0])
        reverse = {name.removesuffix("_reverse"): value for name, value in weights.items() if name.endswith("_reverse")}
        forward, ends = lstm(embedding, weights, "decoder.layers.0.", state[2], state[3], softsign=False)
        backward, _ = lstm(embedding[::-1], reverse, "decoder.layers.0.", zero, zero, softsign=False)
        decoded = [torch.cat(parts, dim=1) for parts in zip(forward, backward[::-1], embedding, strict=True)]
        last += (forward[-1], ends[-1])
    return [functional.linear(row, weights["readout.weight"], weights["readout.bias"]) for row in decoded], last


def train_frame(
    architecture: str, weights: Weights, optimizer: Any, frame: Tensor, state: State
) -> tuple[float, State]:
    """One step of the optimiser on one frame, batch 1.

    Parameters
    ----------
    architecture : str
    weights : mapping of str to Tensor
        Leaves that require gradients; changed in place.
    optimizer : torch.optim.Optimizer
        Of these weights.
    frame : Tensor (bin, track)
    state : tuple of Tensor (1, hidden)

    Returns
    -------
    float
        Mean squared error of the frame before the step.
    tuple of Tensor (1, hidden)
        State after the frame, detached.
    """
    import torch

    optimizer.zero_grad()
    x = [row[None] for row in frame]
    reconstruction, last = reconstruct(architecture, weights, x, state)
    loss = torch.zeros(())
    for ours, target in zip(reconstruction, x, strict=True):
        loss = loss + torch.nn.functional.mse_loss(ours, target)
    loss = loss / len(x)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(list(weights.values()), 1.0)
    optimizer.step()
    return float(loss.detach()), tuple(part.detach() for part in last)
