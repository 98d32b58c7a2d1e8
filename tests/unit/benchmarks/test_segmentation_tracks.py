"""Tracks read like embeddings, and binarised."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.segmentation.tracks import binarised, track_rows
from epilstm.store.manifests import Scaler
from epilstm.store.matrix import Matrix
from support.tracks.small_epigenome import GAP, SmallEpigenome, make


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> SmallEpigenome:
    return make(tmp_path_factory.mktemp("small-epigenome"))


def test_tracks_are_missing_in_bins_without_data(small):
    rows = track_rows(Matrix(small.matrix))["chr2"][40:70]
    missing = ~small.mask["chr2"][40:70]
    assert missing[GAP.start - 40 : GAP.stop - 40].all()
    assert np.isnan(rows[missing]).all()
    np.testing.assert_array_equal(rows[~missing], small.matrix_rows["chr2"][40:70][~missing])


def test_a_track_is_present_where_its_mean_raw_signal_reaches_the_threshold():
    scaler = Scaler(tracks=["A-x", "A-y"], transform=["arcsinh", "arcsinh"], mean=[0.5, 1.0], scale=[2.0, 0.5])
    signal = np.array([[0, 8], [0, 0], [0, 0], [0, 0], [3, 1.9], [1.5, 1.9]])
    rows = (np.arcsinh(signal) - scaler.mean) / scaler.scale
    # The last window has two bins; a mean of logarithms would not reach 2 in the first.
    np.testing.assert_array_equal(binarised(rows, scaler, 4, 1.99), [[0, 1], [1, 0]])
