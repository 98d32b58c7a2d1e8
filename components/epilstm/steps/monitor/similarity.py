"""Which tracks of the reference a new track is like: correlations from streamed sums."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class CrossProducts:
    """Sums of products between the columns of two matrices over all rows added.

    Unlike `epilstm.store.moments.Moments` it takes no products within a matrix, which would be a million for 1,014
    tracks, and multiplies in float32, which is enough to distinguish tracks.

    Parameters
    ----------
    ours, theirs : int
        Columns of either.
    """

    def __init__(self, ours: int, theirs: int) -> None:
        self.count = 0
        self.sums = np.zeros(ours), np.zeros(theirs)
        self.squares = np.zeros(ours), np.zeros(theirs)
        self.products = np.zeros((ours, theirs))

    def add(self, ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> None:
        """Take in (n, ours) and (n, theirs) values."""
        self.count += len(ours)
        for place, rows in enumerate((ours, theirs)):
            self.sums[place][:] += rows.sum(axis=0, dtype=np.float64)
            self.squares[place][:] += np.einsum("ij,ij->j", rows, rows, dtype=np.float64)
        self.products += ours.T @ theirs

    def include(self, others: CrossProducts) -> None:
        """Take in the rows behind others, of the same columns."""
        self.count += others.count
        for place in (0, 1):
            self.sums[place][:] += others.sums[place]
            self.squares[place][:] += others.squares[place]
        self.products += others.products

    def correlation(self) -> Floats:
        """(ours, theirs) Pearson correlations; 0 where a column does not vary."""
        count = max(self.count, 1)
        means = [total / count for total in self.sums]
        # What rounding leaves of a constant column is no spread.
        spreads = [
            np.where(variance > 1e-6 * np.maximum(square / count, 1e-12), np.sqrt(np.maximum(variance, 0)), np.inf)
            for square, mean in zip(self.squares, means, strict=True)
            for variance in [square / count - np.square(mean)]
        ]
        covariance = self.products / count - np.outer(*means)
        return np.clip(covariance / np.outer(*spreads), -1, 1)


def assay_means(correlation: Floats, names: Sequence[str], theirs: Sequence[str], assays: Sequence[str]) -> Floats:
    """Mean correlation of each of our tracks with the reference tracks of each assay, but for the track of its name.

    Parameters
    ----------
    correlation : (ours, theirs) array
    names, theirs : sequence of str
        Track names of rows and columns.
    assays : sequence of str
        Assay of each column.

    Returns
    -------
    (ours, assay) array
        Assays in order of first appearance; NaN where none is left to be compared with.
    """
    kinds = list(dict.fromkeys(assays))
    member = np.array([[assay == kind for kind in kinds] for assay in assays], float)
    other = np.array([[name != column for column in theirs] for name in names], float)
    with np.errstate(invalid="ignore"):
        means: Floats = ((correlation * other) @ member) / (other @ member)
    return means


def margin(means: Floats, own: Sequence[int | None]) -> Floats:
    """By how much the best other assay correlates better than a track's own; NaN where either is missing."""
    out = np.full(len(means), np.nan)
    for row, place in enumerate(own):
        if place is None or not np.isfinite(means[row, place]):
            continue
        rest = np.delete(means[row], place)
        if np.isfinite(rest).any():
            out[row] = np.nanmax(rest) - means[row, place]
    return out
