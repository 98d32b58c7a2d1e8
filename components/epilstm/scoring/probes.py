"""Probes: what learns from features beside the first classifier, from all labels or from a budget of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from epilstm.params import ClassifierKind, EvaluateParams
from epilstm.scoring.trials import Trial


@dataclass(frozen=True)
class Probe:
    """One kind of classifier, or of regressor for levels.

    Parameters
    ----------
    kind : str
        Of `ClassifierParams.kind`.
    labels : int, optional
        Labelled examples that it learns from, in each fold; None stands for all.
    draw : int
        Which of several draws of these examples.
    """

    kind: ClassifierKind
    labels: int | None = None
    draw: int = 0

    def learnt_from(self, trial: Trial, test: NDArray[np.bool_], seed: int, fold: int) -> NDArray[np.bool_]:
        """Examples outside a fold that it learns from: drawn at random, with both classes if there are both.

        The same draw of the same number has the same examples, whatever the representation and the kind.

        Parameters
        ----------
        trial : Trial
        test : (n,) bool array
            Examples of the fold.
        seed, fold : int
        """
        outside = np.flatnonzero(~test)
        if self.labels is None or len(outside) <= self.labels:
            return ~test
        random = np.random.default_rng([seed, fold, self.draw])
        order = random.permutation(outside)
        if trial.examples.levels is None:
            # The first example of either class comes first.
            labels = trial.examples.labels[order]
            first = [int(np.argmax(labels == value)) for value in (True, False) if (labels == value).any()]
            order = np.concatenate([order[first], np.delete(order, first)])
        chosen = np.zeros(len(test), dtype=bool)
        chosen[order[: self.labels]] = True
        return chosen


def further_probes(params: EvaluateParams) -> list[Probe]:
    """All that the params ask for, but the first kind with all labels."""
    return list(_all_probes(params))[1:]


def _all_probes(params: EvaluateParams) -> Iterator[Probe]:
    for kind in params.classifier.kinds:
        yield Probe(kind)
    for kind in params.classifier.kinds:
        for labels in params.label_budgets:
            yield from (Probe(kind, labels, draw) for draw in range(params.label_draws))
