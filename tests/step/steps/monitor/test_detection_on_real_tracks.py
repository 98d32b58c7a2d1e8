"""On real tracks: what is wrong is reported, and replicates are not. docs/monitoring.md has the table for all 25."""

from __future__ import annotations

import numpy as np
import pytest

from support.monitor.fixtures import trained
from support.monitor.new_tracks import (
    half_depth,
    read_signal,
    replicate,
    shuffled,
    swapped_with,
    transformed,
    write_signal_like,
)

#: A track for each thing that can be wrong, of different assays and cell types; a dynamic range of some 50 to 400.
WRONG = {
    "E003-H3K27me3": shuffled,
    "E017-H3K4me3": swapped_with("E017-H3K9me3"),
    "E065-H3K36me3": transformed,
    "E116-H3K4me1": half_depth,
    "E117-H3K9me3": shuffled,
}
SPLIT = {"validation": ["chr9", "chr18"], "test": ["chr5", "chr13", "chr22"]}

pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module")
def real(pilot, tmp_path_factory):
    """Signal, matrix and a briefly trained model of the pilot."""
    training = {"embedding_size": 12, "context_size": 0, "hidden_size": 16, "epochs": 1}
    return trained(tmp_path_factory.mktemp("pilot"), pilot, "hg19", SPLIT, training)


def test_replicates_are_as_usual_and_wrong_tracks_are_reported_with_what_is_wrong(real, monitor, tmp_path):
    rng = np.random.default_rng(11)
    replicates = {name: replicate(values, rng) for name, values in read_signal(real / "signal").items()}
    untouched = write_signal_like(real / "signal", tmp_path / "untouched", replicates)
    params = {"bins_per_chromosome": 20_000}
    report = monitor(params, matrix=real / "matrix", signal=untouched)
    assert {track["verdict"] for track in report["tracks"]} == {"ok"}
    assert report["verdict"] == "ok"

    wrong = {**replicates, **{name: change(replicates[name], replicates) for name, change in WRONG.items()}}
    spoilt = write_signal_like(real / "signal", tmp_path / "spoilt", wrong)
    report = monitor(params, matrix=real / "matrix", model=real / "model", signal=spoilt)
    tracks = {track["track"]: track for track in report["tracks"]}
    assert {name for name, track in tracks.items() if track["verdict"] != "ok"} == set(WRONG)

    def drifted(name):
        return {key for key, found in tracks[name]["statistics"].items() if found["verdict"] == "drift"}

    assert drifted("E003-H3K27me3") >= {"correlation"}
    assert drifted("E117-H3K9me3") >= {"correlation"}
    assert drifted("E017-H3K4me3") >= {"correlation", "other_track", "other_assay", "signal_to_noise"}
    assert drifted("E065-H3K36me3") >= {"transformed"}
    assert drifted("E116-H3K4me1") >= {"scale"}
    assert not drifted("E116-H3K4me1") & {"correlation", "other_track", "other_assay", "transformed"}
    assert tracks["E017-H3K4me3"]["like"][0] == "E017-H3K9me3"
    assert tracks["E017-H3K4me3"]["statistics"]["reconstruction"]["value"] > 3


def test_chromosomes_that_were_not_trained_on_are_no_drift_elsewhere(real, monitor, tmp_path):
    """The reference without its held-out chromosomes, and those as new data: its own variation is no alarm."""
    from epilstm.store.manifests import MatrixManifest, read_manifest, write_manifest

    folder = tmp_path / "training"
    folder.mkdir()
    for path in (real / "matrix").iterdir():
        if path.name != "manifest.json":
            (folder / path.name).symlink_to(path)
    manifest = read_manifest(real / "matrix", MatrixManifest)
    regions = [region for region in manifest.regions if region[0] in manifest.split.train]
    write_manifest(folder, manifest.model_copy(update={"regions": regions}))
    held_out = [*SPLIT["validation"], *SPLIT["test"]]
    rng = np.random.default_rng(12)
    signal = {name: replicate(values, rng) for name, values in read_signal(real / "signal", held_out).items()}
    new = write_signal_like(real / "signal", tmp_path / "new", signal, held_out)
    report = monitor({"bins_per_chromosome": 20_000}, matrix=folder, model=real / "model", signal=new)
    assert report["bins"] == "elsewhere"
    verdicts = [track["verdict"] for track in report["tracks"]]
    assert "drift" not in verdicts
    assert verdicts.count("warn") <= 3
