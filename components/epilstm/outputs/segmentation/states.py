"""States of bins: clusters of embeddings, with or without memory of the bin before."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from epilstm.errors import DataError
from epilstm.genome.bin_range import BinRange
from epilstm.store.bin_ranges import BLOCK_BINS, read_rows
from epilstm.store.framed_codes import EmbeddingRows
from epilstm.tracks.bigwig_columns import runs

#: State of bins without data; there are fewer states than this.
NO_STATE = 255

#: Bins of a sequence that is fitted on, and bins on each side after which a decoded path no longer depends on where
#: decoding began.
SEQUENCE_BINS = 2_000
MARGIN_BINS = 500

#: Share of its bins' successors that a state keeps when fitting of the HMM begins.
STAY = 0.95

#: Least variance of a standardised dimension within a state.
LEAST_VARIANCE = 1e-3

Floats = NDArray[np.floating]
States = NDArray[np.uint8]


@dataclass(frozen=True)
class Standardiser:
    """Mean and standard deviation of each dimension over the bins that were fitted on."""

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]

    @classmethod
    def of(cls, rows: Floats) -> Standardiser:
        """From rows (bin, dim)."""
        deviation = rows.std(axis=0, dtype=np.float64)
        return cls(rows.mean(axis=0, dtype=np.float64), np.where(deviation > 0, deviation, 1.0))

    def __call__(self, rows: Floats) -> NDArray[np.float64]:
        """Rows with mean 0 and standard deviation 1."""
        return (rows - self.mean) / self.scale


class StateModel(ABC):
    """Gives each bin a state.

    `margin` is how many bins on each side its state depends on.
    """

    margin: int

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
    sequences : sequence of (bin, dim) arrays
        To fit on.
    states, seed : int

    Raises
    ------
    DataError
        There are not so many different ones.
    """

    margin = 0

    def __init__(self, sequences: Sequence[Floats], states: int, seed: int) -> None:
        from sklearn.cluster import MiniBatchKMeans

        rows = np.concatenate(sequences)
        self.standardise = Standardiser.of(rows)
        self.fitted = self.standardise(rows)
        self.model = MiniBatchKMeans(states, batch_size=16_384, n_init=5, random_state=seed)
        with _one_thread():
            self.model.fit(self.fitted)
        found = len(np.unique(self.model.labels_))
        if found < states:
            raise DataError(
                f"the embeddings fitted on fall into {found} states only; give --states {max(found, 2)} or fewer"
                if found > 1
                else "the embeddings fitted on are all alike: there are no different states"
            )

    def decode(self, rows: Floats) -> States:
        """The nearest centre's number."""
        with _one_thread():
            return np.asarray(self.model.predict(self.standardise(rows)), np.uint8)


class HmmStates(StateModel):
    """The most probable path through a hidden Markov model with Gaussian emissions (diagonal covariance).

    Fitting begins at the clusters of `KMeansStates`. Parameters and errors as there.
    """

    margin = MARGIN_BINS

    def __init__(self, sequences: Sequence[Floats], states: int, seed: int, iterations: int = 30) -> None:
        from hmmlearn.hmm import GaussianHMM

        clusters = KMeansStates(sequences, states, seed)
        self.standardise, rows = clusters.standardise, clusters.fitted
        labels = clusters.model.labels_
        self.model = GaussianHMM(
            states,
            "diag",
            n_iter=iterations,
            tol=1e-4 * len(rows),
            min_covar=LEAST_VARIANCE,
            random_state=seed,
            init_params="",
        )
        self.model.startprob_ = np.full(states, 1 / states)
        stay = np.full((states, states), (1 - STAY) / (states - 1))
        np.fill_diagonal(stay, STAY)
        self.model.transmat_ = stay
        self.model.means_ = clusters.model.cluster_centers_
        variances = [rows[labels == state].var(axis=0) for state in range(states)]
        self.model.covars_ = np.maximum(variances, LEAST_VARIANCE)
        try:
            with _one_thread():
                self.model.fit(rows, [len(sequence) for sequence in sequences])
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


def training_sequences(
    arrays: Mapping[str, EmbeddingRows], bin_ranges: Sequence[BinRange], bins: int, where: str
) -> list[NDArray[np.float32]]:
    """Sequences of consecutive bins with data, spread evenly over some bin ranges.

    Parameters
    ----------
    arrays : mapping of str to EmbeddingRows
        Embeddings by chromosome.
    bin_ranges : sequence of BinRange
    bins : int
        About how many, at most.
    where : str
        What the bin ranges are called in an error.

    Raises
    ------
    DataError
        There are none.
    """
    parts = [part for bin_range in bin_ranges for part in bin_range.cut(SEQUENCE_BINS)]
    wanted = max(1, bins * len(parts) // max(1, sum(part.bins for part in parts)))
    chosen = np.unique(np.linspace(0, max(len(parts) - 1, 0), min(wanted, len(parts))).round().astype(int))
    sequences = []
    for part in (parts[place] for place in chosen):
        rows = read_rows(arrays[part.chrom].path.parent, arrays[part.chrom], part.first, part.last)
        sequences += [rows[first:last] for first, last in runs(~np.isnan(rows[:, 0]))]
    if not sequences:
        raise DataError(f"no bin of {where} has an embedding; check the split and the regions")
    return sequences


def decode_range(model: StateModel, array: EmbeddingRows, bin_range: BinRange) -> States:
    """States of a bin range's bins, `NO_STATE` where there is no data; memory is that of a piece.

    Parameters
    ----------
    model : StateModel
    array : EmbeddingRows
        Embeddings of the bin range's chromosome.
    bin_range : BinRange
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
