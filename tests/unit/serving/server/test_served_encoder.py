"""Encoders in the server: what they compute, and what is no encoder."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from epilstm.errors import ModelError
from epilstm.files.outputs import ENCODER
from epilstm.model.encoder_folder import STATEFUL_ENCODER
from epilstm.serving.server import encoder as encoders
from epilstm.serving.server.providers import choose_provider, open_session
from epilstm.serving.server.repository import load_generation
from support.export.small_model import SCALER
from support.serve.server_process import embedding_of, export_encoder


def test_a_folder_gives_both_encoders_with_what_the_manifest_says(encoder_folder):
    generation = load_generation(encoder_folder, "cpu", False)
    assert set(generation.encoders) == {"encoder", "encoder_stateful"}
    spec = generation.encoders["encoder_stateful"].spec
    assert [str(each) for each in spec.inputs] == ["(batch, time, 7)", "(1, batch, 8)", "(1, batch, 8)"]
    assert spec.tracks == tuple(SCALER.tracks)
    assert spec.properties["bin_size"] == "25"
    assert spec.version == generation.version


@pytest.mark.parametrize("file", [ENCODER, STATEFUL_ENCODER])
def test_a_single_file_is_served_by_what_it_is(encoder_folder, tmp_path, file):
    shutil.copy(encoder_folder / file, tmp_path / "model.onnx")
    generation = load_generation(tmp_path / "model.onnx", "cpu", False)
    assert list(generation.encoders) == [file.removesuffix(".onnx")]
    assert generation.tracks == tuple(SCALER.tracks)


def test_an_encoder_of_two_directions_is_served_without_state(tmp_path):
    folder = export_encoder(tmp_path, "bottleneck of both directions")
    assert list(load_generation(folder, "cpu", False).encoders) == ["encoder"]


def test_a_long_signal_is_encoded_in_pieces_as_if_at_once(encoder_folder, monkeypatch):
    monkeypatch.setitem(encoders.CALL_VALUES, "cpu", 7 * 30)
    encoder = load_generation(encoder_folder, "cpu", False).encoders["encoder"]
    signal = np.random.default_rng(2).exponential(2, (1, 1001, 7)).astype(np.float32)
    expected = embedding_of(encoder_folder / ENCODER, signal)
    np.testing.assert_allclose(encoder({"signal": signal})["embedding"], expected, rtol=0, atol=2e-5)


def changed(file: Path, to: Path, change) -> Path:
    model = onnx.load(file)
    change(model)
    onnx.save(model, to)
    return to


def test_a_graph_of_other_names_is_no_encoder(encoder_folder, tmp_path):
    def rename(model):
        for node in model.graph.node:
            node.input[:] = ["x" if name == "signal" else name for name in node.input]
        model.graph.input[0].name = "x"

    path = changed(encoder_folder / ENCODER, tmp_path / "other.onnx", rename)
    with pytest.raises(ModelError, match="not an encoder: it takes x"):
        load_generation(path, "cpu", False)


def test_an_encoder_that_gives_what_is_not_finite_is_refused(encoder_folder, tmp_path):
    def spoil(model):
        for tensor in model.graph.initializer:
            if tensor.name == "bottleneck_bias":
                values = np.full(tensor.dims, np.nan, np.float32)
                tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))

    path = changed(encoder_folder / ENCODER, tmp_path / "spoilt.onnx", spoil)
    with pytest.raises(ModelError, match="embedding of an empty signal is unusable"):
        load_generation(path, "cpu", False)


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x08" * 100])
def test_a_file_that_is_no_model_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "encoder.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"^[^\n]*encoder\.onnx[^\n]*$"):
        load_generation(path, "cpu", False)


def test_a_damaged_file_of_a_folder_is_refused(encoder_folder, tmp_path):
    folder = tmp_path / "encoder"
    shutil.copytree(encoder_folder, folder)
    with open(folder / ENCODER, "ab") as stream:
        stream.write(b"\0")
    with pytest.raises(ModelError, match="damaged or replaced"):
        load_generation(folder, "cpu", False)


def without_gpu() -> bool:
    import onnxruntime

    return "CUDAExecutionProvider" not in onnxruntime.get_available_providers()


@pytest.mark.skipif(not without_gpu(), reason="this onnxruntime has CUDA")
@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_provider_that_is_not_there_is_refused_unless_the_cpu_will_do(encoder_folder, provider):
    file = encoder_folder / ENCODER
    with pytest.raises(ModelError, match="--allow-cpu-fallback"):
        choose_provider(file, provider, False)
    assert choose_provider(file, provider, True) == "cpu"
    assert choose_provider(file, "auto", False) == "cpu"


@pytest.mark.gpu
def test_a_gpu_runs_every_node_and_computes_the_same(encoder_folder):
    if without_gpu():
        pytest.skip("this onnxruntime has no CUDA")
    session = open_session(encoder_folder / ENCODER, "cuda")
    signal = np.random.default_rng(2).exponential(2, (4, 100, 7)).astype(np.float32)
    expected = embedding_of(encoder_folder / ENCODER, signal)
    np.testing.assert_allclose(session.run(None, {"signal": signal})[0], expected, rtol=0, atol=1e-3)
