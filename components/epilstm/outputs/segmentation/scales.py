"""Embeddings at two scales: what lies at a bin, and what surrounds it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from epilstm.outputs.segmentation.standardiser import Standardiser

#: Base pairs on each side that a bin's local and its broad mean reach.
LOCAL_BP, BROAD_BP = 500, 10_000

#: Base pairs on each side of the mean that the local variance of a dimension is measured around.
DETREND_BP = 2_500

#: What the broad means count beside the local ones. Chosen on validation chromosomes (docs/lab-notebook.md).
BROAD_WEIGHT = 0.5

Floats = NDArray[np.floating]


def means_around(rows: Floats, reach: int) -> NDArray[np.float64]:
    """Mean over the bins up to `reach` away, as far as the rows go: (bin, dim).

    Parameters
    ----------
    rows : (bin, dim) array
        Consecutive bins, all with data.
    reach : int
        In bins.
    """
    sums = np.zeros((len(rows) + 1, rows.shape[1]))
    np.cumsum(rows, axis=0, dtype=np.float64, out=sums[1:])
    places = np.arange(len(rows))
    first, last = np.maximum(places - reach, 0), np.minimum(places + reach + 1, len(rows))
    return np.asarray((sums[last] - sums[first]) / (last - first)[:, None])


@dataclass(frozen=True)
class TrainingSequence:
    """Consecutive bins with data, (bin, dim), of which `inner` are fitted on; the others only surround them."""

    rows: Floats
    inner: slice

    @property
    def own(self) -> Floats:
        """The bins that are fitted on."""
        return self.rows[self.inner]


def bins_in(length: int, bin_size: int) -> int:
    """Bins that are nearest to a length in base pairs, one at least."""
    return max(1, round(length / bin_size))


def margin_bins(bin_size: int) -> int:
    """Bins on each side that features depend on."""
    return bins_in(max(LOCAL_BP, BROAD_BP), bin_size)


@dataclass(frozen=True)
class Scales:
    """Features of bins at two scales.

    A dimension counts locally by the share of its variance that lies within a few kilobases, and broadly by the rest:
    numbers of a bin code mostly the one, numbers of a context code the other.

    Parameters
    ----------
    local_bins, broad_bins : int
        Bins on each side that the means reach.
    local, broad : Standardiser
        Of the means, with the weights of the dimensions in their scale.
    """

    local_bins: int
    broad_bins: int
    local: Standardiser
    broad: Standardiser

    @classmethod
    def of(cls, sequences: Sequence[TrainingSequence], bin_size: int) -> Scales:
        """From the bins that are fitted on."""
        local_bins, broad_bins, detrend = (bins_in(length, bin_size) for length in (LOCAL_BP, BROAD_BP, DETREND_BP))
        rows = np.concatenate([each.own for each in sequences])
        around, local, broad = (
            np.concatenate([means_around(each.rows, reach)[each.inner] for each in sequences])
            for reach in (detrend, local_bins, broad_bins)
        )
        total = rows.var(axis=0, dtype=np.float64)
        within = ((rows - around) ** 2).mean(axis=0) / np.where(total > 0, total, 1)
        share = np.clip(np.where(total > 0, within, 1), 0, 1)
        return cls(
            local_bins,
            broad_bins,
            Standardiser.of(local).weighted(np.sqrt(share)),
            Standardiser.of(broad).weighted(BROAD_WEIGHT * np.sqrt(1 - share)),
        )

    def __call__(self, rows: Floats) -> NDArray[np.float64]:
        """Features (bin, 2 x dim) of consecutive bins with data."""
        local, broad = means_around(rows, self.local_bins), means_around(rows, self.broad_bins)
        return np.concatenate([self.local(local), self.broad(broad)], axis=1)
