"""Out-of-fold predictions of every trial with every representation."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from epilstm.console import Progress
from epilstm.params import EvaluateParams
from epilstm.representations.features import (
    Columns,
    Embedding,
    Means,
    Representation,
    SideBySide,
    Transformed,
    pooled_features,
    pooled_frames,
)
from epilstm.representations.pooling import WindowTable
from epilstm.scoring.classifier import base_level, base_rate, predict_held_out
from epilstm.scoring.probes import Probe
from epilstm.scoring.trials import Trial
from epilstm.store.matrix import Matrix

#: For each trial, representation -> (n,) out-of-fold scores (of classes) or levels.
HeldOut = list[dict[str, NDArray[np.float32]]]

MAJORITY = "majority"

#: Statistics of a window that are means of its bins.
MEANS = {"mean", "context"}
#: Features that are kept for other representations, at most, in bytes; those used last are kept.
POOLED_BYTES = 1_500_000_000
#: Values of features that a function is applied to at once.
AT_ONCE = 1_000_000


@dataclass(frozen=True)
class View:
    """What some trials are described by, in one fold or in all.

    Parameters
    ----------
    shown : sequence of Representation
        What held-out examples are described by, in several ways; the first is what is learnt from.
    trials : sequence of int
        Their numbers.
    fold : int, optional
        The fold that it is for; None stands for all.
    """

    shown: Sequence[Representation]
    trials: Sequence[int]
    fold: int | None = None


#: For each representation, the views that describe its trials.
Views = Mapping[str, Sequence[View]]


@dataclass(frozen=True)
class Predicted:
    """Out-of-fold predictions: in each way that examples are shown, and by each further probe."""

    shown: list[HeldOut]
    further: dict[Probe, HeldOut]


def views_of(representations: Mapping[str, Representation], trials: Sequence[Trial]) -> Views:
    """Each representation as the view of all trials in all folds."""
    return {name: [View([each], range(len(trials)))] for name, each in representations.items()}


def predict_all(
    representations: Mapping[str, Representation],
    matrix: Matrix,
    windows: WindowTable,
    trials: Sequence[Trial],
    params: EvaluateParams,
    threads: int,
    bar: Progress,
) -> HeldOut:
    """Out-of-fold scores of every trial with every representation.

    Parameters
    ----------
    representations : mapping of str to Representation
    matrix : Matrix
    windows : WindowTable
        Windows of all trials.
    trials : sequence of Trial
    params : EvaluateParams
    threads : int
    bar : Progress
        Advanced by each fit.
    """
    pooled = PooledWindows(matrix, windows, params)
    return predict_views(views_of(representations, trials), pooled, trials, params, threads, bar).shown[0]


def predict_views(
    views: Views,
    pooled: PooledWindows,
    trials: Sequence[Trial],
    params: EvaluateParams,
    threads: int,
    bar: Progress,
    further: Sequence[Probe] = (),
) -> Predicted:
    """Out-of-fold scores of examples as they are shown, in several ways, by classifiers that are learnt once.

    Classifiers run on one thread each, `threads` at once, so that the scores do not depend on how many there are.

    Parameters
    ----------
    views : mapping of str to sequence of View
        By representation; all have as many ways of showing examples.
    pooled : PooledWindows
    trials, params, threads, bar
        As `predict_all`.
    further : sequence of Probe
        What else learns from the examples as they are.
    """
    ways = max((len(view.shown) for own in views.values() for view in own), default=1)
    shown: list[HeldOut] = [[{} for _ in trials] for _ in range(ways)]
    probed: dict[Probe, HeldOut] = {probe: [{} for _ in trials] for probe in further}
    with ThreadPoolExecutor(threads) as pool:
        for name, views_of_name in views.items():
            bar.note(f"({name})")
            for view in views_of_name:
                used = np.unique(np.concatenate([trials[number].rows.ravel() for number in view.trials]))
                described = [pooled.of(each, used) for each in view.shown]
                for number in view.trials:
                    trial = trials[number]
                    features = [features_of(trial, each, params) for each in described]
                    for scores in (*shown, *probed.values()):
                        scores[number].setdefault(name, np.empty(len(trial.examples), dtype=np.float32))
                    folds = [(fold, test) for fold, test in trial.folds.splits() if view.fold in (None, fold)]
                    jobs = [(probe, fold, test) for fold, test in folds for probe in (None, *further)]

                    def fit(
                        job: tuple[Probe | None, int, NDArray[np.bool_]],
                        features: list[NDArray[np.float32]] = features,
                        trial: Trial = trial,
                        number: int = number,
                        name: str = name,
                    ) -> None:
                        probe, fold, test = job
                        predicted = predict_held_out(
                            features[0],
                            trial.examples.labels,
                            trial.folds.group,
                            test,
                            params.classifier if probe is None else params.classifier.of_kind(probe.kind),
                            params.seed,
                            levels=trial.examples.levels,
                            train=None if probe is None else probe.learnt_from(trial, test, params.seed, fold),
                            shown=np.stack(features) if probe is None and len(features) > 1 else None,
                        )
                        into = shown if probe is None else [probed[probe]]
                        for scores, each in zip(into, predicted.reshape(len(into), -1), strict=True):
                            scores[number][name][test] = each

                    for _ in pool.map(fit, jobs):
                        bar.advance()
    return Predicted(shown, probed)


def predict_majority(trials: Sequence[Trial], held_out: HeldOut) -> None:
    """Add the majority class (for levels, the mean) of what is outside each fold."""
    for scores, trial in zip(held_out, trials, strict=True):
        labels, levels = trial.examples.labels, trial.examples.levels
        scores[MAJORITY] = np.empty(len(trial.examples), dtype=np.float32)
        for _, test in trial.folds.splits():
            scores[MAJORITY][test] = base_rate(labels, test) if levels is None else base_level(levels, test)


class PooledWindows:
    """Features of every window by representation: each is pooled once, as long as the results fit in memory.

    Columns, sums and, where windows are pooled by their mean, functions of means such as PCA follow from the features
    of what they are made of, without another pass over the matrix.

    Parameters
    ----------
    matrix : Matrix
    windows : WindowTable
    params : EvaluateParams
        With the statistics.
    """

    def __init__(self, matrix: Matrix, windows: WindowTable, params: EvaluateParams) -> None:
        self.matrix, self.windows, self.statistics = matrix, windows, list(params.pooling)
        self.context_bins = -(-params.context_bp // matrix.manifest.bin_size)
        self._kept: OrderedDict[int, tuple[Representation, NDArray[np.float32]]] = OrderedDict()

    def of(self, representation: Representation, used: NDArray[np.intp] | None = None) -> NDArray[np.float32]:
        """(windows, statistics * size) features: each statistic's numbers side by side.

        Parameters
        ----------
        representation : Representation
        used : (n,) int array, optional
            Windows whose features are needed; those of others may be NaN.
        """
        count, numbers = len(self.windows), len(self.statistics)
        if isinstance(representation, Columns):
            whole = self.of(representation.whole, used).reshape(count, numbers, -1)
            return whole[:, :, representation.columns].reshape(count, -1)
        if isinstance(representation, SideBySide):
            parts = [self.of(part, used).reshape(count, numbers, -1) for part in representation.parts]
            return np.concatenate(parts, axis=2).reshape(count, -1)
        if isinstance(representation, Transformed) and representation.of_means and set(self.statistics) <= MEANS:
            rows = self.of(representation.whole, used).reshape(count, numbers, -1)
            features = np.full((count, numbers, representation.size), np.nan, np.float32)
            places = np.arange(count) if used is None else used
            step = max(1, AT_ONCE // max(numbers * rows.shape[2], 1))
            for start in range(0, len(places), step):
                some = places[start : start + step]
                made = representation.transform(rows[some].reshape(len(some) * numbers, -1))
                features[some] = made.reshape(len(some), numbers, -1)
            return features.reshape(count, -1)
        if id(representation) not in self._kept:
            found = self._pooled(representation)
            self._kept[id(representation)] = representation, found
            while len(self._kept) > 1 and sum(each.nbytes for _, each in self._kept.values()) > POOLED_BYTES:
                self._kept.popitem(last=False)
        self._kept.move_to_end(id(representation))
        return self._kept[id(representation)][1]

    def _pooled(self, representation: Representation) -> NDArray[np.float32]:
        if self.statistics != ["mean"] or not isinstance(representation, Means | Embedding):
            return self._by_bin(representation)
        near, frames = representation.split()
        parts = [] if near is None else [self._by_bin(near)]
        if frames is not None:
            parts.append(pooled_frames(frames, self.matrix, self.windows))
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    def _by_bin(self, representation: Representation) -> NDArray[np.float32]:
        return pooled_features(representation, self.matrix, self.windows, self.statistics, self.context_bins)


def features_of(trial: Trial, pooled: NDArray[np.float32], params: EvaluateParams) -> NDArray[np.float32]:
    """(n, size) features of a trial's examples: those of their windows side by side, and what is asked for of a pair.

    Parameters
    ----------
    trial : Trial
    pooled : (windows, numbers) float32 array
        Of `PooledWindows`.
    params : EvaluateParams
        With `pair_distance`, the last number is log10 of 1 + the base pairs between promoter and enhancer.
    """
    features = pooled[trial.rows].reshape(len(trial.examples), -1)
    if not params.pair_distance or trial.task.kind != "pair":
        return features
    distance = np.log10(1 + pair_distance(trial))
    return np.concatenate([features, distance[:, None].astype(np.float32)], axis=1)


def pair_distance(trial: Trial) -> NDArray[np.int64]:
    """(n,) base pairs between a pair's two ends (0 where they overlap); all 0 where its windows do not say."""
    windows, starts, ends = trial.task.windows, trial.examples.starts, trial.examples.ends
    if "promoter" in windows and "enhancer" in windows:
        own = [windows.index("promoter"), windows.index("enhancer")]
        return np.asarray(np.maximum(starts[:, own].max(axis=1) - ends[:, own].min(axis=1), 0))
    if "between" in windows:
        between = windows.index("between")
        return np.asarray(ends[:, between] - starts[:, between])
    return np.zeros(len(starts), dtype=np.int64)
