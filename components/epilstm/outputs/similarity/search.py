"""The regions that are most like a query: window by window, in either direction.

Every placement of the query along the genome is compared, so the search is exact, and ranks are p-values.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Windows of a block, which bounds memory.
BLOCK_WINDOWS = 200_000

#: Consecutive windows: chromosome, first window, standardised vectors (window, dim).
Run = tuple[str, int, NDArray[np.float32]]


@dataclass(frozen=True)
class Hit:
    """A region that is like a query.

    Parameters
    ----------
    chrom : str
    first, last : int
        Windows, half-open.
    reverse : bool
        Whether it is like the query read from its end.
    distance : float
        Root mean square difference of the vectors, in standard deviations of a number: 0 for equal ones, around 1.4 for
        two that have nothing to do with each other.
    p : float
        Share of the placements with data that are as close, the query's own region left out.
    """

    chrom: str
    first: int
    last: int
    reverse: bool
    distance: float
    p: float


def find_similar(
    query: NDArray[np.float32],
    runs: Iterable[Run],
    top: int,
    own: tuple[str, int, int] | None = None,
) -> list[Hit]:
    """The most similar regions of a query's length, which overlap neither each other nor the query.

    Parameters
    ----------
    query : (windows, dim) float32 array
        Standardised.
    runs : iterable of (chrom, first window, vectors)
    top : int
        Hits at most.
    own : (chrom, first, last), optional
        Windows of the query, where it lies in the genome.

    Returns
    -------
    list of Hit
        The closest first; ties in the order of the genome.
    """
    length = len(query)
    places: list[tuple[str, int, int]] = []
    parts: list[NDArray[np.float32]] = []
    turned: list[NDArray[np.bool_]] = []
    for chrom, first, vectors in runs:
        for start, distances, reverse in _placements(query, vectors):
            if own is not None and chrom == own[0]:
                begins = first + start + np.arange(len(distances))
                distances[(begins < own[2]) & (begins + length > own[1])] = np.inf
            places.append((chrom, first + start, len(distances)))
            parts.append(distances)
            turned.append(reverse)
    if not parts:
        return []
    distances, reverse = np.concatenate(parts), np.concatenate(turned)
    with_data = int(np.isfinite(distances).sum())
    ends = np.cumsum([count for *_, count in places])
    hits: list[Hit] = []
    taken: dict[str, list[int]] = {}
    order = _closest(distances, min(with_data, _candidates(top, length)))
    ranked = distances[order]
    for place in order:
        which = int(np.searchsorted(ends, place, side="right"))
        chrom, first, count = places[which]
        begin = first + int(place - (ends[which] - count))
        if any(abs(begin - other) < length for other in taken.get(chrom, ())):
            continue
        taken.setdefault(chrom, []).append(begin)
        as_close = int(np.searchsorted(ranked, distances[place], side="right"))
        distance, share = float(distances[place]), as_close / with_data
        hits.append(Hit(chrom, begin, begin + length, bool(reverse[place]), distance, share))
        if len(hits) == top:
            break
    return hits


def _candidates(top: int, length: int) -> int:
    """Placements among which so many hits are found whatever overlaps: each overlaps fewer than twice its length."""
    return top * (2 * length - 1)


def _closest(distances: NDArray[np.float32], count: int) -> NDArray[np.intp]:
    """The `count` smallest, in order; the first of equal ones first."""
    if count < len(distances):
        limit = np.partition(distances, count - 1)[count - 1] if count else -np.inf
        chosen = np.flatnonzero(distances <= limit)
    else:
        chosen = np.flatnonzero(np.isfinite(distances))
    return chosen[np.argsort(distances[chosen], kind="stable")]


def _placements(
    query: NDArray[np.float32], vectors: NDArray[np.float32]
) -> Iterator[tuple[int, NDArray[np.float32], NDArray[np.bool_]]]:
    """First placement, distance of each (infinite without data), and whether the query is reversed there."""
    length, size = query.shape
    both = np.concatenate([query, query[::-1]]).T
    norm = float((query.astype(np.float64) ** 2).sum())
    for start in range(0, len(vectors) - length + 1, BLOCK_WINDOWS):
        count = min(BLOCK_WINDOWS, len(vectors) - length + 1 - start)
        block = np.asarray(vectors[start : start + count + length - 1])
        missing = np.isnan(block[:, 0])
        block = np.where(missing[:, None], np.float32(0), block)
        products = block @ both
        squares = np.einsum("nd,nd->n", block, block)
        lengths = np.zeros(count)
        forward, reverse = np.zeros(count), np.zeros(count)
        for shift in range(length):
            placed = slice(shift, shift + count)
            lengths += squares[placed]
            forward += products[placed, shift]
            reverse += products[placed, length + shift]
        squared = np.maximum(norm + lengths - 2 * np.maximum(forward, reverse), 0)
        distances = np.sqrt(squared / (length * size)).astype(np.float32)
        distances[np.convolve(missing, np.ones(length), "valid") > 0] = np.inf
        yield start, distances, np.asarray(reverse > forward)
