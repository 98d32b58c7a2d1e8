"""What states know of genes: average precision on chromosomes that they were not fitted on."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from benchmarks.segmentation.genes import Genes, touched
from epilstm.genome.assembly import Region, bins_of
from epilstm.genome.bin_range import BinRange
from epilstm.outputs.segmentation.states import NO_STATE, States
from epilstm.scoring.metrics import weighted_average_precision

#: Measures, in the order of the table.
MEASURES = ("active_tss", "gene_body", "expressed")


class StateCounts:
    """Bins of each state on some chromosomes: near active starts, in active bodies, and in the windows of each gene.

    Memory is that of the genes, and of one bin range at a time.

    Parameters
    ----------
    genes : Genes
    states, bin_size : int
    """

    def __init__(self, genes: Genes, states: int, bin_size: int) -> None:
        self.genes, self.states, self.bin_size = genes, states, bin_size
        self._positive = {"active_tss": genes.near_starts(), "gene_body": genes.bodies()}
        #: Bins (state, is positive) by measure.
        self.bins = {name: np.zeros((states, 2), np.int64) for name in self._positive}
        #: Bins (gene, body or start, state).
        self.windows = np.zeros((len(genes.genes), 2, states), np.int64)
        self._places: dict[str, list[int]] = {}
        for place, gene in enumerate(genes.genes):
            self._places.setdefault(gene.body.chrom, []).append(place)

    def add(self, bin_range: BinRange, found: States) -> None:
        """Count the states (bin,) of a bin range."""
        there = found != NO_STATE
        for name, intervals in self._positive.items():
            positive = touched(intervals, bin_range, self.bin_size)[there]
            counts = np.bincount(2 * found[there].astype(np.int64) + positive, minlength=2 * self.states)
            self.bins[name] += counts.reshape(self.states, 2)
        for place in self._places.get(bin_range.chrom, ()):
            gene = self.genes.genes[place]
            for window, region in enumerate((gene.body, gene.tss)):
                self.windows[place, window] += self._within(region, bin_range, found)

    def _within(self, region: Region, bin_range: BinRange, found: States) -> NDArray[np.int64]:
        first, last = bins_of(region, self.bin_size)
        own = found[max(first - bin_range.first, 0) : max(last - bin_range.first, 0)]
        return np.bincount(own, minlength=NO_STATE + 1)[: self.states]

    @property
    def usable(self) -> NDArray[np.bool_]:
        """Genes with a state at the start and in the body, (gene,)."""
        return np.asarray((self.windows.sum(axis=2) > 0).all(axis=1))

    def shares(self) -> NDArray[np.float64]:
        """Shares of states in the body and at the start of the usable genes, (gene, 2 x state)."""
        windows = self.windows[self.usable]
        return np.asarray((windows / windows.sum(axis=2, keepdims=True)).reshape(len(windows), 2 * self.states))


def counted(segmentation: Iterable[tuple[BinRange, States]], genes: Genes, states: int, bin_size: int) -> StateCounts:
    """Counts of a segmentation that is made and dropped one bin range after the other."""
    counts = StateCounts(genes, states, bin_size)
    for bin_range, found in segmentation:
        counts.add(bin_range, found)
    return counts


def precision_of_ranked_states(training: NDArray[np.int64], scored: NDArray[np.int64]) -> float:
    """Average precision of positive bins, where each bin is scored by how many bins of its state are in training.

    Parameters
    ----------
    training, scored : (state, 2) int64 arrays
        Bins of each state that are negative and that are positive. A state without training bins ranks last.

    Returns
    -------
    float
        NaN without positives.
    """
    scores = training[:, 1] / np.maximum(training.sum(axis=1), 1)
    labels, weights = np.tile([False, True], len(scored)), scored.reshape(1, -1).astype(np.float64)
    return float(weighted_average_precision(labels, np.repeat(scores, 2), weights)[0])


def precision_of_expressed_genes(training: StateCounts, scored: StateCounts) -> float | None:
    """Average precision of expressed genes, by logistic regression on the shares of states at start and in body.

    Returns
    -------
    float or None
        None where nothing is known of expression or where training or scored genes are all alike.
    """
    from sklearn.linear_model import LogisticRegression

    labels, truth = (own.genes.active[own.usable] for own in (training, scored))
    if not training.genes.cell_types or len(np.unique(labels)) < 2 or len(np.unique(truth)) < 2:
        return None
    model = LogisticRegression(max_iter=1_000).fit(training.shares(), labels)
    predicted = model.decision_function(scored.shares())
    return float(weighted_average_precision(truth, predicted, np.ones((1, len(truth))))[0])


def precisions(training: StateCounts, scored: StateCounts) -> dict[str, float | None]:
    """Average precision by measure."""
    of_bins: dict[str, float | None] = {
        name: precision_of_ranked_states(training.bins[name], scored.bins[name]) for name in scored.bins
    }
    return of_bins | {"expressed": precision_of_expressed_genes(training, scored)}
