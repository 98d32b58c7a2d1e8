"""Out-of-fold predictions of every trial with every representation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from epilstm.console import Progress
from epilstm.params import EvaluateParams
from epilstm.representations.features import Representation, pooled_features
from epilstm.representations.pooling import WindowTable
from epilstm.scoring.classifier import base_level, base_rate, predict_held_out
from epilstm.scoring.trials import Trial
from epilstm.store.matrix import Matrix

#: For each trial, representation -> (n,) out-of-fold scores (of classes) or levels.
HeldOut = list[dict[str, NDArray[np.float32]]]

MAJORITY = "majority"


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
    (held_out,) = predict_shown(representations, [representations], matrix, windows, trials, params, threads, bar)
    return held_out


def predict_shown(
    representations: Mapping[str, Representation],
    shown: Sequence[Mapping[str, Representation]],
    matrix: Matrix,
    windows: WindowTable,
    trials: Sequence[Trial],
    params: EvaluateParams,
    threads: int,
    bar: Progress,
) -> list[HeldOut]:
    """Out-of-fold scores of examples as they are shown, in several ways, by classifiers that are learnt once.

    One representation's features are in memory at a time. Classifiers run on one thread each, `threads` at once, so
    that the scores do not depend on how many there are.

    Parameters
    ----------
    representations : mapping of str to Representation
        What is learnt from.
    shown : sequence of mapping of str to Representation
        What held-out examples are described by.
    matrix, windows, trials, params, threads, bar
        As `predict_all`.

    Returns
    -------
    list of list of mapping
        One entry per entry of `shown`.
    """
    held_out: list[HeldOut] = [[{} for _ in trials] for _ in shown]
    jobs = [(number, test) for number, trial in enumerate(trials) for _, test in trial.folds.splits()]
    with ThreadPoolExecutor(threads) as pool:
        for name, representation in representations.items():
            bar.note(f"({name})")
            learnt = pool_windows(representation, matrix, windows, params)
            at_test = [
                learnt if each[name] is representation else pool_windows(each[name], matrix, windows, params)
                for each in shown
            ]
            for scores in held_out:
                for of_trial, trial in zip(scores, trials, strict=True):
                    of_trial[name] = np.empty(len(trial.examples), dtype=np.float32)

            def fit(
                job: tuple[int, NDArray[np.bool_]],
                learnt: NDArray[np.float32] = learnt,
                at_test: list[NDArray[np.float32]] = at_test,
                name: str = name,
            ) -> None:
                number, test = job
                trial = trials[number]
                predicted = predict_held_out(
                    features_of(trial, learnt, params),
                    trial.examples.labels,
                    trial.folds.group,
                    test,
                    params.classifier,
                    params.seed,
                    levels=trial.examples.levels,
                    shown=np.stack([features_of(trial, each, params) for each in at_test]),
                )
                for scores, own in zip(held_out, predicted, strict=True):
                    scores[number][name][test] = own

            for _ in pool.map(fit, jobs):
                bar.advance()
    return held_out


def predict_majority(trials: Sequence[Trial], held_out: HeldOut) -> None:
    """Add the majority class (for levels, the mean) of what is outside each fold."""
    for scores, trial in zip(held_out, trials, strict=True):
        labels, levels = trial.examples.labels, trial.examples.levels
        scores[MAJORITY] = np.empty(len(trial.examples), dtype=np.float32)
        for _, test in trial.folds.splits():
            scores[MAJORITY][test] = base_rate(labels, test) if levels is None else base_level(levels, test)


def pool_windows(
    representation: Representation, matrix: Matrix, windows: WindowTable, params: EvaluateParams
) -> NDArray[np.float32]:
    """(windows, numbers) features of every window, by the statistics that the params name."""
    context_bins = -(-params.context_bp // matrix.manifest.bin_size)
    return pooled_features(representation, matrix, windows, list(params.pooling), context_bins)


def features_of(trial: Trial, pooled: NDArray[np.float32], params: EvaluateParams) -> NDArray[np.float32]:
    """(n, size) features of a trial's examples: those of their windows side by side, and what is asked for of a pair.

    Parameters
    ----------
    trial : Trial
    pooled : (windows, numbers) float32 array
        Of `pool_windows`.
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
