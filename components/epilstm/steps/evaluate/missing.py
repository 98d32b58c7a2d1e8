"""What it costs to be without some tracks when a classifier that had them all is used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from epilstm.params import EvaluateParams
from epilstm.scoring.bootstrap import cluster_draws, difference, interval
from epilstm.scoring.metrics import Metric, metric_of
from epilstm.scoring.prediction import HeldOut
from epilstm.scoring.sentences import caveats, counted, listed, spoken
from epilstm.scoring.trials import Trial, by_task, clusters_of
from epilstm.store.evaluation_results import EMBEDDING, NO_VERDICT, Difference, Fall, MissingTask


def hidden_tracks(tracks: int, share: float, seed: int, count: int) -> list[NDArray[np.bool_]]:
    """For each of `count` draws, which of the tracks are hidden: that share, but at least one and not all.

    Raises
    ------
    ValueError
        There is one track only.
    """
    if tracks < 2:
        raise ValueError("of one track none can be hidden")
    number = int(np.clip(round(share * tracks), 1, tracks - 1))
    draws = []
    for draw in range(count):
        hidden = np.zeros(tracks, dtype=bool)
        hidden[np.random.default_rng([seed, draw]).permutation(tracks)[:number]] = True
        draws.append(hidden)
    return draws


def score_missing(
    trials: Sequence[Trial], full: HeldOut, hidden: Sequence[HeldOut], params: EvaluateParams
) -> dict[str, MissingTask]:
    """The fall of each representation's scores, by task.

    Parameters
    ----------
    trials : sequence of Trial
    full : list of mapping
        Out-of-fold predictions with all tracks.
    hidden : sequence of list of mapping
        For each draw, predictions of the same classifiers from examples with hidden tracks.
    params : EvaluateParams
    """
    results = {}
    for task, numbers in by_task(trials).items():
        own = [trials[each] for each in numbers]
        draws = cluster_draws(own[0].clusters, params.bootstrap, params.seed)
        measure, metric = metric_of(own)
        falls, fall_draws = {}, {}
        for name in hidden[0][numbers[0]]:
            with_all = _mean(metric, trials, full, numbers, name, draws)
            without = [_mean(metric, trials, each, numbers, name, draws) for each in hidden]
            low = np.mean([score for score, _ in without])
            fall_draws[name] = with_all[1] - np.mean([each for _, each in without], axis=0)
            falls[name] = Fall(
                full=with_all[0],
                hidden=float(low),
                fall=with_all[0] - float(low),
                ci=interval(fall_draws[name], params.confidence),
            )
        clusters = clusters_of(own)
        differences = [
            difference(
                name,
                falls[name].fall - falls[EMBEDDING].fall,
                fall_draws[name] - fall_draws[EMBEDDING],
                clusters,
                params.confidence,
            )
            for name in falls
            if name != EMBEDDING
        ]
        results[task] = MissingTask(
            measure=measure,
            representations=falls,
            differences=differences,
            sentence=_sentence(task, measure, falls, differences, clusters, params),
        )
    return results


def _mean(
    metric: Metric,
    trials: Sequence[Trial],
    scores: HeldOut,
    numbers: Sequence[int],
    name: str,
    draws: NDArray[np.float32],
) -> tuple[float, NDArray[np.float64]]:
    return (
        float(np.mean([metric.value(trials[each], scores[each][name]) for each in numbers])),
        np.mean([metric.resampled(trials[each], scores[each][name], draws) for each in numbers], axis=0),
    )


_FALLS = {
    "beats": "less than that of {}",
    "is beaten by": "more than that of {}",
    "is indistinguishable from": "within noise of that of {}",
    NO_VERDICT: "without a verdict against that of {}",
}


def _sentence(
    task: str,
    measure: str,
    falls: Mapping[str, Fall],
    differences: Sequence[Difference],
    clusters: int,
    params: EvaluateParams,
) -> str:
    own = falls[EMBEDDING]
    against: dict[str, list[str]] = {}
    for each in differences:
        against.setdefault(each.verdict, []).append(f"{spoken(each.baseline)} ({falls[each.baseline].fall:.3f})")
    comparisons = [_FALLS[verdict].format(listed(names)) for verdict, names in against.items()]
    reasons = dict.fromkeys(each.reason for each in differences if each.reason)
    said = f"; that is {listed(comparisons)}{''.join(f': {reason}' for reason in reasons)}" if comparisons else ""
    return (
        f"{task}: with tracks hidden, the embedding falls from {own.full:.3f} to {own.hidden:.3f} in {measure} (a fall "
        f"of {own.fall:.3f}, {100 * params.confidence:g}% interval {own.ci.low:.3f} to {own.ci.high:.3f}; "
        f"{counted(clusters, params)}){said}.{caveats(clusters, params)}"
    )
