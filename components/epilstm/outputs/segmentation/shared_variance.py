"""A hidden Markov model with Gaussian emissions that differ in their means only."""

from __future__ import annotations

from typing import Any

import numpy as np
from hmmlearn.hmm import GaussianHMM
from numpy.typing import NDArray

#: Times that each transition counts as seen before fitting: one that the sample lacks stays possible.
PRIOR_TRANSITIONS = 0.1


class SharedVarianceHmm(GaussianHMM):  # type: ignore[misc]  # hmmlearn has no types
    """Gaussian hidden Markov model whose states share one diagonal covariance, and whose evidence is weighted.

    With variances of their own, one wide state takes in all bins with much signal, and rare states with high means are
    lost to it. With a shared variance, a state is a place, as in k-means.

    Parameters
    ----------
    means : (state, dim) float64 array
        To begin with.
    variances : (dim,) float64 array
        Within states, to begin with.
    transitions : (from, to) float64 array
        To begin with.
    evidence : (dim,) float64 array
        Share of its log-likelihood that a dimension counts with: neighbouring bins that are alike are not independent
        observations.
    **options : Any
        Of hmmlearn's `GaussianHMM`.
    """

    def __init__(
        self,
        means: NDArray[np.float64],
        variances: NDArray[np.float64],
        transitions: NDArray[np.float64],
        evidence: NDArray[np.float64],
        least_variance: float,
        **options: Any,
    ) -> None:
        states = len(means)
        super().__init__(
            states,
            "diag",
            init_params="",
            implementation="scaling",
            transmat_prior=1 + PRIOR_TRANSITIONS,
            **options,
        )
        self.evidence = evidence
        self.least_variance = least_variance
        self.startprob_ = np.full(states, 1 / states)
        self.transmat_ = transitions
        self.means_ = means
        self._share(variances)

    def _share(self, variances: NDArray[np.float64]) -> None:
        self.covars_ = np.tile(np.maximum(variances, self.least_variance), (self.n_components, 1))

    def _compute_log_likelihood(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        variances = self._covars_[0]
        weights = self.evidence / variances
        own = (X * X) @ weights + (self.evidence * np.log(2 * np.pi * variances)).sum()
        shared = (self.means_**2) @ weights
        return np.asarray(X @ (self.means_ * weights).T - (shared + own[:, None]) / 2)

    def _fit_scaling(self, X: NDArray[np.float64]) -> tuple[Any, ...]:
        # Likelihoods are divided by the largest of their bin, which an exponential of a far one would not survive.
        self._largest = self._compute_log_likelihood(X).max(axis=1)
        likelihood, log_probability, *rest = super()._fit_scaling(X)
        return likelihood, log_probability + self._largest.sum(), *rest

    def _compute_likelihood(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        logs = self._compute_log_likelihood(X)
        return np.asarray(np.exp(logs - logs.max(axis=1, keepdims=True)))

    def _do_mstep(self, stats: dict[str, Any]) -> None:
        super()._do_mstep(stats)
        # A state without bins keeps no place of its own in the mean of the variances.
        held = stats["post"]
        self._share(held @ self._covars_ / held.sum())
