"""Run a network over a long stretch of bins: chunks in parallel, each with enough context to be exact.

A recurrent state forgets: after `CONTEXT_BINS` bins its start no longer matters (docs/model.md has the measurement). So
a stretch is cut into chunks that are run side by side, each preceded (and, for what reads backwards, followed) by
context bins whose results are thrown away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from epilstm.model.networks import Autoencoder

#: Bins of context on each side of a chunk.
CONTEXT_BINS = 200
#: Bins per chunk, and chunks per call.
CHUNK_BINS = 1_000
CHUNKS = 16
CHUNKS_ON_GPU = 256


def encode_bins(
    network: Autoencoder, block: NDArray[np.floating], run: Callable[..., Iterable[Any]] = map
) -> NDArray[np.float32]:
    """Embedding of a stretch of bins.

    Parameters
    ----------
    network : Autoencoder
    block : array (bins, track)
        Consecutive bins of the standardised matrix; the stretch starts and ends at a region's edge.
    run : callable
        As for `reconstruct_bins`.

    Returns
    -------
    array (bins, dim), float32
    """
    return _run(network, block, network.config.embedding_size, lambda x: network.encode(x)[0], run)


def reconstruct_bins(
    network: Autoencoder, block: NDArray[np.floating], run: Callable[..., Iterable[Any]] = map
) -> NDArray[np.float32]:
    """Reconstruction of a stretch of bins.

    Parameters
    ----------
    network : Autoencoder
    block : array (bins, track)
        As for `encode_bins`.
    run : callable
        Applies a function to each group of chunks; an executor's ``map`` runs them in parallel.

    Returns
    -------
    array (bins, track), float32
    """
    return _run(network, block, network.config.tracks, network.reconstruct, run)


def chunks_of(bins: int, chunk: int = CHUNK_BINS, context: int = CONTEXT_BINS) -> Iterator[tuple[int, int, int, int]]:
    """Cut ``range(bins)`` into chunks as ``(from, to, first, last)``: run ``from:to``, keep ``first:last``."""
    for first in range(0, bins, chunk):
        last = min(first + chunk, bins)
        yield max(0, first - context), min(bins, last + context), first, last


def _run(
    network: Autoencoder,
    block: NDArray[np.floating],
    width: int,
    call: Callable[[Tensor], Tensor],
    run: Callable[..., Iterable[Any]],
) -> NDArray[np.float32]:
    device = network.readout.weight.device
    together = CHUNKS if device.type == "cpu" else CHUNKS_ON_GPU
    same_length: dict[int, list[tuple[int, int, int, int]]] = {}
    for chunk in chunks_of(len(block)):
        same_length.setdefault(chunk[1] - chunk[0], []).append(chunk)
    groups = [
        chunks[start : start + together] for chunks in same_length.values() for start in range(0, len(chunks), together)
    ]
    out = np.empty((len(block), width), np.float32)

    def fill(group: list[tuple[int, int, int, int]]) -> None:
        with torch.inference_mode():
            x = np.stack([block[a:b] for a, b, _, _ in group], axis=1).astype(np.float32)
            y = call(torch.from_numpy(x).to(device)).float().cpu().numpy()
        for column, (a, _, first, last) in enumerate(group):
            out[first:last] = y[first - a : last - a, column]

    for _ in run(fill, groups):
        pass
    return out
