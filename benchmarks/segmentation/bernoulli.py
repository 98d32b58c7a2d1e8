"""A hidden Markov model of binary tracks, as ChromHMM has it."""

from __future__ import annotations

from typing import Any

import numpy as np
from hmmlearn.base import BaseHMM
from numpy.typing import NDArray

#: Windows that each value of a track counts as seen besides, in each state: no probability is 0 or 1.
PRIOR_WINDOWS = 0.5

#: Times that each transition counts as seen before fitting: one that the sample lacks stays possible.
PRIOR_TRANSITIONS = 0.1


class BernoulliHmm(BaseHMM):  # type: ignore[misc]  # hmmlearn has no types
    """Hidden Markov model whose tracks are independent Bernoulli variables given the state.

    Parameters
    ----------
    probabilities : (state, track) float64 array
        Of a 1, to begin with; within 0 and 1, ends excluded.
    transitions : (from, to) float64 array
        To begin with.
    **options : Any
        Of hmmlearn's `BaseHMM`.
    """

    def __init__(self, probabilities: NDArray[np.float64], transitions: NDArray[np.float64], **options: Any) -> None:
        states = len(probabilities)
        super().__init__(
            states, params="ste", init_params="", transmat_prior=1 + PRIOR_TRANSITIONS, implementation="log", **options
        )
        self.probabilities_ = probabilities
        self.startprob_ = np.full(states, 1 / states)
        self.transmat_ = transitions

    def _compute_log_likelihood(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        present, absent = np.log(self.probabilities_), np.log1p(-self.probabilities_)
        return np.asarray(X @ (present - absent).T + absent.sum(axis=1))

    def _get_n_fit_scalars_per_param(self) -> dict[str, int]:
        states, tracks = self.probabilities_.shape
        return {"s": states - 1, "t": states * (states - 1), "e": states * tracks}

    def _initialize_sufficient_statistics(self) -> dict[str, Any]:
        stats: dict[str, Any] = super()._initialize_sufficient_statistics()
        return stats | {"windows": np.zeros(self.n_components), "present": np.zeros(self.probabilities_.shape)}

    def _accumulate_sufficient_statistics(
        self, stats: dict[str, Any], X: NDArray[np.float64], lattice: Any, posteriors: NDArray[np.float64], *rest: Any
    ) -> None:
        super()._accumulate_sufficient_statistics(stats, X, lattice, posteriors, *rest)
        stats["windows"] += posteriors.sum(axis=0)
        stats["present"] += posteriors.T @ X

    def _do_mstep(self, stats: dict[str, Any]) -> None:
        super()._do_mstep(stats)
        self.probabilities_ = (stats["present"] + PRIOR_WINDOWS) / (stats["windows"][:, None] + 2 * PRIOR_WINDOWS)
