"""Distances of distributions, against scipy and plain numpy."""

import numpy as np
import pytest
from scipy import stats

from epilstm.errors import DataError
from epilstm.store.distributions import (
    cells_of,
    counts_of,
    gathered,
    kolmogorov_smirnov,
    population_stability_index,
    quantiles,
    scale_shift,
    signal_to_noise,
    transformed_lead,
)

EDGES = np.linspace(-4, 12, 257)


@pytest.fixture
def signal():
    """Raw signal of two tracks, (bin, track)."""
    return np.random.default_rng(0).gamma(0.5, (3, 20), (50_000, 2)).astype(np.float32)


def histogram(raw):
    return counts_of(np.arcsinh(raw), EDGES)


def test_counts_are_those_of_numpy_with_what_lies_beyond_in_the_outer_bins():
    values = np.array([[-9], [-4], [0], [0.07], [3], [11.99], [12], [99]], np.float32)
    expected = np.histogram(values.clip(-4, 11.999), EDGES)[0]
    assert counts_of(values, EDGES).tolist() == [expected.tolist()]


def test_edges_that_are_not_equally_spaced_are_refused():
    with pytest.raises(DataError, match="not equally spaced"):
        counts_of(np.zeros((1, 1), np.float32), np.array([0.0, 1.0, 3.0]))


def test_cells_are_wide_and_hold_a_share_of_the_reference(signal):
    counts = histogram(signal)[0]
    cells = cells_of(counts, EDGES)
    held = np.add.reduceat(counts, cells)
    assert cells[0] == 0
    assert held.sum() == counts.sum()
    assert (held >= 0.01 * counts.sum()).all()
    assert np.diff(EDGES[cells[1:]]).min() >= 0.5


def test_psi_is_the_sum_over_cells(signal):
    new, known = histogram(signal * 0.6), histogram(signal)
    cells = [cells_of(row, EDGES) for row in known]
    p, q = gathered(new, cells)[1], gathered(known, cells)[1]
    expected = stats.entropy(p, q) + stats.entropy(q, p)
    assert population_stability_index(new, known, cells)[1] == pytest.approx(expected)


def test_ks_is_scipys_to_the_width_of_a_cell(signal):
    new = signal * 0.3
    known = histogram(signal)
    cells = [cells_of(row, EDGES) for row in known]
    found = kolmogorov_smirnov(histogram(new), known, cells)
    for track in range(2):
        exact = stats.ks_2samp(new[:, track], signal[:, track]).statistic
        assert 0.5 * exact < found[track] <= exact + 1e-3


def test_quantiles_are_those_of_the_values_to_the_width_of_a_histogram_bin(signal):
    at = [0.1, 0.5, 0.99]
    expected = np.quantile(np.arcsinh(signal), at, axis=0).T
    np.testing.assert_allclose(quantiles(histogram(signal), EDGES, at), expected, atol=1 / 16)


def test_an_empty_histogram_has_no_quantiles():
    assert np.isnan(quantiles(np.zeros((1, 256), np.int64), EDGES, [0.5])).all()


def test_half_the_signal_is_a_scale_shift_of_minus_one(signal):
    np.testing.assert_allclose(scale_shift(histogram(signal / 2), histogram(signal), EDGES), -1, atol=0.05)


def test_signal_to_noise_is_that_of_the_values_and_does_not_know_depth(signal):
    top = np.sort(signal, axis=0)[-500:].mean(axis=0)
    expected = np.log2(top / signal.mean(axis=0))
    np.testing.assert_allclose(signal_to_noise(histogram(signal), EDGES), expected, atol=0.05)
    np.testing.assert_allclose(signal_to_noise(histogram(signal / 2), EDGES), expected, atol=0.1)


def test_a_track_without_any_signal_has_no_signal_to_noise():
    counts = histogram(np.full((10, 1), -2.0, np.float32))
    assert np.isnan(signal_to_noise(counts, EDGES)).all()


def test_values_that_are_transformed_already_fit_the_transformed_reference(signal):
    known = histogram(signal)
    for transform, forward in (("arcsinh", np.arcsinh), ("log1p", np.log1p)):
        each = [transform] * signal.shape[1]
        assert (transformed_lead(histogram(forward(signal)), known, EDGES, each) > 0.2).all()
        assert (transformed_lead(histogram(signal * 0.9), known, EDGES, each) < 0).all()


def test_values_that_are_not_to_be_transformed_cannot_have_been_before(signal):
    lead = transformed_lead(histogram(signal), histogram(signal), EDGES, ["none"] * signal.shape[1])
    assert np.isnan(lead).all()


def test_fractions_are_distinguished_in_more_cells_than_depth_would_allow():
    fractions = histogram(np.random.default_rng(0).random((5000, 1)).astype(np.float32))
    assert len(cells_of(fractions[0], EDGES, "none")) >= 2 * len(cells_of(fractions[0], EDGES))
