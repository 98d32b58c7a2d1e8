"""From raw signal to the values of the matrix and back."""

from __future__ import annotations

import math

import numpy as np
import pytest

from epilstm.store.manifests import Scaler
from epilstm.store.standardisation import standardise, stored, to_signal
from epilstm.tracks.signal_transform import Transform

MIXED = Scaler(
    tracks=["a", "b", "c"],
    transform=["arcsinh", "log1p", "none"],
    uncovered=["zero", "zero", "missing"],
    mean=[1.0, 2.0, 0.75],
    scale=[0.5, 4.0, 0.25],
)


def test_values_are_the_transformed_signal_less_mean_over_scale() -> None:
    signal = [[3.0, 7.0, 1.0], [-2.0, 0.0, 0.5], [1000.0, 1e6, -4.0]]
    expected = [
        [(math.asinh(a) - 1) / 0.5, (math.log(1 + b) - 2) / 4, (c - 0.75) / 0.25] for a, b, c in signal
    ]  # fmt: skip
    np.testing.assert_allclose(standardise(np.array(signal), MIXED), expected, rtol=1e-12)


def test_no_data_is_no_signal_or_the_mean_where_uncovered_bases_are_missing() -> None:
    values = standardise(np.full((2, 3), np.nan, np.float32), MIXED)
    np.testing.assert_allclose(values, [[-2.0, -0.5, 0.0]] * 2)


def test_signal_below_0_counts_as_0_under_log1p() -> None:
    values = standardise(np.array([[0.0, -0.5, 0.0], [0.0, -7.0, 0.0]]), MIXED)
    assert values[:, 1].tolist() == [-0.5, -0.5]


@pytest.mark.parametrize("transform", ["arcsinh", "log1p", "none"])
def test_one_transform_for_all_is_the_same_as_one_for_each(transform: Transform) -> None:
    signal = np.random.default_rng(0).gamma(0.5, 10, (50, 3)).astype(np.float32)
    alike = MIXED.model_copy(update={"transform": transform})
    each = [standardise(signal[:, [place]], alike.select([place])) for place in range(3)]
    np.testing.assert_array_equal(standardise(signal, alike), np.concatenate(each, axis=1))


def test_the_layout_in_memory_does_not_matter() -> None:
    signal = np.random.default_rng(0).gamma(0.5, 10, (3, 50)).astype(np.float32)
    signal[:, ::7] = np.nan
    np.testing.assert_array_equal(standardise(signal.T, MIXED), standardise(signal.T.copy(), MIXED))


def test_standardising_leaves_the_signal_alone() -> None:
    signal = np.array([[1.0, np.nan, 3.0]])
    standardise(signal, MIXED)
    np.testing.assert_array_equal(signal, [[1.0, np.nan, 3.0]])


def test_values_go_back_to_the_signal_they_came_from() -> None:
    signal = np.array([[0.0, 0.0, 0.0], [3.0, 7.0, 1.0], [-2.0, 1e6, -4.0]])
    np.testing.assert_allclose(to_signal(standardise(signal, MIXED), MIXED), signal, rtol=1e-12, atol=1e-12)


def test_no_data_goes_back_to_0_or_the_mean() -> None:
    values = standardise(np.full((1, 3), np.nan), MIXED)
    np.testing.assert_allclose(to_signal(values, MIXED), [[0.0, 0.0, 0.75]], atol=1e-15)


def test_signal_of_a_wild_reconstruction_is_finite() -> None:
    signal = to_signal(np.full((1, 3), 6e4, np.float16), MIXED)
    assert signal.dtype == np.float32
    assert np.isfinite(signal).all()


def test_stored_values_are_finite_in_float16() -> None:
    assert stored(np.array([[1e9, -1e9]], np.float32)).tolist() == [[65504.0, -65504.0]]


def test_a_scaler_of_one_treatment_is_written_as_it_was_before_there_was_a_choice() -> None:
    scaler = Scaler(
        tracks=["a", "b"], transform=["arcsinh"] * 2, uncovered=["zero"] * 2, mean=[0.0, 1.0], scale=[1.0, 2.0]
    )
    assert scaler.model_dump_json() == ('{"tracks":["a","b"],"transform":"arcsinh","mean":[0.0,1.0],"scale":[1.0,2.0]}')
    assert scaler == Scaler(tracks=["a", "b"], mean=[0.0, 1.0], scale=[1.0, 2.0])


def test_a_mixed_scaler_is_read_as_it_was_written() -> None:
    assert Scaler.model_validate_json(MIXED.model_dump_json()) == MIXED


def test_a_scaler_without_a_transform_for_each_track_is_refused() -> None:
    with pytest.raises(ValueError, match="2 values of transform for 3 tracks"):
        Scaler(tracks=["a", "b", "c"], transform=["log1p", "none"], mean=[0.0] * 3, scale=[1.0] * 3)


def test_values_beyond_the_clip_are_cut_off_there() -> None:
    clipped = MIXED.model_copy(update={"clip": 3.0})
    signal = np.array([[1e6, 0.0, np.nan], [-1e6, 1e9, 100.0]])
    expected = np.clip(standardise(signal, MIXED), -3, 3)
    np.testing.assert_array_equal(standardise(signal, clipped), expected)
    assert expected.tolist() == [[3.0, -0.5, 0.0], [-3.0, 3.0, 3.0]]


def test_a_scaler_keeps_its_clip_when_tracks_are_selected_and_is_written_without_one_as_before() -> None:
    clipped = MIXED.model_copy(update={"clip": 3.0})
    assert clipped.select([2, 0]).clip == 3.0
    assert Scaler.model_validate_json(clipped.model_dump_json()) == clipped
    assert "clip" not in MIXED.model_dump_json()
