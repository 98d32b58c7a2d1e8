"""Every measure of a task by each kind of probe and number of labels, with paired intervals over blocks of genome."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from epilstm.params import EvaluateParams
from epilstm.scoring.bootstrap import against_baselines, cluster_draws, interval
from epilstm.scoring.metrics import AVERAGE_PRECISION, R2, Metric, clustered_r2, deviations_within, levels_of
from epilstm.scoring.prediction import MAJORITY, HeldOut
from epilstm.scoring.probes import Probe
from epilstm.scoring.trials import Trial, clusters_of
from epilstm.store.evaluation_results import EMBEDDING, OWN_EMBEDDING, ComparedMeasure, Comparison, ScoreWithInterval

#: Predictions of each of a task's trials, and (b, clusters) draws of clusters, to (b,) scores.
Measured = Callable[[Sequence[NDArray[np.float32]], NDArray[np.float32]], NDArray[np.float64]]


@dataclass(frozen=True)
class TaskMeasure:
    """One measure of a task.

    Parameters
    ----------
    name : str
    scores : callable
    between_blocks : float, optional
        Share of the levels' variance that lies between blocks.
    """

    name: ComparedMeasure
    scores: Measured
    between_blocks: float | None = None


def compare_probes(
    trials: Sequence[Trial], predicted: Mapping[Probe, HeldOut], params: EvaluateParams
) -> list[Comparison]:
    """All comparisons of one task; the majority class is left out.

    Parameters
    ----------
    trials : sequence of Trial
        All of one task.
    predicted : mapping of Probe to list of mapping
        For each trial, representation -> (n,) out-of-fold predictions.
    params : EvaluateParams
    """
    draws = cluster_draws(trials[0].clusters, params.bootstrap, params.seed)
    settings: dict[tuple[str, int | None], list[HeldOut]] = {}
    for probe, held_out in predicted.items():
        settings.setdefault((probe.kind, probe.labels), []).append(held_out)
    return [
        _comparison(trials, measure, kind, labels, held_out, draws, params)
        for measure in measures_of(trials)
        for (kind, labels), held_out in settings.items()
    ]


def measures_of(trials: Sequence[Trial]) -> list[TaskMeasure]:
    """Measures of a task of classes; or of levels: in all, within blocks, and by cell type."""
    if not trials[0].task.of_levels:
        return [TaskMeasure("average precision", _mean(trials, AVERAGE_PRECISION))]
    found = [TaskMeasure("R2", _mean(trials, R2))]
    within = [deviations_within(levels_of(trial), trial.cluster) for trial in trials]
    if all(np.square(each).sum() > 0 for each in within):
        shares = [1 - each.var() / levels_of(trial).var() for each, trial in zip(within, trials, strict=True)]
        found.append(TaskMeasure("R2 within blocks", _within_blocks(trials), float(np.mean(shares))))
    by_cell = _by_cell_type(trials)
    if by_cell is not None:
        found.append(TaskMeasure("R2 of the deviation from the mean over cell types", by_cell))
    return found


def _mean(trials: Sequence[Trial], metric: Metric) -> Measured:
    """A metric of each trial, mean over them."""
    return lambda predicted, draws: np.mean(
        [metric.resampled(trial, each, draws) for trial, each in zip(trials, predicted, strict=True)], axis=0
    )


def _within_blocks(trials: Sequence[Trial]) -> Measured:
    """R2 of deviations from each block's mean, mean over the trials.

    Blocks are resampled whole, so their sums of squares are all that a resample needs.
    """

    def scores(predicted: Sequence[NDArray[np.float32]], draws: NDArray[np.float32]) -> NDArray[np.float64]:
        found = []
        for trial, each in zip(trials, predicted, strict=True):
            true = deviations_within(levels_of(trial), trial.cluster)
            errors = true - deviations_within(each.astype(np.float64), trial.cluster)
            lost, total = (
                draws @ np.bincount(trial.cluster, np.square(values), minlength=draws.shape[1])
                for values in (errors, true)
            )
            found.append(np.where(total > 0, 1 - lost / np.where(total > 0, total, 1), np.nan))
        return np.asarray(np.mean(found, axis=0))

    return scores


def _by_cell_type(trials: Sequence[Trial]) -> Measured | None:
    """R2 of deviations from the mean over cell types, of the examples that all have; None with one cell type."""
    if len(trials) < 2:
        return None
    common = set.intersection(*(set(trial.examples.names) for trial in trials))
    places = [
        np.array(
            [place for _, place in sorted((name, i) for i, name in enumerate(trial.examples.names) if name in common)]
        )
        for trial in trials
    ]
    if not len(common) or any(len(own) != len(places[0]) for own in places):
        return None

    def deviations(values: Sequence[NDArray]) -> NDArray[np.float64]:
        stacked = np.stack([each[own] for each, own in zip(values, places, strict=True)]).astype(np.float64)
        flat: NDArray[np.float64] = (stacked - stacked.mean(axis=0)).ravel()
        return flat

    true = deviations([levels_of(trial) for trial in trials])
    if np.square(true).sum() == 0:
        return None
    cluster = np.tile(trials[0].cluster[places[0]], len(trials))

    def scores(predicted: Sequence[NDArray[np.float32]], draws: NDArray[np.float32]) -> NDArray[np.float64]:
        found = deviations(predicted)
        return clustered_r2(true, found, cluster, draws)

    return scores


def _comparison(
    trials: Sequence[Trial],
    measure: TaskMeasure,
    kind: str,
    labels: int | None,
    held_out: Sequence[HeldOut],
    draws: NDArray[np.float32],
    params: EvaluateParams,
) -> Comparison:
    names = [name for name in held_out[0][0] if name != MAJORITY]
    minuend = OWN_EMBEDDING if OWN_EMBEDDING in names else EMBEDDING
    once = np.ones((1, draws.shape[1]), dtype=np.float32)
    values, resampled = dict[str, float](), dict[str, NDArray[np.float64]]()
    for name in names:
        by_draw = [[scores[name] for scores in each] for each in held_out]
        values[name] = float(np.mean([measure.scores(each, once)[0] for each in by_draw]))
        resampled[name] = np.empty(len(draws))
        # Each resample of blocks is scored on one draw of labels, so that the spread is that of both.
        for number, each in enumerate(by_draw):
            own = slice(number, None, len(by_draw))
            if len(draws[own]):
                resampled[name][own] = measure.scores(each, draws[own])
    clusters = clusters_of(trials)
    return Comparison(
        task=trials[0].task.name,
        measure=measure.name,
        probe=kind,
        labels=labels,
        draws=len(held_out),
        n=sum(len(trial.examples) for trial in trials),
        clusters=clusters,
        between_blocks=measure.between_blocks,
        representations={
            name: ScoreWithInterval(value=values[name], ci=interval(resampled[name], params.confidence))
            for name in names
        },
        minuend=minuend,
        differences=(
            against_baselines(values, resampled, clusters, params.confidence, minuend) if minuend in names else []
        ),
    )
