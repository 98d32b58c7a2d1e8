"""New data compared with a matrix whose tracks take transforms of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from epilstm.errors import DataError
from epilstm.store.arrays import open_group
from epilstm.store.manifests import SignalManifest, read_manifest, write_manifest
from epilstm.tracks.binning import SignalSummary
from support.monitor.fixtures import run
from support.monitor.new_tracks import read_signal, replicate, write_signal_like
from support.monitor.scrapes import scrape
from support.nonempty import nonempty

LOGGED, FRACTION = "C01-H3K4me3", "C01-WGBS"
TREATMENTS = {LOGGED: ("log1p", "zero"), FRACTION: ("none", "missing")}


def treated(source: Path, folder: Path, signal: dict[str, np.ndarray]) -> Path:
    """Write signal of which some tracks are treated otherwise, with the counts that ingest would leave."""
    write_signal_like(source, folder, signal)
    manifest = read_manifest(folder, SignalManifest)
    group = open_group(folder / "signal.zarr")
    tracks, histograms = [], []
    for row, track in enumerate(manifest.tracks):
        transform, uncovered = TREATMENTS.get(track.name, ("arcsinh", "zero"))
        summaries = {chrom: SignalSummary.empty(transform) for chrom in manifest.chromosomes}
        for chrom, summary in summaries.items():
            summary.add(np.asarray(group[chrom][row]))
        moments = {chrom: (each.covered, each.total, each.squares) for chrom, each in summaries.items()}
        tracks.append(track.model_copy(update={"transform": transform, "uncovered": uncovered, "moments": moments}))
        histograms.append([each.histogram for each in summaries.values()])
    np.save(folder / "histograms.npy", np.array(histograms, np.int64))
    write_manifest(folder, manifest.model_copy(update={"tracks": tracks, "histograms_sha256": None}))
    return folder


@pytest.fixture(scope="module")
def signal(small: Path) -> dict[str, np.ndarray]:
    """The simulated tracks, and one of fractions, known in few bins, as methylation is."""
    signal = read_signal(small / "signal")
    fractions = 1 / (1 + signal["C01-DNase"])
    fractions[np.random.default_rng(0).random(len(fractions)) < 0.7] = np.nan
    return {**signal, FRACTION: fractions.astype(np.float32)}


@pytest.fixture(scope="module")
def place(small: Path, signal: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("treated")
    treated(small / "signal", folder / "signal", signal)
    split = {"validation": ["chr3"], "test": ["chr4"]}
    run("preprocess", folder, {"split": split, "workers": 1}, signal=folder / "signal", matrix=folder / "matrix")
    return folder


def drifted(report: dict) -> list[str]:
    return [track["track"] for track in (*report["tracks"], *report["served"]) if track["verdict"] == "drift"]


def test_the_training_data_themselves_and_replicates_are_no_drift(place, monitor, signal, tmp_path):
    itself = monitor(matrix=place / "matrix", signal=place / "signal")
    assert itself["verdict"] == "ok"
    assert all(abs(track["statistics"]["psi"]["value"]) < 0.01 for track in nonempty(itself["tracks"]))
    rng = np.random.default_rng(1)
    again = {name: values if name == FRACTION else replicate(values, rng) for name, values in signal.items()}
    report = monitor(matrix=place / "matrix", signal=treated(place / "signal", tmp_path / "again", again))
    assert drifted(report) == []


def test_values_logged_before_and_percent_for_fractions_are_drift(place, monitor, signal, tmp_path):
    spoilt = {**signal, LOGGED: np.log1p(signal[LOGGED]), FRACTION: signal[FRACTION] * 100}
    report = monitor(matrix=place / "matrix", signal=treated(place / "signal", tmp_path / "new", spoilt))
    assert drifted(report) == sorted([LOGGED, FRACTION])
    [logged] = [track for track in report["tracks"] if track["track"] == LOGGED]
    assert logged["statistics"]["transformed"]["verdict"] == "drift"


def test_bins_that_lose_their_data_are_reported_where_missing_is_not_0(place, monitor, signal, tmp_path):
    fewer = signal[FRACTION].copy()
    fewer[::2] = np.nan
    report = monitor(
        matrix=place / "matrix", signal=treated(place / "signal", tmp_path / "new", {**signal, FRACTION: fewer})
    )
    [track] = [track for track in report["tracks"] if track["track"] == FRACTION]
    assert track["statistics"]["missing"]["value"] == pytest.approx(0.15, abs=0.02)
    assert track["statistics"]["psi"]["value"] < 0.05


def test_requests_are_compared_with_each_tracks_own_distribution(place, monitor, signal, tmp_path):
    report = monitor(matrix=place / "matrix", served=scrape(signal, tmp_path / "metrics.txt"))
    assert drifted(report) == []
    spoilt = {**signal, FRACTION: signal[FRACTION] * 100}
    report = monitor(matrix=place / "matrix", served=scrape(spoilt, tmp_path / "spoilt.txt"))
    assert drifted(report) == [FRACTION]


def test_signal_whose_uncovered_bases_are_something_else_is_refused(place, monitor, signal, tmp_path):
    plain = write_signal_like(place / "signal", tmp_path / "new", signal)
    with pytest.raises(DataError, match=f"track {FRACTION}: its uncovered bases are zero in the signal, missing in"):
        monitor(matrix=place / "matrix", signal=plain)
