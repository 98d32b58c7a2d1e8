"""States of bins: clusters of embeddings, with or without memory of the bin before."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from epilstm.errors import DataError
from epilstm.genome.bin_range import BinRange
from epilstm.outputs.segmentation.scales import Scales, TrainingSequence, margin_bins
from epilstm.outputs.segmentation.standardiser import Standardiser
from epilstm.store.bin_ranges import BLOCK_BINS, read_rows
from epilstm.store.framed_codes import EmbeddingRows
from epilstm.tracks.bigwig_columns import runs

if TYPE_CHECKING:
    from sklearn.cluster import MiniBatchKMeans

#: State of bins without data; there are fewer states than this.
NO_STATE = 255

#: Bins of a sequence that is fitted on: many short ones, since rare states lie in few places.
SEQUENCE_BINS = 200

#: Bins on each side after which a decoded path no longer depends on where decoding began.
MARGIN_BINS = 500

#: Share of its bins' successors that a state keeps when fitting of the HMM begins.
STAY = 0.95

#: Least variance of a standardised dimension within a state, and least share of its evidence.
LEAST_VARIANCE, LEAST_EVIDENCE = 1e-3, 1e-2

#: Share of the bins that `MultiscaleStates` is fitted on which are drawn evenly. Chosen on validation chromosomes.
UNIFORM_SHARE = 0.7

Floats = NDArray[np.floating]
States = NDArray[np.uint8]


class StateModel(ABC):
    """Gives each bin a state.

    `margin` is how many bins on each side its state depends on.
    """

    margin: int

    @staticmethod
    def sequence_margin(bin_size: int) -> int:
        """Bins on each side of a sequence that fitting needs besides."""
        return 0

    @abstractmethod
    def decode(self, rows: Floats) -> States:
        """States (bin,) of consecutive bins (bin, dim), all with data."""

    def transitions(self) -> NDArray[np.float64] | None:
        """Probability (from, to) of the next bin's state; None where bins are taken one by one."""
        return None


@cache
def _libraries() -> ThreadpoolController:
    # Looking for the libraries takes milliseconds, which each of many scaffolds would take again.
    return ThreadpoolController()


def _one_thread() -> AbstractContextManager[Any]:
    """Numerical libraries use one thread: sums in another order would give other states."""
    limit: AbstractContextManager[Any] = _libraries().limit(limits=1)
    return limit


class KMeansStates(StateModel):
    """The nearest of some centres.

    Parameters
    ----------
    sequences : sequence of TrainingSequence
        To fit on.

    Raises
    ------
    DataError
        There are not so many different ones.
    """

    margin = 0

    def __init__(self, sequences: Sequence[TrainingSequence], states: int, seed: int, bin_size: int) -> None:
        rows = np.concatenate([each.own for each in sequences])
        self.standardise = Standardiser.of(rows)
        self.fitted = self.standardise(rows)
        self.model = clustered(self.fitted, states, seed)

    def decode(self, rows: Floats) -> States:
        """The nearest centre's number."""
        with _one_thread():
            return np.asarray(self.model.predict(self.standardise(rows)), np.uint8)


def clustered(rows: NDArray[np.float64], states: int, seed: int) -> MiniBatchKMeans:
    """K-means of rows (bin, feature).

    Raises
    ------
    DataError
        There are not so many different ones.
    """
    from sklearn.cluster import MiniBatchKMeans

    model = MiniBatchKMeans(states, batch_size=16_384, n_init=5, random_state=seed)
    with _one_thread():
        model.fit(rows)
    found = len(np.unique(model.labels_))
    if found < states:
        raise DataError(
            f"the embeddings fitted on fall into {found} states only; give --states {max(found, 2)} or fewer"
            if found > 1
            else "the embeddings fitted on are all alike: there are no different states"
        )
    return model


class MultiscaleStates(StateModel):
    """The nearest of some centres, of what lies at a bin and what surrounds it (`Scales`).

    Centres are fitted on a sample in which bins far from the mean are more frequent: rare states, as those of
    promoters, get centres of their own.

    Parameters
    ----------
    sequences : sequence of TrainingSequence
        To fit on.

    Raises
    ------
    DataError
        There are not so many different ones.
    """

    @staticmethod
    def sequence_margin(bin_size: int) -> int:
        """Bins on each side that the means reach."""
        return margin_bins(bin_size)

    def __init__(self, sequences: Sequence[TrainingSequence], states: int, seed: int, bin_size: int) -> None:
        self.scales = Scales.of(sequences, bin_size)
        self.margin = margin_bins(bin_size)
        rows = np.concatenate([self.scales(each.rows)[each.inner] for each in sequences])
        self.model = clustered(rows[rare_more_often(rows, seed)], states, seed)

    def decode(self, rows: Floats) -> States:
        """The nearest centre's number."""
        with _one_thread():
            return np.asarray(self.model.predict(self.scales(rows)), np.uint8)


def rare_more_often(rows: NDArray[np.float64], seed: int) -> NDArray[np.int64]:
    """Places of a sample of rows with mean 0, as many as there are, drawn with replacement and each listed once.

    A row's probability is in part the same for all, in part in proportion to its squared distance from the mean: the
    lightweight coreset of Bachem, Lucic and Krause (2018), without its weights, which would take back what rare rows
    gain.

    Parameters
    ----------
    rows : (bin, feature) array
    """
    squares = (rows**2).sum(axis=1)
    far = squares / squares.sum() if squares.any() else np.full(len(rows), 1 / len(rows))
    probability = UNIFORM_SHARE / len(rows) + (1 - UNIFORM_SHARE) * far
    drawn = np.random.default_rng(seed).choice(len(rows), len(rows), p=probability / probability.sum())
    return np.unique(drawn)


