"""Squared errors of imputed tracks by blocks of genome, for intervals that resample blocks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from epilstm.scoring.gene_regions import GENES, PROMOTERS
from epilstm.steps.evaluate.measures import CELLS, TOP_SHARE, rank_cells

#: Measure of `SignalMeasures` -> (blocks, tracks) summed squared errors, and the bins that they are of.
Sums = dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]


class BlockErrors:
    """Errors of one method, added up by block and track.

    The top 1% of bins are those of all blocks together, as in `epilstm.steps.evaluate.measures`; which they are is
    known at the end, and bins that cannot be among them are forgotten on the way.

    Parameters
    ----------
    tracks : int
    blocks : int
    bins : int
        That will be added in all.
    """

    def __init__(self, tracks: int, blocks: int, bins: int) -> None:
        self.squared = np.zeros((blocks, tracks))
        self.bins = np.zeros(blocks)
        self.regions: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]] = {}
        self.top = {name: _Top(tracks, blocks, bins) for name in ("mse_1obs", "mse_1imp")}

    def add(
        self,
        block: int,
        observed: NDArray[np.floating],
        predicted: NDArray[np.floating],
        regions: Mapping[str, NDArray[np.bool_]],
    ) -> None:
        """Take in (bins, tracks) signal of a block; `regions` are (bins,) masks by kind of region."""
        squares = np.square(predicted.astype(np.float64) - observed.astype(np.float64))
        self.squared[block] += squares.sum(axis=0)
        self.bins[block] += len(squares)
        for kind, mask in regions.items():
            sums, bins = self.regions.setdefault(kind, (np.zeros_like(self.squared), np.zeros_like(self.bins)))
            sums[block] += squares[mask].sum(axis=0)
            bins[block] += mask.sum()
        self.top["mse_1obs"].add(block, rank_cells(observed), squares)
        self.top["mse_1imp"].add(block, rank_cells(predicted), squares)

    def sums(self) -> Sums:
        """Sums of every measure that there is."""
        found: Sums = {"mse_global": (self.squared, self._per_track(self.bins))}
        found |= {name: top.sums() for name, top in self.top.items()}
        for kind, name in ((PROMOTERS, "mse_prom"), (GENES, "mse_gene")):
            if kind in self.regions and self.regions[kind][1].any():
                found[name] = self.regions[kind][0], self._per_track(self.regions[kind][1])
        return found

    def _per_track(self, bins: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.broadcast_to(bins[:, None], self.squared.shape)


class _Top:
    """Squared errors over the bins of each track that rank highest."""

    def __init__(self, tracks: int, blocks: int, bins: int) -> None:
        self.blocks, self.wanted = blocks, max(1, round(TOP_SHARE * bins))
        self.counts = np.zeros((tracks, CELLS), dtype=np.int64)
        self.kept: list[NDArray] = [np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)]

    def add(self, block: int, cells: NDArray[np.int64], squares: NDArray[np.float64]) -> None:
        tracks = len(self.counts)
        offsets = np.arange(tracks) * CELLS
        self.counts += np.bincount((cells + offsets).ravel(), minlength=tracks * CELLS).reshape(tracks, CELLS)
        limit = self._limit()
        row, track = np.nonzero(cells >= limit)
        old = self.kept[1] >= limit[self.kept[0]]
        new = [track, cells[row, track], np.full(len(row), block), squares[row, track]]
        self.kept = [np.concatenate([before[old], now]) for before, now in zip(self.kept, new, strict=True)]

    def _limit(self) -> NDArray[np.int64]:
        """(tracks,) cell that the limit of the top falls into; it only rises with more bins."""
        from_above = np.cumsum(self.counts[:, ::-1], axis=1)[:, ::-1]
        limit: NDArray[np.int64] = np.maximum((from_above >= self.wanted).sum(axis=1) - 1, 0)
        return limit

    def sums(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(blocks, tracks) summed squared errors, and bins; the cell of the limit counts in proportion."""
        tracks, limit = len(self.counts), self._limit()
        from_above = np.cumsum(self.counts[:, ::-1], axis=1)[:, ::-1]
        at_limit = self.counts[np.arange(tracks), limit]
        above = from_above[np.arange(tracks), limit] - at_limit
        share = np.clip(self.wanted - above, 0, at_limit) / np.maximum(at_limit, 1)
        track, cell, block, squares = self.kept
        weight = np.where(cell > limit[track], 1.0, np.where(cell == limit[track], share[track], 0.0))
        place, size = block * tracks + track, self.blocks * tracks
        squared, bins = (
            np.bincount(place, each, minlength=size).astype(np.float64).reshape(self.blocks, tracks)
            for each in (weight * squares, weight)
        )
        return squared, bins
