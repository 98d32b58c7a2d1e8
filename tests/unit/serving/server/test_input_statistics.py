"""Statistics of the inputs: what a sample of the signals looks like."""

from __future__ import annotations

import numpy as np

from epilstm.serving.server.input_statistics import SAMPLE_BINS, SAMPLE_SECONDS, InputStatistics


def collected(statistics: InputStatistics) -> dict[str, list[float]]:
    return {
        family.name.removeprefix("epilstm_serve_input_"): [sample.value for sample in family.samples]
        for family in statistics.collect()
    }


def test_sums_are_those_of_arcsinh_of_the_values_that_are_there():
    signal = np.array([[[0.0, 5.0], [np.nan, 2.0], [3.0, np.nan]]], np.float32)
    statistics = InputStatistics(["a", "b"])
    statistics.observe(signal, 0)
    found = collected(statistics)
    assert found["values"] == [3, 3]
    assert found["missing_values"] == [1, 1]
    np.testing.assert_allclose(found["arcsinh_sum"], np.nansum(np.arcsinh(signal[0]), axis=0), rtol=1e-6)
    np.testing.assert_allclose(found["arcsinh_squares"], np.nansum(np.arcsinh(signal[0]) ** 2, axis=0), rtol=1e-6)


def test_a_sample_is_small_and_not_taken_again_at_once():
    statistics = InputStatistics(["a"])
    for now in (0.0, SAMPLE_SECONDS / 2, SAMPLE_SECONDS):
        statistics.observe(np.ones((4, 1000, 1), np.float32), now)
    assert collected(statistics)["values"] == [2 * SAMPLE_BINS]


def test_infinite_signals_do_not_spoil_the_sums():
    statistics = InputStatistics(["a"])
    statistics.observe(np.full((1, 5, 1), np.inf, np.float32), 0)
    assert collected(statistics)["values"] == [0]