class HmmStates(StateModel):
    """The most probable path through a hidden Markov model with Gaussian emissions.

    States have one diagonal covariance in common (`SharedVarianceHmm`), and a dimension counts by how much a bin says
    of it that the bin before has not (`evidence_of`). Fitting begins at the clusters of `KMeansStates`. Parameters and
    errors as there.
    """

    margin = MARGIN_BINS

    def __init__(
        self, sequences: Sequence[TrainingSequence], states: int, seed: int, bin_size: int, iterations: int = 10
    ) -> None:
        from epilstm.outputs.segmentation.shared_variance import SharedVarianceHmm

        clusters = KMeansStates(sequences, states, seed, bin_size)
        self.standardise, rows = clusters.standardise, clusters.fitted
        lengths = [len(each.own) for each in sequences]
        centres = clusters.model.cluster_centers_.astype(np.float64)
        stay = np.full((states, states), (1 - STAY) / (states - 1))
        np.fill_diagonal(stay, STAY)
        self.model = SharedVarianceHmm(
            centres,
            ((rows - centres[clusters.model.labels_]) ** 2).mean(axis=0),
            stay,
            evidence_of(rows, lengths),
            LEAST_VARIANCE,
            n_iter=iterations,
            tol=1e-4 * len(rows),
            random_state=seed,
        )
        try:
            with _one_thread():
                self.model.fit(rows, lengths)
                self.model.predict(rows[:2])  # which refuses what cannot be a model
        except ValueError as error:
            raise DataError(
                f"no hidden Markov model of {states} states can be fitted: {error}; give fewer --states or "
                "--method kmeans"
            ) from error

    def decode(self, rows: Floats) -> States:
        """The Viterbi path."""
        with _one_thread():
            return np.asarray(self.model.predict(self.standardise(rows)), np.uint8)

    def transitions(self) -> NDArray[np.float64]:
        """Probability (from, to) of the next bin's state."""
        return np.asarray(self.model.transmat_)


def evidence_of(rows: Floats, lengths: Sequence[int]) -> NDArray[np.float64]:
    """Share of a bin's evidence that each dimension counts with, (dim,).

    Neighbouring bins are alike: a dimension with the correlation r between them has as many independent observations as
    (1 - r) / (1 + r) of its bins, the effective sample size of a first-order autoregression. Its square root is used,
    halfway to bins that are independent.

    Parameters
    ----------
    rows : (bin, dim) array
        Standardised sequences, one behind the other.
    lengths : sequence of int
        Of the sequences.
    """
    before = np.ones(len(rows), bool)
    before[np.cumsum(lengths) - 1] = False
    before = np.flatnonzero(before)
    products = (rows[before] * rows[before + 1]).sum(axis=0)
    squares = (rows[before] ** 2 + rows[before + 1] ** 2).sum(axis=0) / 2
    alike = np.clip(products / np.maximum(squares, np.finfo(float).tiny), 0, 1)
    return np.asarray(np.maximum(np.sqrt((1 - alike) / (1 + alike)), LEAST_EVIDENCE))


def training_sequences(
    arrays: Mapping[str, EmbeddingRows], bin_ranges: Sequence[BinRange], bins: int, where: str, margin: int = 0
) -> list[TrainingSequence]:
    """Sequences of consecutive bins with data, spread evenly over some bin ranges.

    Parameters
    ----------
    arrays : mapping of str to EmbeddingRows
        Embeddings by chromosome.
    bins : int
        About how many, at most.
    where : str
        What the bin ranges are called in an error.
    margin : int
        Bins on each side that surround a sequence, as far as its bin range and its data go.

    Raises
    ------
    DataError
        There are none.
    """
    parts = [(part, bin_range) for bin_range in bin_ranges for part in bin_range.cut(SEQUENCE_BINS)]
    wanted = max(1, bins * len(parts) // max(1, sum(part.bins for part, _ in parts)))
    chosen = np.unique(np.linspace(0, max(len(parts) - 1, 0), min(wanted, len(parts))).round().astype(int))
    sequences = []
    for part, bin_range in (parts[place] for place in chosen):
        start, stop = max(part.first - margin, bin_range.first), min(part.last + margin, bin_range.last)
        rows = read_rows(arrays[part.chrom].path.parent, arrays[part.chrom], start, stop)
        for first, last in runs(~np.isnan(rows[:, 0])):
            inner = slice(max(part.first - start, first) - first, min(part.last - start, last) - first)
            if inner.start < inner.stop:
                sequences.append(TrainingSequence(rows[first:last], inner))
    if not sequences:
        raise DataError(f"no bin of {where} has an embedding; check the split and the regions")
    return sequences


def decode_range(model: StateModel, array: EmbeddingRows, bin_range: BinRange) -> States:
    """States of a bin range's bins, `NO_STATE` where there is no data; memory is that of a piece.

    Parameters
    ----------
    array : EmbeddingRows
        Embeddings of the bin range's chromosome.
    """
    states = np.full(bin_range.bins, NO_STATE, np.uint8)
    for part in bin_range.cut(BLOCK_BINS):
        start, stop = max(bin_range.first, part.first - model.margin), min(bin_range.last, part.last + model.margin)
        rows = read_rows(array.path.parent, array, start, stop)
        wide = np.full(len(rows), NO_STATE, np.uint8)
        for first, last in runs(~np.isnan(rows[:, 0])):
            wide[first:last] = model.decode(rows[first:last])
        states[part.first - bin_range.first : part.last - bin_range.first] = wide[
            part.first - start : part.last - start
        ]
    return states
