"""From held-out scores to results: each representation's scores, how the embedding compares, and a plain sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from epilstm.config import EvaluateParams
from epilstm.evaluate.scores import bootstrap_average_precision, cluster_draws, difference, interval, score
from epilstm.evaluate.trials import Trial
from epilstm.evaluation import (
    BASELINES,
    EMBEDDING,
    MIN_CLUSTERS,
    REPRESENTATIONS,
    CellTypeResult,
    Difference,
    Scores,
    Summary,
    TaskResult,
)

#: How a sentence calls each baseline.
SPOKEN = {
    "raw": "the raw tracks",
    "pca": "PCA of the same size",
    "untrained": "an untrained encoder",
    "majority": "the majority class",
}

#: Below this many resampled units a percentile bootstrap is too sure of itself.
FEW_CLUSTERS = 10


def judge_task(
    trials: Sequence[Trial], held_out: Sequence[Mapping[str, NDArray[np.float32]]], params: EvaluateParams
) -> TaskResult:
    """Results of one task over its cell types.

    Parameters
    ----------
    trials : sequence of Trial
        All of one task.
    held_out : sequence of mapping
        For each trial, representation -> (n,) out-of-fold scores.
    params : EvaluateParams
    """
    # One set of draws for all cell types and representations makes every difference a paired one.
    draws = cluster_draws(trials[0].clusters, params.bootstrap, params.seed)
    resampled = [
        {
            name: bootstrap_average_precision(
                trial.examples.labels, scores[name], trial.folds.fold, trial.cluster, draws
            )
            for name in REPRESENTATIONS
        }
        for trial, scores in zip(trials, held_out, strict=True)
    ]
    scored = [
        {
            name: score(trial.examples.labels, scores[name], trial.folds.fold, draw[name], params.confidence)
            for name in REPRESENTATIONS
        }
        for trial, scores, draw in zip(trials, held_out, resampled, strict=True)
    ]
    mean_draws = {name: np.mean([draw[name] for draw in resampled], axis=0) for name in REPRESENTATIONS}
    mean_precision = {
        name: float(np.mean([each[name].average_precision for each in scored])) for name in REPRESENTATIONS
    }
    task = trials[0].task
    cell_types = {
        trial.cell_type: _cell_type(trial, scores, draw, params.confidence)
        for trial, scores, draw in zip(trials, scored, resampled, strict=True)
    }
    clusters = max(cell.clusters for cell in cell_types.values())
    differences = _differences(mean_precision, mean_draws, clusters, params.confidence)
    summary = {
        name: Summary(
            average_precision=mean_precision[name],
            average_precision_ci=interval(mean_draws[name], params.confidence),
        )
        for name in REPRESENTATIONS
    }
    return TaskResult(
        name=task.name,
        kind=task.kind,
        windows=task.windows,
        label_format=task.labels.format,
        cell_types=cell_types,
        summary=summary,
        differences=differences,
        sentence=sentence(task.name, cell_types, summary[EMBEDDING], differences, params),
    )


def _differences(
    precision: Mapping[str, float], draws: Mapping[str, NDArray[np.float64]], clusters: int, confidence: float
) -> list[Difference]:
    return [
        difference(name, precision[EMBEDDING] - precision[name], draws[EMBEDDING] - draws[name], clusters, confidence)
        for name in BASELINES
    ]


def _cell_type(
    trial: Trial, scores: dict[str, Scores], draws: Mapping[str, NDArray[np.float64]], confidence: float
) -> CellTypeResult:
    labels = trial.examples.labels
    clusters = len(np.unique(trial.cluster))
    precision = {name: each.average_precision for name, each in scores.items()}
    return CellTypeResult(
        cell_type=trial.cell_type,
        n=len(labels),
        positives=int(labels.sum()),
        base_rate=float(labels.mean()),
        n_outside=trial.n_outside,
        n_unusable=trial.examples.unusable,
        groups=len(np.unique(trial.folds.group)),
        clusters=clusters,
        representations=scores,
        differences=_differences(precision, draws, clusters, confidence),
    )


def sentence(
    task: str,
    cell_types: Mapping[str, CellTypeResult],
    embedding: Summary,
    differences: Sequence[Difference],
    params: EvaluateParams,
) -> str:
    """What a task's scores say of the embedding, in words.

    Parameters
    ----------
    task : str
    cell_types : mapping
        Its results by cell type.
    embedding : Summary
    differences : sequence of Difference
        Embedding minus each baseline, over the cell types.
    params : EvaluateParams
    """
    verdicts: dict[str, list[str]] = {"beats": [], "is beaten by": [], "is indistinguishable from": []}
    for each in differences:
        verdicts[each.verdict].append(f"{SPOKEN[each.baseline]} ({round(each.delta, 3) + 0.0:+.3f})")
    said = _listed([f"{verdict} {_listed(names)}" for verdict, names in verdicts.items() if names])
    ci, cells = embedding.average_precision_ci, list(cell_types.values())
    where = cells[0].cell_type if len(cells) == 1 else f"the mean over {len(cells)} cell types"
    unit = "examples" if params.folds.by == "random" else "stretches of genome"
    clusters = max(cell.clusters for cell in cells)
    caveats = ""
    if params.folds.by == "random":
        caveats += " Random folds put neighbours on both sides: every score here is flattered."
    if clusters < MIN_CLUSTERS:
        caveats += f" Fewer than {MIN_CLUSTERS} {unit} are too few to tell representations apart."
    elif clusters < FEW_CLUSTERS:
        caveats += f" With so few {unit} the intervals are narrower than they should be."
    return (
        f"{task}: with average precision {embedding.average_precision:.3f} ({100 * params.confidence:g}% interval "
        f"{ci.low:.3f} to {ci.high:.3f}; {where}; {sum(cell.n for cell in cells):,} labels, "
        f"{sum(cell.positives for cell in cells):,} positive, in {clusters} {unit}), "
        f"the embedding {said}.{caveats}"
    )


def _listed(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
