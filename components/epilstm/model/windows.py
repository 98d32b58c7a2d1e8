"""Run a network over many consecutive bins, in chunks (`epilstm.model.chunks`) side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from epilstm.genome.frames import spread_codes
from epilstm.model.chosen_codes import ChosenCodes
from epilstm.model.chunks import CHUNKS, filled_by_chunks
from epilstm.model.context import FrameLevel
from epilstm.model.frames import frame_tokens
from epilstm.model.networks import Autoencoder, CellTypeBottleneck, bin_level_of, context_level_of

#: Chunks per call.
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


def _run(
    network: Autoencoder,
    block: NDArray[np.floating],
    width: int,
    call: Callable[[Tensor], Tensor],
    run: Callable[..., Iterable[Any]],
) -> NDArray[np.float32]:
    device = network.readout.weight.device

    def encode(windows: NDArray[np.floating]) -> NDArray[np.float32]:
        with torch.inference_mode():
            values: NDArray[np.float32] = (
                call(torch.from_numpy(windows.astype(np.float32)).to(device)).float().cpu().numpy()
            )
        return values

    return filled_by_chunks(block, width, encode, run, CHUNKS if device.type == "cpu" else CHUNKS_ON_GPU)
