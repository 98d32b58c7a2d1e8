"""``epilstm export``: what the encoder folder holds, and when it is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from epilstm import __version__
from epilstm.cli import main
from epilstm.errors import ModelError
from epilstm.files.outputs import ENCODER, fingerprint, sha256_file
from epilstm.model.encoder_folder import STATEFUL_ENCODER, checked_file, read_encoder_manifest
from epilstm.model.folder import load_model
from epilstm.params import ExportParams
from epilstm.runtime.runner import StepContext, StepResult
from epilstm.steps.export import parity
from epilstm.steps.export.command import require_parity, run
from support.export.small_model import CONFIGS, SCALER, network_of, write_model


def export(model: Path, encoder: Path, **params) -> StepResult:
    return run(ExportParams(**params), StepContext({"model": model}, {"encoder": encoder}, {}))


@pytest.fixture
def model(tmp_path) -> Path:
    return write_model(tmp_path / "model", network_of("bottleneck"))


def files_of(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): sha256_file(path) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", CONFIGS)
def test_every_architecture_is_exported_and_computes_the_same(name, tmp_path):
    result = export(write_model(tmp_path / "model", network_of(name)), tmp_path / "encoder")
    assert 0 < result.metrics["largest_difference"] < 1e-4


def test_one_direction_gives_a_stateful_encoder_too(model, tmp_path):
    export(model, tmp_path / "encoder", triton=False)
    assert set(files_of(tmp_path / "encoder")) == {ENCODER, STATEFUL_ENCODER, "manifest.json"}


def test_two_directions_give_no_stateful_encoder(tmp_path):
    model = write_model(tmp_path / "model", network_of("bottleneck of both directions"))
    export(model, tmp_path / "encoder")
    manifest = read_encoder_manifest(tmp_path / "encoder")
    assert set(manifest.files) == {ENCODER, "triton/encoder/1/model.onnx", "triton/encoder/config.pbtxt"}
    with pytest.raises(ModelError, match=r"has no encoder_stateful\.onnx"):
        checked_file(tmp_path / "encoder", manifest, STATEFUL_ENCODER)


def test_manifest_names_model_matrix_scaler_and_every_file(model, tmp_path):
    export(model, tmp_path / "encoder")
    manifest = read_encoder_manifest(tmp_path / "encoder")
    files = files_of(tmp_path / "encoder")
    del files["manifest.json"]
    assert manifest.files == files
    assert manifest.model_fingerprint == fingerprint(model)
    assert (manifest.matrix_fingerprint, manifest.bin_size, manifest.assembly) == ("0" * 64, 25, "toy")
    assert (manifest.config, manifest.scaler) == (CONFIGS["bottleneck"], SCALER)


def test_encoder_files_say_what_they_are(model, tmp_path):
    export(model, tmp_path / "encoder")
    for name in (ENCODER, STATEFUL_ENCODER):
        metadata = onnxruntime.InferenceSession(str(tmp_path / "encoder" / name)).get_modelmeta().custom_metadata_map
        assert json.loads(metadata.pop("tracks")) == SCALER.tracks
        assert metadata == {
            "bin_size": "25", "assembly": "toy", "architecture": "bottleneck", "embedding_size": "3",
            "model_fingerprint": fingerprint(model), "matrix_fingerprint": "0" * 64, "epilstm_version": __version__,
        }  # fmt: skip


def test_triton_repository_holds_the_same_encoders_and_configs_that_fit_them(model, tmp_path):
    export(model, tmp_path / "encoder")
    for name, dims in (
        (ENCODER, {"signal": "[-1, 7]", "embedding": "[-1, 3]"}),
        (STATEFUL_ENCODER, {"signal": "[-1, -1, 7]", "h0": "[1, -1, 8]", "c": "[1, -1, 8]"}),
    ):
        place = tmp_path / "encoder" / "triton" / Path(name).stem
        assert (place / "1" / "model.onnx").read_bytes() == (tmp_path / "encoder" / name).read_bytes()
        config = (place / "config.pbtxt").read_text()
        assert f'name: "{place.name}"' in config
        for tensor, shape in dims.items():
            assert f'{{ name: "{tensor}", data_type: TYPE_FP32, dims: {shape} }}' in config
        served = onnx.load(place / "1" / "model.onnx").graph
        for value in [*served.input, *served.output]:
            assert f'name: "{value.name}"' in config


def test_exporting_twice_gives_the_same_bytes_and_metrics(model, tmp_path):
    one, other = (export(model, tmp_path / name) for name in ("one", "other"))
    assert files_of(tmp_path / "one") == files_of(tmp_path / "other")
    assert one == other


def test_metrics_count_the_weights_of_the_encoder(model, tmp_path):
    metrics = export(model, tmp_path / "encoder").metrics
    network, _ = load_model(model)
    parts = (network.encoder, network.bottleneck, network.around_encoder)
    assert metrics["parameters"] == sum(p.numel() for part in parts for p in part.parameters())
    assert metrics["bytes"][ENCODER] == (tmp_path / "encoder" / ENCODER).stat().st_size


def test_weights_that_float32_cannot_follow_fail_the_step(tmp_path, capsys):
    network = network_of("published", scale=1)
    with torch.no_grad():
        network.encoder.layers[0].weight_hh_l0.mul_(30)  # chaotic: the smallest difference grows
    write_model(tmp_path / "model", network)
    with pytest.raises(SystemExit) as ended:
        main(["export", "--model", str(tmp_path / "model"), "--encoder", str(tmp_path / "encoder")])
    assert ended.value.code == 1
    assert "more than export.parity_tolerance (0.0001)" in capsys.readouterr().err
    assert not (tmp_path / "encoder").exists()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("track_mean", lambda values: -values),
        ("recurrent_weight_0", lambda gates: np.roll(gates, 8, axis=1)),
        ("around_encoder_weight", lambda values: values * 1.001),
    ],
)
def test_an_encoder_that_computes_something_else_is_found_out(name, change, tmp_path):
    network = network_of("bottleneck")
    export(write_model(tmp_path / "model", network), tmp_path / "encoder")
    encoder = onnx.load(tmp_path / "encoder" / ENCODER)
    tensor = next(tensor for tensor in encoder.graph.initializer if tensor.name == name)
    changed = np.ascontiguousarray(change(onnx.numpy_helper.to_array(tensor)))
    tensor.CopyFrom(onnx.numpy_helper.from_array(changed, name))
    session = onnxruntime.InferenceSession(encoder.SerializeToString())
    difference = parity.largest_difference(network.double(), SCALER, session, seed=0)
    with pytest.raises(ModelError, match=r"encoder\.onnx: embedding of a signal of"):
        require_parity(ENCODER, difference, ExportParams().parity_tolerance)


def test_a_difference_that_is_not_a_number_fails():
    with pytest.raises(ModelError, match="nan standard deviations"):
        require_parity(ENCODER, parity.Difference(float("nan"), "embedding", 1, 1), 1e-4)


def test_a_damaged_encoder_file_is_refused(model, tmp_path):
    export(model, tmp_path / "encoder")
    path = tmp_path / "encoder" / ENCODER
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelError, match=r"encoder\.onnx: damaged or replaced"):
        checked_file(tmp_path / "encoder", read_encoder_manifest(tmp_path / "encoder"), ENCODER)
    path.unlink()
    with pytest.raises(ModelError, match=r"encoder\.onnx: missing"):
        checked_file(tmp_path / "encoder", read_encoder_manifest(tmp_path / "encoder"), ENCODER)


def test_parity_signal_is_heavy_tailed_and_has_gaps():
    signal = parity.random_signal(np.random.default_rng(0), 8, 500, SCALER)
    assert np.isnan(signal).all(axis=2).any()
    assert (np.isnan(signal).any(axis=2) & ~np.isnan(signal).all(axis=2)).any()
    assert np.nanmin(signal) < 0
    assert np.nanmax(signal) > 1e4
    assert np.nanmedian(signal) < 1
