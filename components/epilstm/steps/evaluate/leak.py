"""By how much random folds flatter a score: neighbours in the genome then stand on both sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from epilstm.params import EvaluateParams, FoldParams
from epilstm.scoring.bootstrap import cluster_draws, interval
from epilstm.scoring.folds import assign_folds
from epilstm.scoring.metrics import metric_of
from epilstm.scoring.prediction import HeldOut
from epilstm.scoring.sentences import listed, spoken
from epilstm.scoring.trials import Trial, by_task
from epilstm.store.evaluation_results import EMBEDDING, Leak, LeakResult

#: What the leak is shown of.
LEAKING = (EMBEDDING, "raw")


def with_random_folds(trials: Sequence[Trial], params: EvaluateParams) -> list[Trial]:
    """The same trials, as many folds, but each example held out on its own."""
    random = FoldParams(by="random", count=params.folds.count)
    leaky = []
    for trial in trials:
        alone = np.arange(len(trial.examples))
        where = f"task {trial.task.name}, {trial.cell_type}"
        folds = assign_folds(trial.examples.labels, alone, random, params.seed, where, trial.task.of_levels)
        leaky.append(replace(trial, folds=folds, group_names=trial.examples.names))
    return leaky


def score_leak(
    trials: Sequence[Trial],
    grouped: HeldOut,
    leaky_trials: Sequence[Trial],
    leaky: HeldOut,
    names: Sequence[str],
    params: EvaluateParams,
) -> dict[str, LeakResult]:
    """Size of the leak by task.

    Parameters
    ----------
    trials, leaky_trials : sequence of Trial
        With the folds of the evaluation, and with random ones.
    grouped, leaky : list of mapping
        Out-of-fold predictions under each.
    names : sequence of str
        Representations.
    params : EvaluateParams
    """
    results = {}
    for task, numbers in by_task(trials).items():
        draws = cluster_draws(trials[numbers[0]].clusters, params.bootstrap, params.seed)
        leaks = {}
        measure, metric = metric_of([trials[each] for each in numbers])
        for name in names:
            by_folds = [
                (
                    float(np.mean([metric.value(every[each], scores[each][name]) for each in numbers])),
                    np.mean([metric.resampled(every[each], scores[each][name], draws) for each in numbers], axis=0),
                )
                for every, scores in ((trials, grouped), (leaky_trials, leaky))
            ]
            (honest, honest_draws), (flattered, flattered_draws) = by_folds
            leaks[name] = Leak(
                grouped=honest,
                random=flattered,
                delta=flattered - honest,
                ci=interval(flattered_draws - honest_draws, params.confidence),
            )
        results[task] = LeakResult(
            measure=measure, representations=leaks, sentence=_sentence(task, measure, leaks, params)
        )
    return results


def _sentence(task: str, measure: str, leaks: Mapping[str, Leak], params: EvaluateParams) -> str:
    scores = [
        f"{spoken(name)} {leak.random:.3f} in place of {leak.grouped:.3f} ({leak.delta:+.3f}; "
        f"{100 * params.confidence:g}% interval {leak.ci.low:+.3f} to {leak.ci.high:+.3f})"
        for name, leak in leaks.items()
    ]
    return f"{task}: random folds, which leak, would give {listed(scores)} in {measure}."
