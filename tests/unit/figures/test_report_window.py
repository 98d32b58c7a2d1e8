"""The window of the genome: where it is and what is in it."""

import numpy as np
import pytest
import torch
from sklearn.metrics import r2_score

from epilstm.figures.window import choose_window, parse_window, read_window
from epilstm.genome.assembly import Region
from epilstm.model.folder import load_model
from epilstm.representations.features import Embedding
from epilstm.store.manifests import MatrixManifest, read_manifest
from epilstm.store.matrix import Matrix
from support.report.finished_run import BIN, MISSING, TRACKS, raw_signal, scaler

DRAWN = ["E116-DNase", "E003-H3K4me3"]
COLUMNS = [TRACKS.index(name) for name in DRAWN]


@pytest.fixture(scope="module")
def manifest(finished_run):
    return read_manifest(finished_run["matrix"], MatrixManifest)


@pytest.fixture(scope="module")
def matrix(finished_run):
    return Matrix(finished_run["matrix"])


def window_of(run, matrix, place):
    network, _ = load_model(run["model"])
    return read_window(matrix, Embedding(matrix, run["embeddings"]), scaler(), network, place, DRAWN)


def test_a_window_is_widened_to_whole_bins_and_commas_are_ignored(manifest):
    assert parse_window(" chr3:10,001-20,001 ", manifest) == Region("chr3", 10_000, 20_025)


def test_a_window_past_the_end_of_the_chromosome_stops_there(manifest):
    assert parse_window("chr3:40000-90000", manifest) == Region("chr3", 40_000, 50_000)


def test_a_window_past_its_chromosomes_end_is_cut_off_with_a_warning(manifest, warnings_logged):
    parse_window("chr3:40000-50000", manifest, "--region")
    assert warnings_logged == []
    parse_window("chr3:40000-90000", manifest, "--region")
    assert warnings_logged == [
        "--region: 'chr3:40000-90000' reaches past the end of chr3 (50,000 bp) and is cut off there"
    ]


def test_the_chosen_window_lies_on_a_test_chromosome(matrix):
    window = choose_window(matrix)
    assert window.chrom == "chr3"
    assert 5_000 <= window.start < window.end <= 45_000


def test_the_chosen_window_is_where_tracks_vary_most(matrix, monkeypatch):
    monkeypatch.setattr("epilstm.figures.window.WINDOW_BASES", 5_000)
    signal = raw_signal()["chr3"]

    def variety(start):
        values = ((np.arcsinh(signal) - scaler().mean) / scaler().scale).astype(np.float16)[start : start + 200]
        known = np.array([bin not in range(MISSING.start, MISSING.stop) for bin in range(start, start + 200)])
        return known.mean() * np.minimum(values[known].astype(np.float64).std(axis=0), 1).mean()

    starts = range(5_000 // BIN, 45_000 // BIN - 200 + 1, 100)
    assert choose_window(matrix).start // BIN == max(starts, key=variety)


def test_signal_is_in_the_units_of_the_files(finished_run, matrix):
    window = window_of(finished_run, matrix, "chr3:10000-14000")
    # float16 keeps three digits of the standardised value
    np.testing.assert_allclose(window.signal, raw_signal()["chr3"][400:560, COLUMNS], rtol=5e-3, atol=5e-3)
    assert window.edges[0] == 10_000
    assert window.edges[-1] == 14_000


def test_the_reconstruction_is_that_of_the_whole_region(finished_run, matrix):
    network, _ = load_model(finished_run["model"])
    signal = raw_signal()["chr3"].copy()
    signal[MISSING] = 0
    rows = ((np.arcsinh(signal) - scaler().mean) / scaler().scale).astype(np.float16)[5_000 // BIN : 45_000 // BIN]
    with torch.inference_mode():
        whole = network.reconstruct(torch.from_numpy(rows.astype(np.float32))[:, None])[:, 0].numpy()
    window = window_of(finished_run, matrix, "chr3:20000-25000")
    inside = slice((20_000 - 5_000) // BIN, (25_000 - 5_000) // BIN)
    # float16 rounding of the rows agrees; what is left is the state's start, long forgotten
    np.testing.assert_allclose(window.reconstruction[:100], whole[inside][:, COLUMNS][:100], atol=2e-5)


def test_bins_without_data_and_bins_outside_the_regions_are_nan(finished_run, matrix):
    window = window_of(finished_run, matrix, "chr3:0-50000")
    known = np.zeros(2_000, dtype=bool)
    known[200:1_800] = True
    known[MISSING] = False
    for values in (window.truth, window.reconstruction, window.signal, window.reconstructed_signal):
        assert (np.isfinite(values) == known[:, None]).all()
    assert np.isnan(window.embedding[MISSING]).all()


def test_r2_is_over_the_windows_bins_with_data(finished_run, matrix):
    window = window_of(finished_run, matrix, "chr3:12000-30000")
    known = np.isfinite(window.truth[:, 0])
    expected = r2_score(window.truth[known, 0].astype(float), window.reconstruction[known, 0].astype(float))
    assert window.r2(DRAWN[0]) == pytest.approx(expected)


def test_r2_of_a_window_without_data_is_undefined(finished_run, matrix):
    window = window_of(finished_run, matrix, f"chr3:{MISSING.start * BIN}-{MISSING.stop * BIN}")
    assert window.r2(DRAWN[0]) is None
