"""Preprocess for an encoder that exists: its scaler and its tracks, over new signal."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import zarr

from epilstm.console import log
from epilstm.errors import DataError
from epilstm.files.outputs import MANIFEST, fingerprint
from epilstm.model.encoder_folder import read_encoder_manifest
from epilstm.runtime.runner import StepResult, run_step
from epilstm.runtime.step_table import STEPS
from epilstm.store.arrays import open_group
from epilstm.store.manifests import (
    EmbeddingsManifest,
    MatrixManifest,
    ReferenceHistograms,
    Scaler,
    parse_manifest,
    read_manifest,
)
from support.embed.exported import export
from support.export.small_model import SCALER, network_of
from support.nonempty import nonempty
from support.preprocess.signal_folder import random_signal, write_signal

BINS = {"chr5": 1_250, "chr7": 730}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(tmp_path_factory.mktemp("encoder"), network_of("bottleneck"))


def new_signal(folder: Path, names: Sequence[str], **more) -> dict[str, np.ndarray]:
    """Write signal whose tracks have these names; (track, bin) by chromosome."""
    rng = np.random.default_rng(3)
    signal = {chrom: random_signal(rng, len(names), bins) for chrom, bins in BINS.items()}
    write_signal(folder / "signal", signal, **more)
    manifest = json.loads((folder / "signal" / MANIFEST).read_text())
    for track, name in zip(manifest["tracks"], names, strict=True):
        track["cell_type"], track["assay"] = name.split("-")
    (folder / "signal" / MANIFEST).write_text(json.dumps(manifest))
    return signal


def preprocess(folder: Path, encoder: Path, output: str = "matrix", part: str | None = None, **work) -> StepResult:
    paths = {"signal": folder / "signal", "encoder": encoder, **work}
    paths |= {} if part else {"matrix": folder / output}
    (folder / "params.yaml").write_text("preprocess: {frame_bins: 100, workers: 1}")
    return run_step(STEPS["preprocess"], folder / "params.yaml", paths, frozenset(), part)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


ORDERS: dict[str, Callable[[list[str]], list[str]]] = {
    "as in the encoder": list,
    "reversed": lambda names: names[::-1],
    "shuffled": lambda names: [names[place] for place in (3, 0, 6, 5, 1, 2, 4)],
    "with others between": lambda names: ["new-CTCF", *names[:4], "new-DNase", *names[:3:-1]],
}


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_columns_are_the_encoders_tracks_standardised_with_its_scaler(order, tmp_path, encoder):
    names = order(SCALER.tracks)
    signal = new_signal(tmp_path, names)
    preprocess(tmp_path, encoder)
    matrix = open_group(tmp_path / "matrix" / "matrix.zarr")
    for chrom, raw in signal.items():
        expected = np.array([np.arcsinh(np.nan_to_num(raw[names.index(name)].astype(float))) for name in SCALER.tracks])
        expected = (expected.T - SCALER.mean) / SCALER.scale
        np.testing.assert_allclose(matrix[chrom][: len(expected)], expected, rtol=1e-3, atol=1e-3)


def test_the_scaler_is_the_encoders_and_no_chromosome_is_said_to_train_or_to_be_held_out(tmp_path, encoder):
    new_signal(tmp_path, SCALER.tracks[::-1])
    result = preprocess(tmp_path, encoder)
    manifest = read_manifest(tmp_path / "matrix", MatrixManifest)
    path = tmp_path / "matrix" / "scaler.json"
    assert parse_manifest(json.loads(path.read_text()), Scaler, path) == SCALER
    assert manifest.scaler_sha256 == read_encoder_manifest(encoder).scaler_sha256
    assert manifest.tracks == SCALER.tracks
    assert manifest.chromosomes == list(BINS)
    assert (manifest.split.train, manifest.split.validation, manifest.split.test) == ([], [], [])
    assert (result.metrics["bins"], result.metrics["train_bins"], result.metrics["test_bins"]) == (2_100, 0, 0)


def test_the_histograms_are_of_all_chromosomes_in_the_encoders_order(tmp_path, encoder):
    names = SCALER.tracks[::-1]
    signal = new_signal(tmp_path, names)
    preprocess(tmp_path, encoder)
    path = tmp_path / "matrix" / "histograms.json"
    reference = parse_manifest(json.loads(path.read_text()), ReferenceHistograms, path)
    assert reference.tracks == SCALER.tracks
    for name, counts in nonempty(zip(reference.tracks, reference.counts, strict=True)):
        rows = [raw[:, ~np.isnan(raw).all(axis=0)][names.index(name)] for raw in signal.values()]
        values = np.arcsinh(np.nan_to_num(np.concatenate(rows).astype(float)))
        assert counts == np.histogram(values, reference.edges)[0].tolist()


def test_new_samples_are_embedded_with_an_existing_encoder(tmp_path, encoder):
    new_signal(tmp_path, ORDERS["shuffled"](SCALER.tracks))
    preprocess(tmp_path, encoder)
    paths = {name: tmp_path / name for name in ("matrix", "embeddings")} | {"encoder": encoder}
    result = run_step(STEPS["embed"], None, paths, frozenset())
    matrix = read_manifest(tmp_path / "matrix", MatrixManifest)
    assert result.metrics["bins_with_data"] == sum(matrix.bins_with_data.values()) > 0
    assert read_manifest(tmp_path / "embeddings", EmbeddingsManifest).matrix_fingerprint == fingerprint(
        tmp_path / "matrix"
    )
    embeddings = open_group(tmp_path / "embeddings" / "embeddings.zarr")
    masks = open_group(tmp_path / "signal" / "mask.zarr")
    for chrom in BINS:
        np.testing.assert_array_equal(np.isfinite(embeddings[chrom][:]).all(axis=1), masks[chrom][:])


def test_parts_give_the_same_bytes(tmp_path, encoder):
    new_signal(tmp_path, ORDERS["with others between"](SCALER.tracks))
    preprocess(tmp_path, encoder, "expected")
    preprocess(tmp_path, encoder, part="chr7", parts=tmp_path / "parts")
    preprocess(tmp_path, encoder, parts=tmp_path / "parts")
    assert tree(tmp_path / "matrix") == tree(tmp_path / "expected")


def test_tracks_that_the_signal_lacks_are_named(tmp_path, encoder):
    new_signal(tmp_path, [*SCALER.tracks[:5], "E005-Dnase", "new-CTCF"])
    with pytest.raises(DataError) as caught:
        preprocess(tmp_path, encoder)
    assert str(caught.value) == (
        "the signal lacks 2 of the encoder's 7 tracks: E005-DNase, E006-DNase; "
        "add them to the samplesheet, with the same cell types and assays, and ingest again"
    )
    assert not (tmp_path / "matrix").exists()


def test_tracks_that_are_left_out_are_named(tmp_path, encoder, caplog, monkeypatch):
    monkeypatch.setattr(log, "propagate", True)
    new_signal(tmp_path, ORDERS["with others between"](SCALER.tracks))
    with caplog.at_level(logging.WARNING, logger="epilstm"):
        preprocess(tmp_path, encoder)
    assert set(caplog.messages) == {
        "2 tracks of the signal are none of the encoder's and left out: new-CTCF, new-DNase"
    }


def test_signal_of_another_bin_size_is_refused(tmp_path, encoder):
    new_signal(tmp_path, SCALER.tracks, bin_size=50)
    with pytest.raises(DataError, match=r"^bins are 50 bp in the signal, 25 bp in the encoder; .*ingest.bin_size: 25$"):
        preprocess(tmp_path, encoder)


def test_signal_whose_uncovered_bases_are_something_else_is_refused(tmp_path, encoder):
    new_signal(tmp_path, SCALER.tracks)
    path = tmp_path / "signal" / MANIFEST
    manifest = json.loads(path.read_text())
    manifest["tracks"][2] |= {"transform": "none", "uncovered": "missing"}
    path.write_text(json.dumps(manifest))
    with pytest.raises(
        DataError, match=r"^track E002-DNase: .* missing in the signal, zero in the .* set its transform to arcsinh and"
    ):
        preprocess(tmp_path, encoder)


def test_signal_below_0_is_refused_where_the_encoder_takes_log1p(tmp_path):
    logged = SCALER.model_copy(update={"transform": ["arcsinh"] * 4 + ["log1p"] * 3})
    encoder = export(tmp_path / "logged", network_of("bottleneck"), logged)
    new_signal(tmp_path, SCALER.tracks)
    preprocess(tmp_path, encoder, "fine")
    zarr.open_group(tmp_path / "signal" / "signal.zarr", mode="r+")["chr7"][5, 100] = -4
    with pytest.raises(DataError, match=r"^track E005-DNase: chr7: signal below 0 \(down to -4\), which log1p"):
        preprocess(tmp_path, encoder)


def test_a_folder_that_is_no_encoder_is_named(tmp_path, encoder):
    new_signal(tmp_path, SCALER.tracks)
    with pytest.raises(DataError, match=r"manifest.json: not an EncoderManifest"):
        preprocess(tmp_path, tmp_path / "signal")
