"""What states hold and what they lie on: emission and enrichment tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from epilstm.genome.bin_range import BinRange
from epilstm.outputs.segmentation.annotation import Annotation
from epilstm.outputs.segmentation.states import NO_STATE, States

#: A segmentation misses starts where no state is enriched so many times at TSS +-2 kb, or those that are cover less of
#: it than this. For the measurement behind them see docs/outputs.md.
LEAST_FOLD, LEAST_COVERAGE = 3.0, 0.05


@dataclass
class StateSums:
    """Sums of values over the bins of each state, added up piece by piece."""

    states: int
    columns: int

    def __post_init__(self) -> None:
        self.sums = np.zeros((self.states, self.columns))
        self.bins = np.zeros(self.states, np.int64)

    def add(self, states: States, values: NDArray[np.floating]) -> None:
        """Add values (bin, column) of bins in some states; `NO_STATE` is left out."""
        for state in np.unique(states[states != NO_STATE]).tolist():
            rows = values[states == state]
            self.sums[state] += rows.sum(axis=0, dtype=np.float64)
            self.bins[state] += len(rows)

    @property
    def means(self) -> NDArray[np.float64]:
        """Mean (state, column); NaN of a state without bins."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.sums / self.bins[:, None]


@dataclass(frozen=True)
class Enrichment:
    """Where states lie, in base pairs.

    Parameters
    ----------
    overlap : (state, feature) float64 array
        Bases of a state within a feature.
    bases : (state,) float64 array
        Bases of a state.
    """

    features: list[str]
    overlap: NDArray[np.float64]
    bases: NDArray[np.float64]

    @property
    def shares(self) -> NDArray[np.float64]:
        """Share of all segmented bases that a feature has, (feature,)."""
        return np.asarray(self.overlap.sum(axis=0) / self.bases.sum())

    @property
    def folds(self) -> NDArray[np.float64]:
        """Fold enrichment (state, feature): a feature's share of the state over its share of all that is segmented.

        This is ChromHMM's OverlapEnrichment, ``(C / A) / (B / D)``, with the segmented bases in the genome's place. NaN
        where a state or a feature has no bases.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(self.overlap / self.bases[:, None] / self.shares)

    def ordered(self, order: Sequence[int]) -> Enrichment:
        """The same with states in another order."""
        return Enrichment(self.features, self.overlap[list(order)], self.bases[list(order)])


def enrichment_of(
    segmentation: Iterable[tuple[BinRange, States]],
    states: int,
    annotation: Annotation | None,
    bin_size: int,
    size_of: Callable[[str], int],
) -> Enrichment:
    """Bases of each state within each feature, and outside of every gene (``intergenic``).

    Parameters
    ----------
    segmentation : iterable of (BinRange, (bin,) uint8 array)
    annotation : Annotation or None
        None counts the states' bases only.
    size_of : callable
        Length of a chromosome.
    """
    known = annotation.features if annotation is not None else {}
    names = [*known, *(["intergenic"] if known else [])]
    overlap, bases = np.zeros((states, len(names))), np.zeros(states)
    for bin_range, found in segmentation:
        edges = np.minimum(
            np.arange(bin_range.first, bin_range.last + 1, dtype=np.int64) * bin_size, size_of(bin_range.chrom)
        )
        there = found != NO_STATE
        own, lengths = found[there], np.diff(edges)[there]

        def total(weights: NDArray, own: States = own) -> NDArray:
            return np.bincount(own, weights, minlength=states)[:states]

        bases += total(lengths)
        for column, intervals in enumerate(known.values()):
            overlap[:, column] += total(intervals.covered(bin_range.chrom, edges)[there])
        if known:
            overlap[:, -1] += total(lengths - known["gene_body"].covered(bin_range.chrom, edges)[there])
    return Enrichment(names, overlap, bases)


def missed_starts(enrichment: Enrichment) -> str | None:
    """A warning where states miss transcription start sites, else None.

    There has to be a state that is enriched `LEAST_FOLD` times at TSS +-2 kb; all such states together have to cover
    `LEAST_COVERAGE` of it. Nothing is said where no segmented base is near a start.

    Parameters
    ----------
    enrichment : Enrichment
        With an annotation.
    """
    column = enrichment.features.index("TSS_2kb")
    near = enrichment.overlap[:, column]
    if not near.sum():
        return None
    folds = np.nan_to_num(enrichment.folds[:, column])
    covered = near[folds >= LEAST_FOLD].sum() / near.sum()
    if folds.max() < LEAST_FOLD:
        found = f"the state most enriched at TSS +-2 kb is so {folds.max():.1f} times only"
    elif covered < LEAST_COVERAGE:
        found = f"states enriched {LEAST_FOLD:g} times at TSS +-2 kb cover {100 * covered:.1f}% of it only"
    else:
        return None
    return f"the states miss transcription start sites: {found}; try more --states or another --method"


def order_by_similarity(rows: NDArray[np.float64]) -> list[int]:
    """Order in which neighbours are alike: leaves of a tree of average linkage, the end with the largest mean first.

    Parameters
    ----------
    rows : (state, column) array
        Finite.
    """
    from scipy.cluster.hierarchy import leaves_list, linkage

    if len(rows) < 3:
        order = list(range(len(rows)))
    else:
        order = leaves_list(linkage(rows, "average", optimal_ordering=True)).tolist()
    means = rows.mean(axis=1)
    return order[::-1] if means[order[-1]] > means[order[0]] else order
