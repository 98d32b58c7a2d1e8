"""The imputation field's measures of how far a track's predicted signal is from the observed one.

They are those of the ENCODE imputation challenge (Schreiber et al. 2023, Genome Biology 24:79) and of Ernst and Kellis
(2015, Nature Biotechnology 33:364): mean squared error over all bins (MSEglobal), over the 1% of bins with the highest
observed signal (MSE1obs, that is, in peaks), over the 1% with the highest predicted signal (MSE1imp), at promoters
(MSEprom) and in gene bodies (MSEgene).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from epilstm.scoring.gene_regions import GENES, PROMOTERS
from epilstm.store.evaluation_results import MeasureTable, SignalMeasures
from epilstm.store.manifests import Scaler
from epilstm.tracks.identity import TrackSet

#: Share of bins that "the top" is.
TOP_SHARE = 0.01

#: Leading bits of a value's float16 that say its place in the ranking: cells 1.6% wide.
RANK_BITS = 12
CELLS = 1 << RANK_BITS
LARGEST = float(np.finfo(np.float16).max)

#: A track's squared distance from its mean is taken for rounding below this share of its sum of squares.
CONSTANT_SPREAD = 1e-9


def unstandardised(rows: NDArray[np.float32], scaler: Scaler) -> NDArray[np.float32]:
    """(bins, tracks) rows of the matrix in the space of the tracks' transform (arcsinh, by default)."""
    return rows * np.array(scaler.scale, np.float32) + np.array(scaler.mean, np.float32)


def rank_cells(values: NDArray[np.floating]) -> NDArray[np.int64]:
    """Cells in which values lie, in rising order: the first `RANK_BITS` bits of their float16, made monotone."""
    # Adding 0 makes -0 into 0.
    bits = np.clip(values + 0.0, -LARGEST, LARGEST).astype(np.float16).view(np.uint16)
    ordered = np.where(bits & 0x8000, ~bits, bits | 0x8000)
    cells: NDArray[np.int64] = (ordered >> (16 - RANK_BITS)).astype(np.int64)
    return cells


def top_mean(counts: NDArray[np.int64], sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the top `TOP_SHARE` of values (at least one), from their counts and sums by ranking cell.

    The cell that the limit falls into counts in proportion.

    Parameters
    ----------
    counts, sums : (tracks, cells) arrays
    """
    wanted = np.maximum(1, np.round(TOP_SHARE * counts.sum(axis=1)))[:, None]
    above = np.cumsum(counts[:, ::-1], axis=1)[:, ::-1] - counts
    taken = np.clip(wanted - above, 0, counts)
    share = np.divide(taken, counts, out=np.zeros(sums.shape), where=counts > 0)
    means: NDArray[np.float64] = (share * sums).sum(axis=1) / wanted[:, 0]
    return means


class SignalErrors:
    """Errors of predicted against observed signal, added up block by block in memory that does not grow.

    Parameters
    ----------
    tracks : int
    """

    def __init__(self, tracks: int) -> None:
        self.bins = 0
        self.squared = np.zeros(tracks)
        self.sums = np.zeros((5, tracks))  # of observed, predicted, their squares and their product
        self.counts = np.zeros((2, tracks, CELLS), dtype=np.int64)  # by observed, by predicted
        self.ranked = np.zeros((2, tracks, CELLS))
        self.region_bins: dict[str, int] = {}
        self.region_squared: dict[str, NDArray[np.float64]] = {}

    def add(
        self,
        observed: NDArray[np.floating],
        predicted: NDArray[np.floating],
        regions: Mapping[str, NDArray[np.bool_]],
    ) -> None:
        """Take in (bins, tracks) signal; `regions` are (bins,) masks by kind of region."""
        truth, guess = observed.astype(np.float64), predicted.astype(np.float64)
        squares = np.square(guess - truth)
        self.bins += len(truth)
        self.squared += squares.sum(axis=0)
        for row, terms in enumerate((truth, guess, truth * truth, guess * guess, truth * guess)):
            self.sums[row] += terms.sum(axis=0)
        shape = self.ranked[0].shape
        offsets = np.arange(shape[0]) * CELLS
        for which, values in enumerate((observed, predicted)):
            cells = (rank_cells(values) + offsets).ravel()
            length = shape[0] * CELLS
            self.counts[which] += np.bincount(cells, minlength=length).reshape(shape)
            self.ranked[which] += np.bincount(cells, squares.ravel(), minlength=length).reshape(shape)
        for kind, mask in regions.items():
            self.region_bins[kind] = self.region_bins.get(kind, 0) + int(mask.sum())
            self.region_squared[kind] = self.region_squared.get(kind, 0.0) + squares[mask].sum(axis=0)

    def per_track(self) -> dict[str, NDArray[np.float64]]:
        """(tracks,) arrays by field of `SignalMeasures`; those of a kind of region without bins are left out."""
        n = max(self.bins, 1)
        truth, guess, truth_squares, guess_squares, products = self.sums
        spread = truth_squares - truth**2 / n
        spread[spread <= CONSTANT_SPREAD * np.maximum(truth_squares, 1e-300)] = np.nan
        guess_spread = guess_squares - guess**2 / n
        guess_spread[guess_spread <= CONSTANT_SPREAD * np.maximum(guess_squares, 1e-300)] = np.nan
        found = {
            "mse_global": self.squared / n,
            "mse_1obs": top_mean(self.counts[0], self.ranked[0]),
            "mse_1imp": top_mean(self.counts[1], self.ranked[1]),
            "r2": 1 - self.squared / spread,
            "correlation": (products - truth * guess / n) / np.sqrt(spread * guess_spread),
        }
        for kind, name in ((PROMOTERS, "mse_prom"), (GENES, "mse_gene")):
            if self.region_bins.get(kind):
                found[name] = self.region_squared[kind] / self.region_bins[kind]
        return found

    def table(self, tracks: TrackSet) -> MeasureTable:
        """Measures of each track, each assay's mean over its tracks, and the mean over all tracks."""
        values = self.per_track()
        groups: dict[str, list[int]] = {}
        for number, assay in enumerate(tracks.assays):
            groups.setdefault(assay, []).append(number)
        return MeasureTable(
            overall=_mean(values, list(range(len(tracks)))),
            assays={assay: _mean(values, numbers) for assay, numbers in groups.items()},
            tracks={name: _mean(values, [number]) for number, name in enumerate(tracks.names)},
        )


def _mean(values: Mapping[str, NDArray[np.float64]], numbers: list[int]) -> SignalMeasures:
    """Mean over some tracks, of each measure over those for which it is defined."""
    chosen = {name: each[numbers][np.isfinite(each[numbers])] for name, each in values.items()}
    return SignalMeasures(**{name: float(each.mean()) for name, each in chosen.items() if len(each)})
