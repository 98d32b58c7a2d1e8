"""Challenger and champion on the same held-out examples, folds, seeds and resamples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from epilstm.errors import DataError
from epilstm.params import EvaluateParams
from epilstm.scoring.bootstrap import cluster_draws, difference
from epilstm.scoring.metrics import AVERAGE_PRECISION
from epilstm.scoring.trials import Trial
from epilstm.steps.promote.decision import Comparison
from epilstm.steps.promote.gate import MEAN
from epilstm.store.evaluation_results import EMBEDDING, PREDICTIONS_FILE, checked_file

Scores = Sequence[NDArray[np.float32]]


def challenger_scores(evaluation: Path, trials: Sequence[Trial]) -> list[NDArray[np.float32]]:
    """The challenger's held-out scores of every trial, as evaluate has kept them.

    Raises
    ------
    DataError
        They are not of these examples and folds.
    """
    import pyarrow.compute
    import pyarrow.parquet

    path = checked_file(evaluation, PREDICTIONS_FILE)
    try:
        table = pyarrow.parquet.read_table(path, filters=[("representation", "=", EMBEDDING)])
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}; run evaluate again") from error
    scores, start = [], 0
    for trial in trials:
        own = table.slice(start, len(trial.examples))
        start += len(trial.examples)
        same = (
            own.num_rows == len(trial.examples)
            and set(own["task"].to_pylist()) == {trial.task.name}
            and set(own["cell_type"].to_pylist()) == {trial.cell_type}
            and own["example"].to_pylist() == list(trial.examples.names)
            and np.array_equal(own["fold"].to_numpy(), trial.folds.fold)
            and np.array_equal(own["label"].to_numpy(zero_copy_only=False), trial.examples.labels)
        )
        if not same:
            raise DataError(
                f"{path}: {trial.task.name}, {trial.cell_type}: not the examples and folds that follow from the data "
                "and the labels; run evaluate again"
            )
        scores.append(own["score"].to_numpy().astype(np.float32))
    if start != table.num_rows:
        raise DataError(f"{path}: holds other examples than the tasks; run evaluate again")
    return scores


def compare(trials: Sequence[Trial], challenger: Scores, champion: Scores, params: EvaluateParams) -> list[Comparison]:
    """Challenger minus champion in average precision: per task, in each of its cell types, and the mean over tasks.

    Parameters
    ----------
    trials : sequence of Trial
        Of all tasks, those of a task together.
    challenger, champion : sequence of (n,) float32 arrays
        Held-out scores of each trial.
    params : EvaluateParams
        Those of the evaluation.
    """
    metric, comparisons, by_cell = AVERAGE_PRECISION, list[Comparison](), list[Comparison]()
    mean_draws: list[NDArray[np.float64]] = []
    for name in dict.fromkeys(trial.task.name for trial in trials):
        own = [number for number, trial in enumerate(trials) if trial.task.name == name]
        draws = cluster_draws(trials[own[0]].clusters, params.bootstrap, params.seed)
        values = [[metric.value(trials[each], scores[each]) for each in own] for scores in (challenger, champion)]
        drawn = [
            [metric.resampled(trials[each], scores[each], draws) for each in own] for scores in (challenger, champion)
        ]
        precision, resampled = [float(np.mean(each)) for each in values], [np.mean(each, axis=0) for each in drawn]
        counts = [len(np.unique(trials[each].cluster)) for each in own]
        clusters = max(counts)
        if len(own) > 1:
            by_cell += [
                _comparison(name, new, old, drawn[0][place] - drawn[1][place], counts[place], params.confidence, cell)
                for place, (cell, new, old) in enumerate(
                    zip((trials[each].cell_type for each in own), *values, strict=True)
                )
            ]
        mean_draws.append(resampled[0] - resampled[1])
        comparisons.append(_comparison(name, precision[0], precision[1], mean_draws[-1], clusters, params.confidence))
    return [
        *comparisons,
        *by_cell,
        _comparison(
            MEAN,
            float(np.mean([each.challenger for each in comparisons])),
            float(np.mean([each.champion for each in comparisons])),
            np.mean(mean_draws, axis=0),
            min(each.clusters for each in comparisons),
            params.confidence,
        ),
    ]


def _comparison(
    task: str,
    challenger: float,
    champion: float,
    draws: NDArray[np.float64],
    clusters: int,
    confidence: float,
    cell_type: str = "",
) -> Comparison:
    found = difference(task, challenger - champion, draws, clusters, confidence)
    return Comparison(
        task=task,
        challenger=challenger,
        champion=champion,
        delta=found.delta,
        ci=found.ci,
        clusters=clusters,
        verdict=found.verdict,
        reason=found.reason,
        cell_type=cell_type,
    )
