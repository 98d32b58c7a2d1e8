"""How far two distributions of signal lie apart: pure functions on histograms of arcsinh(signal).

Histograms are (track, histogram bin) counts between equally spaced edges; every function takes all tracks at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from epilstm.errors import DataError
from epilstm.tracks.signal_transform import Transform
from epilstm.tracks.transforms import transformed

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

#: A cell of `cells_of` is at least this wide in arcsinh(signal), about a factor of 1.6 in signal, and holds at least
#: this share of the reference. Narrower ones answer to a tenth more depth, as any replicate has; a cell with next to
#: nothing in it answers to single bins.
CELL_WIDTH, CELL_SHARE = 0.5, 0.01
#: The same in tracks that are not transformed, such as fractions from 0 to 1, which depth does not scale.
UNTRANSFORMED_CELL_WIDTH = 0.125

#: Quantiles of signal that a change of depth moves together: peaks, without the very highest bins.
SCALE_QUANTILES = (0.9, 0.95, 0.98, 0.99, 0.995)
#: Signal added to both sides of a ratio, so that nothing over nothing is 1.
LEAST_SIGNAL = 0.05

#: Share of bins that count as signal in the signal-to-noise ratio.
TOP_SHARE = 0.01


def counts_of(values: NDArray[np.float32], edges: Floats) -> Counts:
    """Histogram of each column of (bin, track) values; what lies beyond the edges is in the first and last bin.

    Raises
    ------
    DataError
        The edges are not equally spaced.
    """
    step = (edges[-1] - edges[0]) / (len(edges) - 1)
    if not np.allclose(np.diff(edges), step, rtol=1e-6):
        raise DataError("histograms.json: the edges are not equally spaced; run preprocess again")
    places = np.clip(np.floor((values - np.float32(edges[0])) * np.float32(1 / step)), 0, len(edges) - 2).astype(int)
    return np.array([np.bincount(column, minlength=len(edges) - 1) for column in places.T]).reshape(
        values.shape[1], len(edges) - 1
    )


def cells_of(reference: NDArray[np.int64], edges: Floats, transform: Transform = "arcsinh") -> list[int]:
    """First histogram bins of the cells that one track's reference histogram is gathered in.

    The first cell starts at bin 0; each is at least `CELL_WIDTH` wide (`UNTRANSFORMED_CELL_WIDTH` in a track that is
    not transformed) and holds `CELL_SHARE` of the reference.
    """
    width = UNTRANSFORMED_CELL_WIDTH if transform == "none" else CELL_WIDTH
    total = max(int(reference.sum()), 1)
    step = edges[1] - edges[0]
    starts, held = [0], 0
    for place, count in enumerate(reference.tolist()):
        # What lies below the reference's lowest values counts as wide enough: the first cell ends where it has to.
        if held >= CELL_SHARE * total and (place - starts[-1]) * step >= width:
            starts.append(place)
            held = 0
        held += count
    if len(starts) > 1 and held < CELL_SHARE * total:
        starts.pop()
    return starts


def gathered(counts: Counts, cells: Sequence[Sequence[int]]) -> list[Floats]:
    """Share of each track's counts in each of its cells; half a count more in each, so that none is empty."""
    shares = []
    for row, starts in zip(counts, cells, strict=True):
        cell = np.add.reduceat(row, starts) + 0.5
        shares.append(cell / cell.sum())
    return shares


def population_stability_index(new: Counts, reference: Counts, cells: Sequence[Sequence[int]]) -> Floats:
    """PSI of each track: sum over cells of (p - q) ln(p / q)."""
    pairs = zip(gathered(new, cells), gathered(reference, cells), strict=True)
    return np.array([((p - q) * np.log(p / q)).sum() for p, q in pairs])


def kolmogorov_smirnov(new: Counts, reference: Counts, cells: Sequence[Sequence[int]]) -> Floats:
    """Largest difference of the distribution functions of each track, at the cells' edges."""
    pairs = zip(gathered(new, cells), gathered(reference, cells), strict=True)
    return np.array([np.abs(np.cumsum(p - q)).max() for p, q in pairs])


def quantiles(counts: Counts, edges: Floats, at: Sequence[float]) -> Floats:
    """(track, len(at)) quantiles of arcsinh(signal), linear within a histogram bin; NaN for an empty histogram."""
    out = np.full((len(counts), len(at)), np.nan)
    for row, each in zip(out, counts, strict=True):
        if each.sum():
            share = np.concatenate([[0.0], np.cumsum(each) / each.sum()])
            row[:] = np.interp(at, share, edges)
    return out


def scale_shift(new: Counts, reference: Counts, edges: Floats) -> Floats:
    """Factor between two signals' high quantiles, as log2: -1 is half the signal, as at half the depth."""
    ours, theirs = (
        np.maximum(np.sinh(quantiles(counts, edges, SCALE_QUANTILES)), 0) + LEAST_SIGNAL for counts in (new, reference)
    )
    return np.asarray(np.median(np.log2(ours / theirs), axis=1))


def transformed_lead(new: Counts, reference: Counts, edges: Floats, transforms: Sequence[Transform]) -> Floats:
    """By how much better, in log2, high quantiles fit the reference's transformed signal than that signal itself.

    Above 0 for values that are transformed already; far below 0 for a replicate; NaN for tracks that are not to be.
    """
    ours, theirs = (quantiles(counts, edges, (*SCALE_QUANTILES, 0.999)) for counts in (new, reference))
    signal = np.maximum(np.sinh(theirs), 0)
    candidates = signal, np.array([transformed(row, each) for row, each in zip(signal, transforms, strict=True)])
    values = np.maximum(np.sinh(ours), 0) + LEAST_SIGNAL
    as_it_is, as_transformed = (
        np.sqrt(np.square(np.log2(values / (each + LEAST_SIGNAL))).mean(axis=1)) for each in candidates
    )
    untransformed = [transform == "none" for transform in transforms]
    return np.where(untransformed, np.nan, as_it_is - as_transformed)


def signal_to_noise(counts: Counts, edges: Floats) -> Floats:
    """Mean signal of the highest `TOP_SHARE` of the bins over the mean of all, as log2; NaN without any signal.

    A factor on the signal, such as a change of depth, leaves it as it is.
    """
    signal = np.maximum(np.sinh((edges[1:] + edges[:-1]) / 2), 0)
    total = counts.sum(axis=1, keepdims=True)
    # From the highest histogram bin down, as many counts as make up the share.
    above = np.cumsum(counts[:, ::-1], axis=1)[:, ::-1]
    top = np.clip(TOP_SHARE * total - (above - counts), 0, counts)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = (top @ signal / top.sum(axis=1)) / (counts @ signal / total[:, 0])
        return np.where(ratio > 0, np.log2(ratio), np.nan)
