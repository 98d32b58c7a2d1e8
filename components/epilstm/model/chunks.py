"""Consecutive bins in chunks that are run side by side, each with enough context to be exact.

A recurrent state forgets: after `CONTEXT_BINS` bins its start no longer matters (docs/model.md has the measurement). So
the bins are cut into chunks, each preceded (and, for what reads backwards, followed) by context bins whose results are
thrown away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from epilstm.model.config import ModelConfig

#: Bins of context on each side of a chunk.
CONTEXT_BINS = 200
#: Frames of context on each side, for the context level (docs/model.md has the measurement).
CONTEXT_FRAMES = 128
#: Bins per chunk, and chunks per call.
CHUNK_BINS = 1_000
CHUNKS = 16


def context_bins(config: ModelConfig) -> int:
    """Bins on each side after which an embedding no longer depends on where a bin range began or ends."""
    return max(CONTEXT_BINS, context_frames(config, CONTEXT_FRAMES) * config.frame_bins)


def context_frames(config: ModelConfig, warmup: int) -> int:
    """Frames on each side that the context level needs: to warm up, and for the means that its linear blocks take.

    A bin's code is interpolated between two frames, so one more than the means reach.
    """
    return max(warmup, *(reach + 1 for reach in config.context_reaches), 0) if config.context_size else 0


def chunks_of(bins: int, chunk: int = CHUNK_BINS, context: int = CONTEXT_BINS) -> Iterator[tuple[int, int, int, int]]:
    """Cut ``range(bins)`` into chunks as ``(from, to, first, last)``: run ``from:to``, keep ``first:last``."""
    for first in range(0, bins, chunk):
        last = min(first + chunk, bins)
        yield max(0, first - context), min(bins, last + context), first, last


def filled_by_chunks(
    block: NDArray[np.floating],
    width: int,
    encode: Callable[[NDArray[np.floating]], NDArray[np.float32]],
    run: Callable[..., Iterable[Any]] = map,
    together: int = CHUNKS,
) -> NDArray[np.float32]:
    """Results for consecutive bins, computed in chunks of one length at a time.

    Parameters
    ----------
    block : array (bins, track)
    width : int
        Numbers per bin of a result.
    encode : callable
        From (time, chunk, track) to (time, chunk, `width`).
    run : callable
        Applies a function to each group of chunks; an executor's ``map`` runs them in parallel.
    together : int
        Chunks per call.

    Returns
    -------
    array (bins, `width`), float32
    """
    same_length: dict[int, list[tuple[int, int, int, int]]] = {}
    for chunk in chunks_of(len(block)):
        same_length.setdefault(chunk[1] - chunk[0], []).append(chunk)
    groups = [
        chunks[start : start + together] for chunks in same_length.values() for start in range(0, len(chunks), together)
    ]
    out = np.empty((len(block), width), np.float32)

    def fill(group: list[tuple[int, int, int, int]]) -> None:
        results = encode(np.stack([block[a:b] for a, b, _, _ in group], axis=1))
        for column, (a, _, first, last) in enumerate(group):
            out[first:last] = results[first - a : last - a, column]

    for _ in run(fill, groups):
        pass
    return out
