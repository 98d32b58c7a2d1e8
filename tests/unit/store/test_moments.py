"""Running moments are those of all rows at once, however they came in."""

from __future__ import annotations

import numpy as np
import pytest

from epilstm.store.moments import Moments

RNG = np.random.default_rng(3)
ROWS, OTHERS = RNG.normal(2, 3, (50, 3)), RNG.normal(-1, 2, (50, 4))


@pytest.mark.parametrize("cuts", [[], [1], [20, 20, 49]])
def test_moments_of_blocks_are_those_of_all_rows(cuts: list[int]) -> None:
    moments = Moments(3, 4)
    for rows, others in zip(np.split(ROWS, cuts), np.split(OTHERS, cuts), strict=True):
        moments.add(rows, others)
    expected = np.cov(ROWS.T, OTHERS.T, bias=True)
    assert moments.count == 50
    np.testing.assert_allclose(moments.mean, ROWS.mean(axis=0))
    np.testing.assert_allclose(moments.covariance, expected[:3, :3])
    np.testing.assert_allclose(moments.cross_covariance, expected[:3, 3:])
    np.testing.assert_allclose(moments.about(moments.mean) / 50, expected[:3, :3])
    np.testing.assert_allclose(moments.total_squares, 50 * ROWS.var(axis=0))


def test_moments_that_include_others_are_those_of_both() -> None:
    first, second, whole = Moments(3, 4), Moments(3, 4), Moments(3, 4)
    first.add(ROWS[:10], OTHERS[:10])
    second.add(ROWS[10:], OTHERS[10:])
    whole.add(ROWS, OTHERS)
    first.include(second)
    assert first.count == whole.count
    np.testing.assert_allclose(first.covariance, whole.covariance)
    np.testing.assert_allclose(first.cross_covariance, whole.cross_covariance)


def test_moments_of_no_rows_are_zero() -> None:
    assert Moments(2).mean.tolist() == [0, 0]
    assert Moments(2, 1).cross_covariance.tolist() == [[0], [0]]
