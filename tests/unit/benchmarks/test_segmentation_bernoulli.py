"""The hidden Markov model of binary tracks against all paths, one by one."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from benchmarks.segmentation.bernoulli import PRIOR_TRANSITIONS, PRIOR_WINDOWS, BernoulliHmm

PROBABILITIES = np.array([[0.9, 0.2, 0.6], [0.1, 0.3, 0.5]])
TRANSITIONS = np.array([[0.7, 0.3], [0.1, 0.9]])
OBSERVED = np.array([[1, 0, 1], [1, 1, 0], [0, 0, 1], [0, 1, 1], [0, 0, 0]], float)


def model(**options) -> BernoulliHmm:
    return BernoulliHmm(PROBABILITIES.copy(), TRANSITIONS.copy(), **options)


def likelihood_of_path(path: tuple[int, ...], observed: np.ndarray = OBSERVED) -> float:
    """Joint probability of a path and what is observed, factor by factor."""
    total = 1 / len(PROBABILITIES)
    for place, state in enumerate(path):
        if place:
            total *= TRANSITIONS[path[place - 1], state]
        for track, value in enumerate(observed[place]):
            total *= PROBABILITIES[state, track] if value else 1 - PROBABILITIES[state, track]
    return total


def all_paths() -> dict[tuple[int, ...], float]:
    return {path: likelihood_of_path(path) for path in product(range(2), repeat=len(OBSERVED))}


def test_the_likelihood_is_the_sum_over_all_paths():
    assert model().score(OBSERVED) == pytest.approx(np.log(sum(all_paths().values())), rel=1e-12)


def test_the_decoded_path_is_the_most_probable_of_all():
    paths = all_paths()
    best = max(paths, key=paths.__getitem__)
    assert len(set(best)) == 2
    assert tuple(model().predict(OBSERVED)) == best


def test_posteriors_are_sums_over_the_paths_through_a_state():
    paths = all_paths()
    expected = np.array(
        [
            [sum(p for path, p in paths.items() if path[place] == state) for state in range(2)]
            for place in range(len(OBSERVED))
        ]
    ) / sum(paths.values())
    np.testing.assert_allclose(model().predict_proba(OBSERVED), expected, rtol=1e-10)


def test_one_step_of_fitting_takes_the_expected_counts_over_all_paths():
    paths = all_paths()
    total = sum(paths.values())
    windows, present, steps = np.zeros(2), np.zeros((2, 3)), np.full((2, 2), PRIOR_TRANSITIONS)
    for path, probability in paths.items():
        for place, state in enumerate(path):
            windows[state] += probability / total
            present[state] += OBSERVED[place] * probability / total
            if place:
                steps[path[place - 1], state] += probability / total
    fitted = model(n_iter=1).fit(OBSERVED)
    expected = (present + PRIOR_WINDOWS) / (windows[:, None] + 2 * PRIOR_WINDOWS)
    np.testing.assert_allclose(fitted.probabilities_, expected, rtol=1e-10)
    np.testing.assert_allclose(fitted.transmat_, steps / steps.sum(axis=1, keepdims=True), rtol=1e-10)
