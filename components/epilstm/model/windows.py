"""Run a network over many consecutive bins: chunks in parallel, each with enough context to be exact.

A recurrent state forgets: after `CONTEXT_BINS` bins its start no longer matters (docs/model.md has the measurement). So
the bins are cut into chunks that are run side by side, each preceded (and, for what reads backwards, followed) by
context bins whose results are thrown away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from epilstm.genome.frames import spread_codes
from epilstm.model.chosen_codes import ChosenCodes
from epilstm.model.config import ModelConfig
from epilstm.model.context import FrameLevel
from epilstm.model.frames import frame_tokens
from epilstm.model.networks import Autoencoder, CellTypeBottleneck, bin_level_of, context_level_of

#: Bins of context on each side of a chunk.
CONTEXT_BINS = 200
#: Frames of context on each side, for the context level (docs/model.md has the measurement).
CONTEXT_FRAMES = 128
#: Bins per chunk, and chunks per call.
CHUNK_BINS = 1_000
CHUNKS = 16
CHUNKS_ON_GPU = 256


def side_by_side(threads: int) -> Callable[..., Iterable[Any]]:
    """A ``map`` for `encode_bins` and `reconstruct_bins` that runs groups of chunks on threads of their own.

    Each call of the network then keeps to one thread. torch's own threads meet at every step of a recurrence and spin
    while they wait, which on a busy machine takes many times as long as the step.

    Parameters
    ----------
    threads : int
        Calls at a time; the threads end with the process.
    """
    if threads == 1:
        return map
    return ThreadPoolExecutor(
        threads, thread_name_prefix="network", initializer=torch.set_num_threads, initargs=(1,)
    ).map


def encode_bins(
    network: Autoencoder,
    block: NDArray[np.floating],
    run: Callable[..., Iterable[Any]] = map,
    chosen: ChosenCodes | None = None,
) -> NDArray[np.float32]:
    """Embedding of consecutive bins.

    Parameters
    ----------
    network : Autoencoder
    block : array (bins, track)
        Consecutive bins of the standardised matrix; the bin range starts and ends at a region's edge, or at least
        `context_bins` from the bins whose embedding matters. With a context level it starts with a frame.
    run : callable
        As for `reconstruct_bins`.
    chosen : ChosenCodes, optional
        What is computed; everything if not given.

    Returns
    -------
    array (bins, dim), float32
    """
    bins, context = bin_level_of(network), context_level_of(network)
    size = network.config.bin_code_size if chosen is None else chosen.bin_code
    places = None if chosen is None else chosen.places
    if places is None:
        codes = _run(bins, block, size, lambda x: bins.encode(x)[0], run)
    elif isinstance(bins, CellTypeBottleneck):
        codes = _run(bins, block, size, lambda x: bins.encode_some(x, places), run)
    else:
        raise ValueError("only a network by cell type encodes some of them")
    if context is None:
        return codes
    return np.concatenate(
        [codes, encode_context(context, block, None if chosen is None else chosen.context_columns)], axis=1
    )


def encode_context(
    context: FrameLevel, block: NDArray[np.floating], columns: Sequence[int] | None = None
) -> NDArray[np.float32]:
    """Code of the context of each of some consecutive bins, which start with a frame: array (bins, dim), float32.

    `columns` are the numbers of the code that are wanted; all if not given.
    """
    if not len(block):
        return np.empty((0, context.size if columns is None else len(columns)), np.float32)
    with torch.inference_mode():
        tokens = torch.from_numpy(frame_tokens(block, context.frame_bins))[:, None].to(context.token_mean.device)
        codes = context.encode(context.standardised(tokens))[:, 0].float().cpu().numpy()
    return spread_codes(codes if columns is None else codes[:, list(columns)], len(block), context.frame_bins)


def context_bins(config: ModelConfig) -> int:
    """Bins on each side after which an embedding no longer depends on where a bin range began or ends."""
    return max(CONTEXT_BINS, context_frames(config, CONTEXT_FRAMES) * config.frame_bins)


def context_frames(config: ModelConfig, warmup: int) -> int:
    """Frames on each side that the context level needs: to warm up, and for the means that its linear blocks take.

    A bin's code is interpolated between two frames, so one more than the means reach.
    """
    return max(warmup, *(reach + 1 for reach in config.context_reaches), 0) if config.context_size else 0


def reconstruct_bins(
    network: Autoencoder, block: NDArray[np.floating], run: Callable[..., Iterable[Any]] = map
) -> NDArray[np.float32]:
    """Reconstruction of consecutive bins.

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
