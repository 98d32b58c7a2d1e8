"""From held-out scores to results: each representation's scores, how the embedding compares, and a plain sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from epilstm.params import EvaluateParams
from epilstm.representation_names import Part, known_name, short_distance
from epilstm.scoring.scores import bootstrap_average_precision, cluster_draws, difference, interval, score
from epilstm.scoring.trials import Trial
from epilstm.store.evaluation_results import (
    EMBEDDING,
    MIN_CLUSTERS,
    NOT_JUDGED,
    CellTypeResult,
    Difference,
    Scores,
    Summary,
    TaskResult,
)

#: How a sentence calls each baseline.
SPOKEN = {
    EMBEDDING: "the embedding",
    "raw": "the raw tracks",
    "pca": "PCA of the same size",
    "nmf": "non-negative factors of the same size",
    "untrained": "an untrained encoder",
    "majority": "the majority class",
    "bin_code": "its bin code",
    "context_code": "its context code",
    "pca_varimax": "PCA of the same size turned by varimax",
}

#: The same of baselines of a size of their own.
SPOKEN_OF_SIZE = {
    "pca": "PCA of size {}",
    "nmf": "non-negative factors of size {}",
    "pca_varimax": "PCA of size {} turned by varimax",
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
    names = list(held_out[0])
    # One set of draws for all cell types and representations makes every difference a paired one.
    draws = cluster_draws(trials[0].clusters, params.bootstrap, params.seed)
    resampled = [
        {
            name: bootstrap_average_precision(
                trial.examples.labels, scores[name], trial.folds.fold, trial.cluster, draws
            )
            for name in names
        }
        for trial, scores in zip(trials, held_out, strict=True)
    ]
    scored = [
        {
            name: score(trial.examples.labels, scores[name], trial.folds.fold, draw[name], params.confidence)
            for name in names
        }
        for trial, scores, draw in zip(trials, held_out, resampled, strict=True)
    ]
    mean_draws = {name: np.mean([draw[name] for draw in resampled], axis=0) for name in names}
    mean_precision = {name: float(np.mean([each[name].average_precision for each in scored])) for name in names}
    task = trials[0].task
    cell_types = {
        trial.cell_type: _cell_type(trial, scores, draw, params.confidence)
        for trial, scores, draw in zip(trials, scored, resampled, strict=True)
    }
    clusters = max(cell.clusters for cell in cell_types.values())
    differences = against_baselines(mean_precision, mean_draws, clusters, params.confidence)
    summary = {
        name: Summary(
            average_precision=mean_precision[name],
            average_precision_ci=interval(mean_draws[name], params.confidence),
        )
        for name in names
    }
    return TaskResult(
        name=task.name,
        kind=task.kind,
        windows=task.windows,
        label_format=task.labels.format,
        cell_types=cell_types,
        summary=summary,
        differences=differences,
        sentence=sentence(task.name, cell_types, summary[EMBEDDING], differences, params)
        + best(mean_precision, mean_draws, clusters, params.confidence),
    )


def against_baselines(
    scores: Mapping[str, float], draws: Mapping[str, NDArray[np.float64]], clusters: int, confidence: float
) -> list[Difference]:
    """The embedding minus each other representation, in their order.

    Parameters
    ----------
    scores : mapping of str to float
        Representation -> score, the embedding among them.
    draws : mapping of str to (b,) array
        The same on the same resamples.
    clusters : int
        Number of clusters resampled.
    confidence : float
    """
    return [
        difference(name, scores[EMBEDDING] - scores[name], draws[EMBEDDING] - draws[name], clusters, confidence)
        for name in scores
        if name != EMBEDDING
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
        differences=against_baselines(precision, draws, clusters, confidence),
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
    said = listed(verdicts(differences))
    ci, cells = embedding.average_precision_ci, list(cell_types.values())
    where = cells[0].cell_type if len(cells) == 1 else f"the mean over {len(cells)} cell types"
    clusters = max(cell.clusters for cell in cells)
    compared = f", the embedding {said}" if said else ""
    return (
        f"{task}: with average precision {embedding.average_precision:.3f} ({100 * params.confidence:g}% interval "
        f"{ci.low:.3f} to {ci.high:.3f}; {where}; {sum(cell.n for cell in cells):,} labels, "
        f"{sum(cell.positives for cell in cells):,} positive, in {counted(clusters, params)}){compared}."
        f"{caveats(clusters, params)}"
    )


def best(
    scores: Mapping[str, float], draws: Mapping[str, NDArray[np.float64]], clusters: int, confidence: float
) -> str:
    """Which representation scores highest, and which are within noise of it; nothing where there is one only."""
    if len(scores) < 2:
        return ""
    top = max(scores, key=lambda name: scores[name])
    if clusters < MIN_CLUSTERS:
        return f" The highest score, {scores[top]:.3f}, is that of {spoken(top)}."
    noise = [
        spoken(name)
        for name in scores
        if name != top
        and difference(name, scores[top] - scores[name], draws[top] - draws[name], clusters, confidence).verdict
        != "beats"
    ]
    within = f"; within noise of it: {listed(noise)}" if noise else "; none of the others is within noise of it"
    return f" The highest score, {scores[top]:.3f}, is that of {spoken(top)}{within}."


def spoken(name: str) -> str:
    """How a sentence calls a representation."""
    known = known_name(name)
    return f"the model {name}" if known is None else " plus ".join(map(_spoken_part, known.parts))


def _spoken_part(part: Part) -> str:
    if part.kind == "means":
        return f"means over {listed([short_distance(each) for each in part.distances])} on either side"
    if part.of is not None:
        size = "of the same size" if part.size is None else f"of size {part.size}"
        return f"PCA {size} of {' plus '.join(map(_spoken_part, part.of.parts))}"
    return SPOKEN[part.kind] if part.size is None else SPOKEN_OF_SIZE[part.kind].format(part.size)


def verdicts(differences: Sequence[Difference]) -> list[str]:
    """Phrases such as "beats PCA of the same size (+0.012)", one per verdict that occurs."""
    found: dict[str, list[str]] = {"beats": [], "is beaten by": [], "is indistinguishable from": []}
    unjudged: dict[str, list[str]] = {}
    for each in differences:
        named = f"{spoken(each.baseline)} ({round(each.delta, 3) + 0.0:+.3f})"
        (unjudged.setdefault(each.reason, []) if each.verdict == NOT_JUDGED else found[each.verdict]).append(named)
    judged = [f"{verdict} {listed(own)}" for verdict, own in found.items() if own]
    return judged + [f"is not judged against {listed(own)}: {reason}" for reason, own in unjudged.items()]


def counted(clusters: int, params: EvaluateParams) -> str:
    """What the bootstrap resamples, with its number."""
    return f"{clusters} {_unit(params)}"


def caveats(clusters: int, params: EvaluateParams) -> str:
    """What a reader must know of the folds and of the number of clusters; empty, or sentences after a space."""
    said = ""
    if params.folds.by == "random":
        said += " Random folds put neighbours on both sides: every score here is flattered."
    if MIN_CLUSTERS <= clusters < FEW_CLUSTERS:
        said += f" With so few {_unit(params)} the intervals are narrower than they should be."
    return said


def _unit(params: EvaluateParams) -> str:
    return "examples" if params.folds.by == "random" else "independent regions"


def listed(items: Sequence[str]) -> str:
    """Items as a sentence lists them; nothing for none."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"
