"""Ridge regression and boosted trees per track, from the other tracks at a bin and in the bins around it.

The trees are of ChromImpute's form (Ernst and Kellis 2015, Nature Biotechnology 33:364): a model per track, learnt on
training chromosomes, whose features are the same assay in other cell types, the cell type's other assays, and both in
the neighbouring bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from epilstm.genome.bin_range import BinRange
from epilstm.model.neighbourhood import neighbour_features
from epilstm.params import TreesParams
from epilstm.steps.evaluate.excerpts import RowsInContext
from epilstm.steps.evaluate.measures import unstandardised
from epilstm.store.manifests import Scaler
from epilstm.store.matrix import Matrix
from epilstm.store.moments import Moments

#: Training bins are drawn from intervals that hold so many times as many.
DRAWN_FROM = 8


def training_features(
    matrix: Matrix, ranges: Sequence[BinRange], bins: int, window: Sequence[int], seed: int
) -> NDArray[np.float32]:
    """Features of about so many bins with data, drawn at random from some bin ranges (`neighbour_features`).

    Parameters
    ----------
    matrix : Matrix
    ranges : sequence of BinRange
        Of the training chromosomes.
    bins : int
    window : sequence of int
        Distances in bins.
    seed : int
    """
    random = np.random.default_rng(seed)
    share = min(1.0, bins / max(sum(int(matrix.mask(each).sum()) for each in ranges), 1))
    found = []
    for each in ranges:
        wide = matrix.widened(each, max(window, default=0))
        features = neighbour_features(matrix.rows(wide), slice(each.first - wide.first, each.last - wide.first), window)
        found.append(features[matrix.mask(each) & (random.random(each.bins) < share)])
    return np.concatenate(found)


@dataclass(frozen=True)
class RidgeImputer:
    """Ridge regression of each hidden track on the other tracks and their neighbouring bins.

    Parameters
    ----------
    moments : Moments
        Of the training bins' features.
    window : sequence of int
    penalty : float
        Weight of the squared coefficients beside the summed squared error, of standardised tracks.
    scaler : Scaler
    """

    moments: Moments
    window: Sequence[int]
    penalty: float
    scaler: Scaler

    def __call__(self, excerpt: RowsInContext, hidden: NDArray[np.int64]) -> NDArray[np.floating]:
        """Predict linearly."""
        tracks = excerpt.rows.shape[1]
        of_track = np.arange(len(self.moments.sums)) % tracks
        seen = np.flatnonzero(~np.isin(of_track, hidden))
        mean = self.moments.mean
        products = self.moments.about(mean)
        weights = np.linalg.solve(
            products[np.ix_(seen, seen)] + self.penalty * np.eye(len(seen)), products[np.ix_(seen, hidden)]
        )
        features = neighbour_features(excerpt.rows, excerpt.keep, self.window)[:, seen]
        found = (features - mean[seen]) @ weights + mean[hidden]
        return unstandardised(found.astype(np.float32), self.scaler.select(hidden.tolist()))


class TreesImputer:
    """Gradient-boosted trees for each hidden track.

    Their features are all visible tracks at the bin, and around it those of the same assay or the same cell type, as
    well as the mean of the assay over the visible cell types, at the bin and around it.

    Parameters
    ----------
    names : sequence of (str, str)
        Cell type and assay of each track.
    training : (bins, features) float32 array
        As `training_features` gives them.
    window : sequence of int
    params : TreesParams
    scaler : Scaler
    seed : int
    threads : int
        Tracks that learn side by side, each on one thread.
    """

    def __init__(
        self,
        names: Sequence[tuple[str, str]],
        training: NDArray[np.float32],
        window: Sequence[int],
        params: TreesParams,
        scaler: Scaler,
        seed: int,
        threads: int,
    ) -> None:
        self.names, self.training, self.window = names, training, window
        self.params, self.scaler, self.seed, self.threads = params, scaler, seed, threads
        self._fitted: dict[tuple[int, tuple[int, ...]], Any] = {}

    def __call__(self, excerpt: RowsInContext, hidden: NDArray[np.int64]) -> NDArray[np.floating]:
        """Fit what is not fitted yet, then predict."""
        new = [track for track in hidden.tolist() if (track, tuple(hidden.tolist())) not in self._fitted]
        with ThreadPoolExecutor(max(1, self.threads)) as pool:
            for track, booster in zip(new, pool.map(lambda each: self._fit(each, hidden), new), strict=True):
                self._fitted[track, tuple(hidden.tolist())] = booster
        features = neighbour_features(excerpt.rows, excerpt.keep, self.window)
        found = [
            self._fitted[track, tuple(hidden.tolist())].inplace_predict(self._inputs(features, track, hidden))
            for track in hidden.tolist()
        ]
        return unstandardised(np.stack(found, axis=1).astype(np.float32), self.scaler.select(hidden.tolist()))

    def _inputs(self, features: NDArray[np.float32], track: int, hidden: NDArray[np.int64]) -> NDArray[np.float32]:
        """What the trees of a track see; hidden tracks are not looked at."""
        tracks = len(self.names)
        cell, assay = self.names[track]
        visible = np.setdiff1d(np.arange(tracks), hidden)
        same_assay = np.array([each for each in visible if self.names[each][1] == assay], dtype=np.int64)
        same_cell = np.array([each for each in visible if self.names[each][0] == cell], dtype=np.int64)
        related = np.concatenate([same_assay, same_cell])
        blocks = features.reshape(len(features), -1, tracks)
        return np.concatenate(
            [
                blocks[:, 0, visible],
                blocks[:, 1:, related].reshape(len(features), -1),
                blocks[:, :, same_assay].mean(axis=2),
            ],
            axis=1,
        )

    def _fit(self, track: int, hidden: NDArray[np.int64]) -> Any:
        import xgboost

        # One thread per booster, so that the bytes do not depend on their number.
        settings = {
            "objective": "reg:squarederror",
            "tree_method": "hist",
            "max_bin": 64,
            "max_depth": self.params.depth,
            "learning_rate": self.params.learning_rate,
            "colsample_bytree": self.params.features,
            "seed": self.seed,
            "nthread": 1,
        }
        inputs = self._inputs(self.training, track, hidden)
        data = xgboost.QuantileDMatrix(inputs, label=self.training[:, track], max_bin=64, nthread=1)
        return xgboost.train(settings, data, num_boost_round=self.params.count)
