"""Methods that work on the tracks themselves: what a segmentation of embeddings has to be better than."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import MiniBatchKMeans

from benchmarks.segmentation.bernoulli import BernoulliHmm
from epilstm.genome.bin_range import BinRange
from epilstm.outputs.segmentation.scales import TrainingSequence, bins_in
from epilstm.outputs.segmentation.states import MARGIN_BINS, STAY, StateModel, States
from epilstm.store.framed_codes import EmbeddingRows
from epilstm.store.manifests import Scaler
from epilstm.store.matrix import Matrix
from epilstm.store.standardisation import to_signal

#: Length of the windows that tracks are binarised in, ChromHMM's, in base pairs.
WINDOW_BP = 200

#: Mean raw signal in a window from which a track counts as present: -log10 p of 2, as Roadmap binarised its tracks.
THRESHOLD = 2.0

#: Probability of a track in a state, to begin with: at least this, and at most 1 less this.
LEAST_PROBABILITY = 1e-3

#: Times that the parameters are estimated again, at most.
ITERATIONS = 100

Floats = NDArray[np.floating]
Binarise = Callable[[Floats], NDArray[np.float64]]


class TrackRows:
    """Standardised tracks of one chromosome, read like embeddings: (bin, track), NaN in bins without data."""

    def __init__(self, matrix: Matrix, chrom: str) -> None:
        self.matrix = matrix
        self.basename = chrom
        self.path: Path = matrix.folder / "matrix.zarr"

    def __getitem__(self, bins: slice) -> NDArray[np.float32]:
        """Rows of a range of bins."""
        block = BinRange(self.basename, bins.start, bins.stop)
        rows = self.matrix.rows(block)
        rows[~self.matrix.mask(block)] = np.nan
        return rows


def track_rows(matrix: Matrix) -> Mapping[str, EmbeddingRows]:
    """The tracks of each chromosome of a matrix, in the form of embeddings."""
    rows: dict[str, Any] = {chrom: TrackRows(matrix, chrom) for chrom in matrix.manifest.chromosomes}
    return cast(Mapping[str, EmbeddingRows], rows)


def binarised(rows: Floats, scaler: Scaler, window: int, threshold: float) -> NDArray[np.float64]:
    """1 where the mean raw signal of a track in a window reaches a threshold, else 0: (window, track).

    Parameters
    ----------
    rows : (bin, track) array
        Standardised, of consecutive bins with data. The last window may have fewer bins.
    scaler : Scaler
        Of the tracks.
    window : int
        In bins.
    threshold : float
        In units of the signal.
    """
    firsts = np.arange(0, len(rows), window)
    sums = np.add.reduceat(to_signal(rows, scaler), firsts, axis=0, dtype=np.float64)
    lengths = np.diff(np.append(firsts, len(rows)))
    return (sums / lengths[:, None] >= threshold).astype(np.float64)


class BinarisedStates(StateModel):
    """The most probable path through a `BernoulliHmm` of binarised tracks in windows of `WINDOW_BP`.

    Fitting begins at the clusters of the binarised tracks. ChromHMM differs in how it binarises (reads against a
    Poisson background), where it begins, and in that it fits on the whole genome.

    Parameters
    ----------
    sequences : sequence of TrainingSequence
        Of standardised tracks, to fit on.
    states, seed, bin_size : int
    scaler : Scaler
    threshold : float
    """

    margin = MARGIN_BINS

    def __init__(
        self,
        sequences: Sequence[TrainingSequence],
        states: int,
        seed: int,
        bin_size: int,
        *,
        scaler: Scaler,
        threshold: float = THRESHOLD,
    ) -> None:
        self.scaler, self.threshold, self.window = scaler, threshold, bins_in(WINDOW_BP, bin_size)
        windows = [self._binarised(each.own) for each in sequences]
        rows = np.concatenate(windows)
        # Clusters without a window are allowed here: there may be fewer different windows than states.
        clusters = MiniBatchKMeans(states, batch_size=16_384, n_init=5, random_state=seed).fit(rows)
        stay = np.full((states, states), (1 - STAY) / (states - 1))
        np.fill_diagonal(stay, STAY)
        self.model = BernoulliHmm(
            np.clip(clusters.cluster_centers_, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY),
            stay,
            n_iter=ITERATIONS,
            tol=1e-4 * len(rows),
            random_state=seed,
        )
        self.model.fit(rows, [len(each) for each in windows])

    def _binarised(self, rows: Floats) -> NDArray[np.float64]:
        return binarised(rows, self.scaler, self.window, self.threshold)

    def decode(self, rows: Floats) -> States:
        """The Viterbi path, the same state for all bins of a window."""
        return np.repeat(self.model.predict(self._binarised(rows)).astype(np.uint8), self.window)[: len(rows)]

    def transitions(self) -> NDArray[np.float64]:
        """Probability (from, to) of the next window's state."""
        return np.asarray(self.model.transmat_)
