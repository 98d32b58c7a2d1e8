"""The monitor step on a small simulated epigenome."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from epilstm.cli import main
from epilstm.errors import DataError, ParamsError
from epilstm.files.outputs import read_json
from epilstm.steps.monitor.command import DriftFound
from epilstm.store.manifests import MatrixManifest, SignalManifest, read_manifest, write_manifest
from support.monitor.new_tracks import (
    half_depth,
    read_signal,
    replicate,
    shuffled,
    swapped_with,
    transformed,
    write_signal_like,
)
from support.nonempty import nonempty

TRACK = "C01-H3K4me3"


@pytest.fixture
def replicates(small):
    """Every track measured again, by name."""
    rng = np.random.default_rng(5)
    return {name: replicate(values, rng) for name, values in read_signal(small / "signal").items()}


def names_of(small):
    return read_manifest(small / "signal", SignalManifest).tracks


def changed(replicates, name, change):
    return {**replicates, name: change(replicates[name], replicates)}


def verdicts(report):
    return {track["track"]: track["verdict"] for track in report["tracks"]}


def test_the_training_data_do_not_differ_from_themselves(small, monitor):
    report = monitor(matrix=small / "matrix", model=small / "model", signal=small / "signal")
    assert report["verdict"] == "ok"
    for track in nonempty(report["tracks"]):
        found = {name: each["value"] for name, each in track["statistics"].items()}
        assert found["psi"] == pytest.approx(0, abs=1e-3)
        assert found["correlation"] == pytest.approx(1, abs=1e-3)
        assert found["reconstruction"] == pytest.approx(1, abs=1e-2)
    assert report["model"]["embedding"]["value"] == pytest.approx(0, abs=1e-4)


def test_replicates_are_as_usual(small, monitor, replicates, tmp_path):
    new = write_signal_like(small / "signal", tmp_path / "new", replicates)
    report = monitor(matrix=small / "matrix", model=small / "model", signal=new)
    assert set(verdicts(report).values()) == {"ok"}
    assert (report["verdict"], report["bins"]) == ("ok", "same")


@pytest.mark.parametrize(
    ("change", "speaks"),
    [
        (shuffled, "correlation"),
        (transformed, "signal_to_noise"),
        (half_depth, "scale"),
        (swapped_with("C01-H3K36me3"), "other_track"),
    ],
    ids=["shuffled", "transformed", "half depth", "swapped"],
)
def test_a_wrong_track_is_reported_and_no_other(small, monitor, replicates, tmp_path, change, speaks):
    new = write_signal_like(small / "signal", tmp_path / "new", changed(replicates, TRACK, change))
    report = monitor(matrix=small / "matrix", signal=new)
    assert {name for name, verdict in verdicts(report).items() if verdict == "drift"} == {TRACK}
    [track] = [track for track in report["tracks"] if track["track"] == TRACK]
    assert track["statistics"][speaks]["verdict"] == "drift"
    assert track["reasons"]


def test_a_swapped_track_is_reported_with_the_one_it_resembles(small, monitor, replicates, tmp_path):
    new = write_signal_like(
        small / "signal", tmp_path / "new", changed(replicates, TRACK, swapped_with("C01-H3K36me3"))
    )
    report = monitor(matrix=small / "matrix", signal=new)
    [track] = [track for track in report["tracks"] if track["track"] == TRACK]
    assert track["like"][0] == "C01-H3K36me3"
    assert any("more like C01-H3K36me3" in reason for reason in track["reasons"])


def test_data_that_are_missing_are_reported(small, monitor, replicates, tmp_path):
    def gone(signal, others):
        return np.where(np.arange(len(signal)) % 5 == 0, np.nan, signal)

    new = write_signal_like(small / "signal", tmp_path / "new", changed(replicates, TRACK, gone))
    report = monitor(matrix=small / "matrix", signal=new)
    [track] = [track for track in report["tracks"] if track["track"] == TRACK]
    assert track["statistics"]["missing"]["value"] == pytest.approx(0.2, abs=0.02)
    assert track["statistics"]["missing"]["verdict"] == "drift"


def test_some_of_the_tracks_are_enough_where_the_reference_has_the_bins(small, monitor, replicates, tmp_path):
    new = write_signal_like(small / "signal", tmp_path / "new", {TRACK: replicates[TRACK]})
    report = monitor(matrix=small / "matrix", model=small / "model", signal=new)
    assert report["verdict"] == "ok"
    assert len(report["absent_tracks"]) == len(names_of(small)) - 1
    assert report["model"] is not None


def test_a_track_of_a_new_cell_type_is_compared_with_its_assay(small, monitor, replicates, tmp_path):
    new = write_signal_like(
        small / "signal",
        tmp_path / "new",
        {
            "C09-H3K4me3": replicates["C01-H3K4me3"],
            "C09-DNase": replicates["C01-H3K36me3"],
            "C09-new": replicates[TRACK],
        },
    )
    report = monitor(matrix=small / "matrix", signal=new)
    assert [track["against"] for track in report["tracks"]] == ["assay", "assay", "nothing"]
    assert verdicts(report) == {"C09-H3K4me3": "ok", "C09-DNase": "drift", "C09-new": "warn"}


@pytest.fixture
def training_half(small, tmp_path):
    """The matrix without the bins of the held-out chromosomes."""
    folder = tmp_path / "half"
    folder.mkdir()
    for path in (small / "matrix").iterdir():
        (folder / path.name).symlink_to(path)
    manifest = read_manifest(small / "matrix", MatrixManifest)
    (folder / "manifest.json").unlink()
    train = [region for region in manifest.regions if region[0] in manifest.split.train]
    write_manifest(folder, manifest.model_copy(update={"regions": train}))
    return folder


def test_other_bins_are_compared_with_the_reference_as_a_whole(small, monitor, replicates, training_half, tmp_path):
    held_out = ["chr3", "chr4"]
    signal = read_signal(small / "signal", held_out)
    new = write_signal_like(small / "signal", tmp_path / "new", signal, held_out)
    report = monitor(matrix=training_half, model=small / "model", signal=new)
    assert report["bins"] == "elsewhere"
    assert set(report["sampled_bins"]) == set(held_out)
    assert "drift" not in verdicts(report).values()
    spoilt = {**signal, TRACK: np.roll(signal[TRACK], len(signal[TRACK]) // 2 + 137)}
    report = monitor(
        matrix=training_half,
        model=small / "model",
        signal=write_signal_like(small / "signal", tmp_path / "spoilt", spoilt, held_out),
    )
    assert verdicts(report)[TRACK] == "drift"


def test_the_same_comparison_gives_the_same_bytes(small, monitor, tmp_path):
    made = []
    for _ in range(2):
        monitor(page=True, matrix=small / "matrix", model=small / "model", signal=small / "signal")
        made.append([(tmp_path / "out" / name).read_bytes() for name in ("drift", "page", "metrics")])
    assert made[0] == made[1]


def test_metrics_have_the_verdict_and_each_track(small, monitor, replicates, tmp_path):
    new = write_signal_like(small / "signal", tmp_path / "new", changed(replicates, TRACK, half_depth))
    monitor(matrix=small / "matrix", model=small / "model", signal=new)
    metrics = read_json(tmp_path / "out" / "metrics")
    assert (metrics["verdict"], metrics["drift"], metrics["tracks_drifted"]) == ("drift", 1, 1)
    assert metrics["worst"]["scale"] == pytest.approx(-1, abs=0.25)
    assert set(metrics["tracks"][TRACK]) == {"psi", "ks"}
    assert set(metrics["reconstruction_mse"]) == {"chr1", "chr2", "chr3", "chr4"}


def test_the_page_is_self_contained_and_says_what_was_found(small, monitor, replicates, tmp_path):
    new = write_signal_like(small / "signal", tmp_path / "new", changed(replicates, TRACK, half_depth))
    monitor(page=True, matrix=small / "matrix", model=small / "model", signal=new)
    page = (tmp_path / "out" / "page").read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert page.count("data:image/svg+xml") == 2 * 4
    assert "another depth?" in page
    assert "none" not in page.split("<main>")[1].split('id="provenance"')[0].lower().replace("is like none", "")


def test_drift_is_an_exit_code_if_asked_for(small, monitor, replicates, tmp_path):
    new = write_signal_like(small / "signal", tmp_path / "new", changed(replicates, TRACK, half_depth))
    with pytest.raises(DriftFound) as caught:
        monitor(flags=("fail-on-drift",), matrix=small / "matrix", signal=new)
    assert caught.value.exit_code == 3
    assert read_json(tmp_path / "out" / "drift")["verdict"] == "drift"


def test_the_command_line_takes_the_flag(small, tmp_path):
    arguments = ["monitor", "--matrix", small / "matrix", "--signal", small / "signal", "--drift", tmp_path / "d.json"]
    main([*map(str, arguments), "--fail-on-drift", "-q"])
    assert json.loads((tmp_path / "d.json").read_text())["verdict"] == "ok"


def test_new_data_are_needed(small, monitor):
    with pytest.raises(ParamsError, match="--signal or --served is required"):
        monitor(matrix=small / "matrix")


def test_a_model_of_other_data_is_refused(small, monitor, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for path in (small / "model").iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    manifest = read_json(other / "manifest.json")
    manifest["scaler"]["mean"][0] += 1
    (other / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match="trained on other data"):
        monitor(matrix=small / "matrix", model=other, signal=small / "signal")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bin_size": 50}, "bins of 50 bp"),
        ({"chromosome_sizes": {f"chr{n}": 700_000 for n in range(1, 5)}}, "another assembly"),
    ],
)
def test_other_bins_or_another_assembly_are_refused(small, monitor, tmp_path, change, message):
    new = write_signal_like(small / "signal", tmp_path / "new", read_signal(small / "signal"))
    manifest = read_manifest(new, SignalManifest)
    write_manifest(new, manifest.model_copy(update=change))
    with pytest.raises(DataError, match=message):
        monitor(matrix=small / "matrix", signal=new)


def test_limits_in_the_wrong_order_are_refused(small, monitor):
    with pytest.raises(ParamsError, match="psi: the first limit, to warn, lies above the second"):
        monitor({"psi": [0.3, 0.1]}, matrix=small / "matrix", signal=small / "signal")
    with pytest.raises(ParamsError, match="correlation: the first limit, to warn, lies below the second"):
        monitor({"correlation": [0.3, 0.5]}, matrix=small / "matrix", signal=small / "signal")


def test_a_lost_shard_is_reported(small, monitor, tmp_path):
    new = write_signal_like(small / "signal", tmp_path / "new", read_signal(small / "signal"))
    next((new / "signal.zarr" / "chr2" / "c" / "1").glob("*")).unlink()
    with pytest.raises(DataError, match="missing"):
        monitor(matrix=small / "matrix", signal=new)


def test_a_matrix_made_with_an_encoder_is_no_reference(small, monitor, tmp_path):
    folder = tmp_path / "made"
    folder.mkdir()
    for path in (small / "matrix").iterdir():
        (folder / path.name).symlink_to(path)
    manifest = read_manifest(small / "matrix", MatrixManifest)
    (folder / "manifest.json").unlink()
    split = manifest.split.model_copy(update={"train": [], "validation": [], "test": []})
    write_manifest(folder, manifest.model_copy(update={"split": split}))
    with pytest.raises(DataError, match="that the model was trained on"):
        monitor(matrix=folder, signal=small / "signal")


def test_names_of_the_simulation_are_those_used_here(small: Path):
    assert {TRACK, "C01-H3K36me3", "C01-DNase"} <= {entry.name for entry in names_of(small)}


def test_tracks_of_assays_that_the_reference_lacks_are_to_be_looked_at(small, monitor, replicates, tmp_path):
    new = write_signal_like(small / "signal", tmp_path / "new", {"C09-CTCF": replicates[TRACK]})
    report = monitor(matrix=small / "matrix", model=small / "model", signal=new)
    assert verdicts(report) == {"C09-CTCF": "warn"}
    assert report["model"] is None


def test_a_track_without_any_signal_drifts(small, monitor, replicates, tmp_path):
    new = write_signal_like(
        small / "signal", tmp_path / "new", changed(replicates, TRACK, lambda signal, others: np.zeros_like(signal))
    )
    report = monitor(page=True, matrix=small / "matrix", model=small / "model", signal=new)
    assert verdicts(report)[TRACK] == "drift"


def test_a_track_without_any_data_drifts(small, monitor, replicates, tmp_path):
    new = write_signal_like(small / "signal", tmp_path / "new", {TRACK: np.full_like(replicates[TRACK], np.nan)})
    report = monitor(matrix=small / "matrix", signal=new)
    assert verdicts(report) == {TRACK: "drift"}
