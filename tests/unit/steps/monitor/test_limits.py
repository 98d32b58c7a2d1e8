"""Limits that follow from what the reference itself does."""

import numpy as np
import pytest

from epilstm.steps.monitor.limits import conformal_limit, enough, limits, verdict_on, worst


def test_a_further_value_exceeds_the_limit_as_rarely_as_it_says():
    rng = np.random.default_rng(2)
    draws = rng.gamma(0.5, size=(4000, 60))
    beyond = [row[-1] > conformal_limit(row[:-1], 0.1) for row in draws]
    assert 0.08 < np.mean(beyond) < 0.12


def test_of_few_values_the_largest_is_the_limit():
    assert conformal_limit(np.array([3.0, 1.0, np.nan]), 0.05) == 3.0
    assert conformal_limit(np.empty(0), 0.05) == -np.inf


def test_the_reference_raises_limits_and_never_lowers_them():
    calm, wild = np.full(50, 0.01), np.linspace(0, 2, 50)
    assert limits([0.1, 0.25], calm, 0.1) == (0.1, 0.25)
    warn, drift = limits([0.1, 0.25], wild, 0.1)
    assert warn == pytest.approx(np.sort(wild)[45])
    assert drift == 2


def test_what_is_no_number_says_nothing():
    assert verdict_on(float("nan"), 1, 2) == "ok"
    assert [verdict_on(value, 1, 2) for value in (1, 1.5, 2.5)] == ["ok", "warn", "drift"]


def test_the_worst_verdict_counts():
    assert worst(["warn", "ok", "drift"]) == "drift"
    assert worst([]) == "ok"


def test_the_closest_values_are_taken_if_they_are_enough():
    close, wide = np.arange(3.0), np.arange(100.0)
    assert len(enough([close, wide], 0.05)) == 100
    assert len(enough([close, wide], 0.3)) == 3
    assert len(enough([close, np.array([1.0, np.nan])], 0.05)) == 1
