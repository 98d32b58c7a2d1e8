"""Results of a task from out-of-fold predictions: scores, differences from the baselines, and a plain sentence.

Tasks of classes and tasks of levels differ in their metrics and in the records that hold the results (`Target`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from epilstm.params import EvaluateParams
from epilstm.scoring.bootstrap import against_baselines, cluster_draws, interval
from epilstm.scoring.metrics import (
    AVERAGE_PRECISION,
    R2,
    SPEARMAN,
    Metric,
    mean_auroc,
    weighted_average_precision,
)
from epilstm.scoring.sentences import best, caveats, counted, listed, verdicts
from epilstm.scoring.trials import Trial
from epilstm.store.evaluation_results import (
    EMBEDDING,
    CellTypeResult,
    Interval,
    RegressionCellType,
    RegressionResult,
    RegressionScores,
    RegressionSummary,
    Scores,
    Summary,
    TaskResult,
)

#: For one trial or for the mean over a task's: metric's field -> representation -> value, or (b,) values of resamples.
Values = Mapping[str, Mapping[str, float]]
Draws = Mapping[str, Mapping[str, NDArray[np.float64]]]


@dataclass(frozen=True)
class Target:
    """How tasks of classes, or of levels, are scored, and the records of their results.

    Parameters
    ----------
    metrics : tuple of Metric
        Verdicts are based on the first.
    scores, cell_type, summary : type
        Records of a trial's representation, of a trial and of a task's representation.
    trial_scores : callable
        From a trial and its predictions to the fields of `scores` that have no interval.
    trial_counts : callable
        From a trial to the fields of `cell_type` that this target alone has.
    """

    metrics: tuple[Metric, ...]
    scores: type[Scores] | type[RegressionScores]
    cell_type: type[CellTypeResult] | type[RegressionCellType]
    summary: type[Summary] | type[RegressionSummary]
    trial_scores: Callable[[Trial, NDArray[np.float32]], dict[str, Any]]
    trial_counts: Callable[[Trial], dict[str, Any]]


def class_scores(
    labels: NDArray[np.bool_], predicted: NDArray[np.float32], fold: NDArray[np.integer]
) -> dict[str, Any]:
    """Fields of `Scores` that have no interval, from (n,) arrays in which both classes occur."""
    from sklearn.metrics import f1_score

    called = predicted >= 0.5
    return {
        "average_precision_pooled": float(weighted_average_precision(labels, predicted, np.ones((1, len(labels))))[0]),
        "auroc": mean_auroc(labels, predicted, fold),
        "f1": float(f1_score(labels, called, zero_division=0)),
        "accuracy": float((called == labels).mean()),
        "n": len(labels),
        "positives": int(labels.sum()),
        "folds_scored": len(np.unique(fold[labels])),
    }


def _class_counts(trial: Trial) -> dict[str, Any]:
    labels = trial.examples.labels
    return {"positives": int(labels.sum()), "base_rate": float(labels.mean())}


CLASSES = Target(
    (AVERAGE_PRECISION,),
    Scores,
    CellTypeResult,
    Summary,
    lambda trial, predicted: class_scores(trial.examples.labels, predicted, trial.folds.fold),
    _class_counts,
)
LEVELS = Target(
    (R2, SPEARMAN),
    RegressionScores,
    RegressionCellType,
    RegressionSummary,
    lambda trial, _: {"n": len(trial.examples)},
    lambda _: {},
)


def score_classes(
    trials: Sequence[Trial], held_out: Sequence[Mapping[str, NDArray[np.float32]]], params: EvaluateParams
) -> TaskResult:
    """Results of one task of classes over its cell types; parameters as of `score_levels`."""
    found = _score(CLASSES, trials, held_out, params)
    means, draws = found.means["average_precision"], found.draws["average_precision"]
    differences = against_baselines(means, draws, found.clusters, params.confidence)
    positives = sum(cell.positives for cell in found.cell_types.values())
    embedding = found.summary[EMBEDDING]
    return TaskResult(
        **_described(trials[0]),
        cell_types=found.cell_types,
        summary=found.summary,
        differences=differences,
        sentence=(
            f"{trials[0].task.name}: with average precision "
            f"{_with_interval(embedding.average_precision, embedding.average_precision_ci, params.confidence)}; "
            f"{found.where}; {found.examples:,} labels, {positives:,} positive, in {counted(found.clusters, params)})"
            + (f", the embedding {listed(verdicts(differences))}" if differences else "")
            + f".{caveats(found.clusters, params)}"
            + best(means, draws, found.clusters, params.confidence)
        ),
    )


def score_levels(
    trials: Sequence[Trial], held_out: Sequence[Mapping[str, NDArray[np.float32]]], params: EvaluateParams
) -> RegressionResult:
    """Results of one task of levels over its cell types.

    Parameters
    ----------
    trials : sequence of Trial
        All of one task.
    held_out : sequence of mapping
        For each trial, representation -> (n,) out-of-fold predictions.
    params : EvaluateParams
    """
    found = _score(LEVELS, trials, held_out, params)
    differences, spearman_differences = (
        against_baselines(found.means[field], found.draws[field], found.clusters, params.confidence)
        for field in ("r2", "spearman")
    )
    embedding, unit = found.summary[EMBEDDING], trials[0].task.unit
    spearman = embedding.spearman_ci
    return RegressionResult(
        **_described(trials[0]),
        unit=unit,
        cell_types=found.cell_types,
        summary=found.summary,
        differences=differences,
        spearman_differences=spearman_differences,
        sentence=(
            f"{trials[0].task.name} ({unit}): with R2 "
            f"{_with_interval(embedding.r2, embedding.r2_ci, params.confidence)}) and Spearman's correlation "
            f"{embedding.spearman:.3f} ({spearman.low:.3f} to {spearman.high:.3f}; {found.where}; "
            f"{found.examples:,} levels, in {counted(found.clusters, params)})"
            + (f", in R2, the embedding {listed(verdicts(differences))}" if differences else "")
            + f".{caveats(found.clusters, params)}"
        ),
    )


@dataclass(frozen=True)
class _Scored:
    """Scores of a task: by cell type, and the mean over them with its resamples; `clusters` of the largest one."""

    cell_types: dict[str, Any]
    summary: dict[str, Any]
    means: Values
    draws: Draws
    clusters: int

    @property
    def examples(self) -> int:
        return sum(cell.n for cell in self.cell_types.values())

    @property
    def where(self) -> str:
        names = list(self.cell_types)
        return names[0] if len(names) == 1 else f"the mean over {len(names)} cell types"


def _score(
    target: Target,
    trials: Sequence[Trial],
    held_out: Sequence[Mapping[str, NDArray[np.float32]]],
    params: EvaluateParams,
) -> _Scored:
    names = list(held_out[0])
    metrics = target.metrics
    # One set of draws for all cell types and representations makes every difference a paired one.
    draws = cluster_draws(trials[0].clusters, params.bootstrap, params.seed)
    values: list[Values] = [
        {metric.field: {name: metric.value(trial, scores[name]) for name in names} for metric in metrics}
        for trial, scores in zip(trials, held_out, strict=True)
    ]
    resampled: list[Draws] = [
        {metric.field: {name: metric.resampled(trial, scores[name], draws) for name in names} for metric in metrics}
        for trial, scores in zip(trials, held_out, strict=True)
    ]
    cell_types = {
        trial.cell_type: _cell_type(target, trial, predicted, value, draw, params.confidence)
        for trial, predicted, value, draw in zip(trials, held_out, values, resampled, strict=True)
    }
    fields = [each.field for each in metrics]
    means = {
        field: {name: float(np.mean([each[field][name] for each in values])) for name in names} for field in fields
    }
    mean_draws = {
        field: {name: np.mean([each[field][name] for each in resampled], axis=0) for name in names} for field in fields
    }
    return _Scored(
        cell_types,
        {name: target.summary(**_with_intervals(means, mean_draws, name, params.confidence)) for name in names},
        means,
        mean_draws,
        max(cell.clusters for cell in cell_types.values()),
    )


def _cell_type(
    target: Target,
    trial: Trial,
    predicted: Mapping[str, NDArray[np.float32]],
    values: Values,
    draws: Draws,
    confidence: float,
) -> CellTypeResult | RegressionCellType:
    clusters, main = len(np.unique(trial.cluster)), target.metrics[0].field
    return target.cell_type(
        cell_type=trial.cell_type,
        n=len(trial.examples),
        n_outside=trial.n_outside,
        n_unusable=trial.examples.unusable,
        groups=len(np.unique(trial.folds.group)),
        clusters=clusters,
        representations={
            name: target.scores(
                **_with_intervals(values, draws, name, confidence), **target.trial_scores(trial, predicted[name])
            )
            for name in predicted
        },
        differences=against_baselines(values[main], draws[main], clusters, confidence),
        **target.trial_counts(trial),
    )


def _with_intervals(values: Values, draws: Draws, name: str, confidence: float) -> dict[str, Any]:
    """A representation's value and interval in each metric, by the fields of its record."""
    found: dict[str, Any] = {field: each[name] for field, each in values.items()}
    return found | {f"{field}_ci": interval(each[name], confidence) for field, each in draws.items()}


def _with_interval(value: float, ci: Interval, confidence: float) -> str:
    return f"{value:.3f} ({100 * confidence:g}% interval {ci.low:.3f} to {ci.high:.3f}"


def _described(trial: Trial) -> dict[str, Any]:
    task = trial.task
    return {"name": task.name, "kind": task.kind, "windows": task.windows, "label_format": task.labels.format}
