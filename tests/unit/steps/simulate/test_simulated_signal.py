"""The simulated signal: runs, gaps, and -log10 p of piled-up reads."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import poisson

from epilstm.params import SimulateParams
from epilstm.steps.simulate.landscape import build_landscape
from epilstm.steps.simulate.signal import (
    ENRICHMENT,
    GRID,
    Library,
    draw_gaps,
    draw_runs,
    expected_fold,
    minus_log10_p,
    simulate_track,
)
from support.nonempty import nonempty

LENGTH = 1_000_000


@pytest.fixture(scope="module")
def landscape():
    return build_landscape(np.random.default_rng(3), LENGTH, 3)


@pytest.fixture(scope="module")
def gaps():
    return draw_gaps(np.random.default_rng(4), LENGTH)


def track(landscape, gaps, cell_type, assay, seed=0):
    rng = np.random.default_rng([seed, cell_type])
    return simulate_track(rng, landscape, cell_type, assay, Library.draw(rng), gaps)


def per_bin(runs, bin_size=25):
    """Mean per bin, uncovered bases as 0, by a plain expansion to base pairs."""
    bases = np.zeros(LENGTH)
    for start, end, value in zip(runs.start, runs.end, runs.value, strict=True):
        bases[start:end] = value
    return bases.reshape(-1, bin_size).mean(axis=1)


@pytest.fixture(scope="module")
def binned(landscape, gaps):
    return {
        (cell_type, assay): np.arcsinh(per_bin(track(landscape, gaps, cell_type, assay)))
        for cell_type in (0, 1)
        for assay in ("H3K4me3", "H3K27ac", "H3K27me3", "H3K36me3")
    }


def test_minus_log10_p_is_the_poisson_tail():
    rng = np.random.default_rng(0)
    background = np.exp(rng.uniform(-0.3, 2, 5_000))
    count = rng.poisson(background * rng.choice([0.5, 1, 3, 20], 5_000))
    # The reference cancels where the tail is near 1, and underflows below 1e-300.
    expected = -poisson.logsf(count, background) / np.log(10)
    exact = np.isfinite(expected)
    assert exact.mean() > 0.95
    np.testing.assert_allclose(minus_log10_p(count, background)[exact], expected[exact], rtol=0.01, atol=1e-3)


def test_minus_log10_p_of_a_constant_background_and_of_nothing():
    assert minus_log10_p(np.array([0]), np.array([2.0])) == pytest.approx(-np.log10(1 - np.exp(-2)))
    assert minus_log10_p(np.zeros(0, dtype=int), np.zeros(0)).shape == (0,)


def test_runs_are_20_to_60_bp_in_order_and_inside_the_chromosome(landscape, gaps):
    runs = track(landscape, gaps, 0, "DNase")
    length = runs.end - runs.start
    assert length.min() == 20
    assert length.max() == 60
    assert (runs.start[1:] >= runs.end[:-1]).all()
    assert runs.start[0] >= 0
    assert runs.end[-1] <= LENGTH


def test_no_run_touches_an_unmappable_gap(gaps):
    start, end = draw_runs(np.random.default_rng(5), LENGTH, gaps)
    for gap_start, gap_end in nonempty(gaps):
        assert not ((start < gap_end) & (end > gap_start)).any()


def test_gaps_are_sorted_apart_and_take_a_few_per_cent(gaps):
    assert gaps[0].tolist()[0] == 0
    assert (gaps[:, 1] > gaps[:, 0]).all()
    assert (gaps[1:, 0] > gaps[:-1, 1]).all()
    assert 0.01 < (gaps[:, 1] - gaps[:, 0]).sum() / LENGTH < 0.06


def test_tracks_have_gaps_of_their_own_beside_the_shared_ones(landscape, gaps):
    covered = []
    for cell_type in (0, 1):
        runs = track(landscape, gaps, cell_type, "DNase")
        bases = np.zeros(LENGTH, dtype=bool)
        for start, end in zip(runs.start, runs.end, strict=True):
            bases[start:end] = True
        covered.append(bases)
    for own, other in (covered, covered[::-1]):
        assert 0.005 < (other & ~own).mean() < 0.03
    assert (~covered[0] & ~covered[1]).reshape(-1, 25).all(axis=1).any()


@pytest.mark.parametrize("assay", list(ENRICHMENT))
def test_every_assay_is_enriched_in_its_foremost_state(landscape, gaps, assay):
    foremost = int(np.argmax(ENRICHMENT[assay].fold))
    bins = per_bin(track(landscape, gaps, 0, assay))
    inside = np.zeros(LENGTH, dtype=bool)
    for segment in np.flatnonzero(landscape.state[0] == foremost):
        inside[landscape.start[segment] : landscape.end[segment]] = True
    inside = inside.reshape(-1, 25).all(axis=1)
    assert bins[inside].mean() > 3 * bins[~inside].mean()


def test_signal_is_heavy_tailed_as_real_minus_log10_p(landscape, gaps):
    value = track(landscape, gaps, 0, "H3K4me3").value
    assert value.min() >= 0
    assert 0.1 < np.median(value) < 0.6
    assert np.quantile(value, 0.999) > 100 * np.median(value)
    # A normal variable has an excess kurtosis of 0, an exponential one of 6.
    assert (((value - value.mean()) / value.std()) ** 4).mean() - 3 > 30


def test_peaks_are_smooth_over_neighbouring_bins_and_gone_after_some_kb(binned):
    signal = binned[0, "H3K4me3"]

    def correlation(bins):
        return np.corrcoef(signal[:-bins], signal[bins:])[0, 1]

    assert correlation(1) > 0.9
    assert 0.3 < correlation(20) < 0.9
    assert correlation(400) < 0.3


def test_marks_of_a_state_go_together_and_those_of_opposite_states_do_not(binned):
    def correlation(one, other):
        return np.corrcoef(binned[0, one], binned[0, other])[0, 1]

    assert correlation("H3K4me3", "H3K27ac") > 0.4
    assert correlation("H3K27me3", "H3K36me3") < 0


def test_cell_types_are_alike_and_differ(binned):
    for assay in ("H3K4me3", "H3K36me3"):
        assert 0.2 < np.corrcoef(binned[0, assay], binned[1, assay])[0, 1] < 0.95


def test_a_stronger_element_expects_more_reads(landscape):
    assay = "H3K36me3"
    state = int(np.argmax(ENRICHMENT[assay].fold))
    fold = expected_fold(landscape, 0, assay, efficiency=1.0)
    segments = np.flatnonzero((landscape.state[0] == state) & (landscape.end - landscape.start > 4_000))
    middle = fold[(landscape.start[segments] + landscape.end[segments]) // 2 // GRID]
    expected = 1 + (ENRICHMENT[assay].fold[state] - 1) * landscape.strength[0][segments]
    np.testing.assert_allclose(middle, expected, rtol=1e-6)


def test_the_default_assays_can_be_simulated():
    assert set(SimulateParams().assays) <= set(ENRICHMENT)
