"""Results in plain English: names of representations, verdicts, and what a reader must know of the folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from epilstm.params import EvaluateParams
from epilstm.representation_names import Part, known_name, short_distance
from epilstm.scoring.bootstrap import difference
from epilstm.store.evaluation_results import EMBEDDING, MIN_CLUSTERS, NO_VERDICT, Difference

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
    "pca_varimax": "varimax-rotated PCA of the same size",
}

#: The same of baselines of a size of their own.
SPOKEN_OF_SIZE = {
    "pca": "PCA of size {}",
    "nmf": "non-negative factors of size {}",
    "pca_varimax": "varimax-rotated PCA of size {}",
}

#: Below this many resampled units a percentile bootstrap is too sure of itself.
FEW_CLUSTERS = 10


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
    if part.of is None:
        return _spoken_alone(part)
    inner = " plus ".join(map(_spoken_part, part.of.parts))
    return f"{inner}, of the own cell type alone" if part.kind == "own" else f"{_spoken_alone(part)} of {inner}"


def _spoken_alone(part: Part) -> str:
    return SPOKEN[part.kind] if part.size is None else SPOKEN_OF_SIZE[part.kind].format(part.size)


def verdicts(differences: Sequence[Difference]) -> list[str]:
    """Phrases such as "beats PCA of the same size (+0.012)", one per verdict that occurs."""
    found: dict[str, list[str]] = {"beats": [], "is beaten by": [], "is indistinguishable from": []}
    without_verdict: dict[str, list[str]] = {}
    for each in differences:
        named = f"{spoken(each.baseline)} ({round(each.delta, 3) + 0.0:+.3f})"
        (without_verdict.setdefault(each.reason, []) if each.verdict == NO_VERDICT else found[each.verdict]).append(
            named
        )
    phrases = [f"{verdict} {listed(own)}" for verdict, own in found.items() if own]
    return phrases + [f"has no verdict against {listed(own)}: {reason}" for reason, own in without_verdict.items()]


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
