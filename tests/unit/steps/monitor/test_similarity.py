"""Correlations from streamed sums, and distances of embeddings, against numpy and scipy."""

import numpy as np
import pytest
from scipy import linalg

from epilstm.steps.monitor.embedding_drift import frechet_distance, together
from epilstm.steps.monitor.similarity import CrossProducts, assay_means, margin
from epilstm.store.moments import Moments


@pytest.fixture
def rng():
    return np.random.default_rng(1)


def test_streamed_correlations_are_numpys(rng):
    new, reference = rng.normal(3, 2, (900, 2)).astype(np.float32), rng.normal(-1, 1, (900, 3)).astype(np.float32)
    reference[:, 0] += new[:, 1]
    sums, first = CrossProducts(2, 3), CrossProducts(2, 3)
    first.add(new[:400], reference[:400])
    sums.include(first)
    sums.add(new[400:], reference[400:])
    expected = np.corrcoef(new.T, reference.T)[:2, 2:]
    np.testing.assert_allclose(sums.correlation(), expected, atol=1e-5)


def test_a_column_that_does_not_vary_correlates_with_nothing(rng):
    sums = CrossProducts(1, 1)
    sums.add(np.full((100, 1), 0.1, np.float32), rng.normal(size=(100, 1)).astype(np.float32))
    assert sums.correlation().tolist() == [[0.0]]


def test_means_over_an_assay_leave_out_the_track_itself():
    correlation = np.array([[1.0, 0.4, 0.2], [0.5, 0.3, 0.1]])
    means = assay_means(correlation, ["a-X", "b-Y"], ["a-X", "c-X", "d-Y"], ["X", "X", "Y"])
    np.testing.assert_allclose(means, [[0.4, 0.2], [0.4, 0.1]])


def test_the_lead_of_the_best_other_assay_is_negative_where_the_own_is_best():
    means = np.array([[0.5, 0.2], [0.1, 0.7], [np.nan, 0.3]])
    np.testing.assert_allclose(margin(means, [0, 0, 0])[:2], [-0.3, 0.6])
    assert np.isnan(margin(means, [0, None, 0])[1:]).all()


def moments(rows):
    done = Moments(rows.shape[1])
    done.add(rows)
    return done


def test_frechet_distance_is_scipys_over_the_references_variance(rng):
    new, known = rng.normal(1, 2, (500, 3)), rng.normal(0, 1, (500, 3)) @ rng.normal(size=(3, 3))
    a, b = np.cov(new.T, bias=True), np.cov(known.T, bias=True)
    gap = np.square(new.mean(0) - known.mean(0)).sum()
    expected = (gap + np.trace(a + b - 2 * linalg.sqrtm(a @ b).real)) / np.trace(b)
    assert frechet_distance(moments(new), moments(known)) == pytest.approx(expected, rel=1e-6)


def test_the_same_embeddings_lie_nowhere_apart(rng):
    rows = rng.normal(size=(500, 3))
    halves = together([moments(rows[:200]), moments(rows[200:])], 3)
    assert frechet_distance(moments(rows), halves) == pytest.approx(0, abs=1e-9)
