"""``epilstm embed``: every bin of the matrix, as one pass along each region would embed it."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import zarr

from epilstm.cli import main
from epilstm.console import log
from epilstm.errors import DataError, ModelError
from epilstm.files.outputs import fingerprint
from epilstm.model import core_encoder
from epilstm.model.core_encoder import core_of, load_context, load_core
from epilstm.model.encoder_folder import read_encoder_manifest
from epilstm.model.folder import read_model_manifest
from epilstm.model.networks import build
from epilstm.steps.embed.command import in_threads, split_of
from epilstm.store.manifests import EmbeddingsManifest, MatrixManifest, read_manifest
from support.embed.exported import array, embed, export, files_of
from support.embed.small_matrix import BIN_SIZE, REGIONS, SIZES, write_matrix
from support.export.small_model import CONFIGS, SCALER, network_of
from support.watching import wait_until


@pytest.fixture(scope="module")
def matrix(tmp_path_factory) -> Path:
    return write_matrix(tmp_path_factory.mktemp("matrix") / "matrix", SCALER)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Path:
    return export(tmp_path_factory.mktemp("encoder"), network_of("bottleneck"))


@pytest.mark.parametrize("weights", ["untrained", "as large as trained"])
@pytest.mark.parametrize("name", CONFIGS)
def test_embedding_equals_one_sequential_pass_of_torch_along_each_region(name, weights, matrix, tmp_path):
    network = network_of(name, scale=1 if weights == "untrained" else 2)
    embed(
        matrix, export(tmp_path, network), tmp_path / "embeddings", chunk_bins=700, warmup_bins=200, warmup_frames=400
    )
    for chrom, start, end in REGIONS:
        first, last = start // BIN_SIZE, end // BIN_SIZE
        x = torch.from_numpy(array(matrix, "matrix.zarr", chrom)[first:last].astype(np.float32))[:, None]
        with torch.inference_mode():
            expected = network.encode(x)[0][:, 0].numpy()
        got = array(tmp_path / "embeddings", "embeddings.zarr", chrom)[first:last]
        with_data = array(matrix, "mask.zarr", chrom)[first : first + len(got)]
        np.testing.assert_allclose(got[with_data], expected[: len(got)][with_data], atol=1e-4)


def test_bins_without_data_or_outside_the_regions_are_nan_and_all_others_finite(matrix, encoder, tmp_path):
    embed(matrix, encoder, tmp_path / "embeddings")
    for chrom in SIZES:
        got = array(tmp_path / "embeddings", "embeddings.zarr", chrom)
        with_data = array(matrix, "mask.zarr", chrom)[: len(got)]
        assert np.isnan(got[~with_data]).all()
        assert np.isfinite(got[with_data]).all()


def test_arrays_end_with_the_chromosome_where_the_matrix_completes_its_frame(matrix, encoder, tmp_path):
    embed(matrix, encoder, tmp_path / "embeddings")
    shapes = {chrom: array(tmp_path / "embeddings", "embeddings.zarr", chrom).shape for chrom in SIZES}
    assert shapes == {"chr1": (112_000, 3), "chr2": (4_150, 3)}
    assert array(matrix, "matrix.zarr", "chr2").shape == (4_200, 7)


def test_manifest_names_where_the_embeddings_come_from(matrix, encoder, tmp_path):
    embed(matrix, encoder, tmp_path / "embeddings")
    manifest = read_manifest(tmp_path / "embeddings", EmbeddingsManifest)
    assert manifest.matrix_fingerprint == fingerprint(matrix)
    assert manifest.model_fingerprint == fingerprint(encoder.parent / "model")
    assert manifest.encoder_fingerprint == fingerprint(encoder)
    assert manifest.regions == [*REGIONS[:3], ("chr2", 0, SIZES["chr2"])]
    assert (manifest.size, manifest.bin_size, manifest.assembly) == (3, 25, "toy")


def test_embeddings_know_what_their_model_was_trained_on_whatever_matrix_is_embedded(matrix, encoder, tmp_path):
    trained = read_model_manifest(encoder.parent / "model").split
    assert trained.train
    new = shutil.copytree(matrix, tmp_path / "new")
    manifest = json.loads((new / "manifest.json").read_text())
    manifest["split"] = {"train": [], "validation": [], "test": []}  # as preprocess --encoder writes it
    (new / "manifest.json").write_text(json.dumps(manifest))
    embed(new, encoder, tmp_path / "embeddings")
    assert read_manifest(tmp_path / "embeddings", EmbeddingsManifest).split == trained


def test_an_encoder_that_does_not_say_what_it_was_trained_on_is_known_by_its_matrix_alone(matrix, encoder, tmp_path):
    silent = read_encoder_manifest(encoder).model_copy(update={"split": None, "matrix_fingerprint": "own"})
    of_matrix = read_manifest(matrix, MatrixManifest)
    assert split_of(silent, of_matrix, "own") == of_matrix.split
    assert split_of(silent, of_matrix, "another") is None


def test_metrics_count_bins_and_bins_with_data(matrix, encoder, tmp_path):
    result = embed(matrix, encoder, tmp_path / "embeddings")
    with_data = sum(int(array(matrix, "mask.zarr", chrom).sum()) for chrom in SIZES)
    assert result.bins == result.metrics["bins"] == 6_000 + 100 + 14_000 + 4_150
    assert result.metrics["bins_with_data"] == with_data
    assert (result.metrics["size"], result.metrics["provider"]) == (3, "cpu")


def test_bytes_do_not_depend_on_the_number_of_threads(matrix, encoder, tmp_path):
    for threads in (1, 3):
        embed(matrix, encoder, tmp_path / str(threads), threads=threads)
    assert files_of(tmp_path / "1") == files_of(tmp_path / "3")


@pytest.mark.parametrize("shape", [{"chunk_bins": 10, "batch": 500}, {"chunk_bins": 50_000}, {"batch": 1}])
def test_chunks_and_batches_of_any_size_give_the_same_embedding(shape, matrix, encoder, tmp_path):
    embed(matrix, encoder, tmp_path / "one")
    embed(matrix, encoder, tmp_path / "other", **shape)
    for chrom in SIZES:
        one, other = (array(tmp_path / name, "embeddings.zarr", chrom) for name in ("one", "other"))
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_without_warm_up_chunks_differ_so_that_it_is_the_warm_up_that_makes_them_equal(matrix, encoder, tmp_path):
    embed(matrix, encoder, tmp_path / "one")
    embed(matrix, encoder, tmp_path / "other", chunk_bins=100, warmup_bins=0)
    one, other = (array(tmp_path / name, "embeddings.zarr", "chr1") for name in ("one", "other"))
    assert np.nanmax(np.abs(one - other)) > 0.01


@pytest.mark.parametrize("name", CONFIGS)
def test_the_core_is_the_encoder_from_the_standardised_signal_on(name, tmp_path):
    path = export(tmp_path, network_of(name)) / "encoder.onnx"
    rng = np.random.default_rng(0)
    signal_ = rng.exponential(1, (2, 40, 7)).astype(np.float32)
    standardised = ((np.arcsinh(signal_) - SCALER.mean) / SCALER.scale).astype(np.float16)
    onnx.checker.check_model(core_of(onnx.load(path)), full_check=True)
    (expected,) = onnxruntime.InferenceSession(str(path)).run(None, {"signal": signal_})
    got = load_core(path, "cpu")(np.ascontiguousarray(standardised.transpose(1, 0, 2)))
    codes = expected[:, :, : CONFIGS[name].bin_code_size]
    np.testing.assert_allclose(got.transpose(1, 0, 2), codes, atol=0.05)  # float16 has three digits


@pytest.mark.parametrize("shape", [{"chunk_bins": 17, "warmup_bins": 3}, {"chunk_bins": 50_000}, {"warmup_bins": 0}])
def test_the_context_of_a_bin_does_not_depend_on_how_chunks_lie_to_frames(shape, matrix, tmp_path):
    encoder = export(tmp_path, network_of("bottleneck with context"))
    embed(matrix, encoder, tmp_path / "one")
    embed(matrix, encoder, tmp_path / "other", **shape)
    for chrom in SIZES:
        one, other = (array(tmp_path / name, "embeddings.zarr", chrom)[:, 3:] for name in ("one", "other"))
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("bins", [1, 10, 137])
def test_the_context_core_gives_what_the_model_does(bins, tmp_path):
    network = network_of("bottleneck with context")
    context = load_context(export(tmp_path, network) / "encoder.onnx", "cpu", 10)
    rows = np.random.default_rng(0).normal(size=(bins, 7)).astype(np.float16)
    with torch.inference_mode():
        expected = network.context_level(torch.from_numpy(rows.astype(np.float32))[:, None])[:, 0]
    np.testing.assert_allclose(context.of_bins(rows), expected, atol=1e-4)


def test_an_encoder_without_context_level_has_no_context_core(encoder):
    assert load_context(encoder / "encoder.onnx", "cpu", 100) is None


def test_a_value_that_is_not_finite_in_a_frame_around_is_an_error_with_its_place(spoilt, tmp_path):
    encoder = export(tmp_path, network_of("bottleneck with context"))
    zarr.open_group(spoilt / "matrix.zarr")["chr2"][1_000, 2] = np.nan
    with pytest.raises(DataError, match=r"chr2, bins 1000 to 1009: a value is not a finite number"):
        embed(spoilt, encoder, tmp_path / "embeddings")


def test_frames_without_warm_up_differ_so_that_it_is_the_warm_up_that_makes_them_equal(matrix, tmp_path):
    encoder = export(tmp_path, network_of("bottleneck with context"))
    for frames in (0, 400):
        embed(matrix, encoder, tmp_path / str(frames), warmup_frames=frames)
    without, warm = (array(tmp_path / name, "embeddings.zarr", "chr1") for name in ("0", "400"))
    differs = np.nanmax(np.abs(without - warm), axis=0) > 1e-3
    assert differs.tolist() == [False, False, False, True, True]


def test_the_means_of_a_linear_block_are_whole_without_any_warm_up(matrix, tmp_path):
    encoder = export(tmp_path, network_of("by cell type with context", scale=1.0))
    for frames in (0, 400):
        embed(matrix, encoder, tmp_path / str(frames), warmup_frames=frames)
    without, warm = (array(tmp_path / name, "embeddings.zarr", "chr1") for name in ("0", "400"))
    contexts = np.abs(without - warm)[:, 6:].reshape(len(warm), 3, 4)
    assert np.nanmax(contexts[..., [0, 3]]) < 1e-5  # linear and consensus
    assert np.nanmax(contexts[..., 1:3]) > 1e-5  # recurrent


def test_a_context_level_of_frames_that_do_not_fill_the_matrixs_is_refused(matrix, tmp_path):
    network = build(CONFIGS["bottleneck with context"].model_copy(update={"frame_bins": 30}), 1).eval()
    with pytest.raises(ModelError, match="frames are 100 bins in the matrix, 30 bins in the encoder"):
        embed(matrix, export(tmp_path, network), tmp_path / "embeddings")


def test_the_core_may_be_called_with_any_shape_from_several_threads(encoder):
    core = load_core(encoder / "encoder.onnx", "cpu")
    rng = np.random.default_rng(1)
    inputs = [rng.normal(size=(time_, batch, 7)).astype(np.float16) for time_ in (1, 30, 400) for batch in (1, 5)] * 5
    inputs[7] = np.asfortranarray(inputs[7])
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda matrix: core(matrix).copy(), inputs))
    for matrix, got in zip(inputs, found, strict=True):
        (expected,) = core.session.run(None, {"matrix_by_time": matrix})
        np.testing.assert_array_equal(got, expected)


def test_the_core_refuses_another_number_of_tracks(encoder):
    with pytest.raises(Exception, match=r"(?i)invalid dimensions"):
        load_core(encoder / "encoder.onnx", "cpu")(np.zeros((4, 1, 6), np.float16))


def changed(scaler, **update):
    return scaler.model_copy(update=update)


@pytest.mark.parametrize(
    ("scaler", "difference"),
    [
        (
            changed(SCALER, tracks=[*SCALER.tracks[1:], SCALER.tracks[0]]),
            "track 1 is E000-DNase in the matrix, E001-DNase",
        ),
        (
            changed(SCALER, mean=[*SCALER.mean[:6], 9.5]),
            "the mean of track E006-DNase is 0.6[0-9]* in the matrix, 9.5 in the",
        ),
        (
            changed(SCALER, scale=[2.0, *SCALER.scale[1:]]),
            "the scale of track E000-DNase is 0.5 in the matrix, 2.0 in the",
        ),
    ],
)
def test_an_encoder_of_another_matrix_is_refused_with_the_first_difference(scaler, difference, matrix, tmp_path):
    encoder = export(tmp_path, network_of("bottleneck"), scaler)
    with pytest.raises(ModelError, match=f"does not belong to the matrix: {difference}"):
        embed(matrix, encoder, tmp_path / "embeddings")


def test_an_encoder_of_fewer_tracks_is_refused(matrix, encoder, tmp_path):
    path = tmp_path / "encoder" / "manifest.json"
    shutil.copytree(encoder, path.parent)
    manifest = json.loads(path.read_text())
    for values in (manifest["scaler"]["tracks"], manifest["scaler"]["mean"], manifest["scaler"]["scale"]):
        values.pop()
    manifest["scaler_sha256"] = "0" * 64
    path.write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match="track 7 is E006-DNase in the matrix, missing in the encoder"):
        embed(matrix, path.parent, tmp_path / "embeddings")


def test_a_damaged_encoder_is_refused(matrix, encoder, tmp_path):
    shutil.copytree(encoder, tmp_path / "encoder")
    path = tmp_path / "encoder" / "encoder.onnx"
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ModelError, match=r"encoder\.onnx: damaged or replaced"):
        embed(matrix, tmp_path / "encoder", tmp_path / "embeddings")


@pytest.fixture
def spoilt(matrix, tmp_path) -> Path:
    return Path(shutil.copytree(matrix, tmp_path / "spoilt"))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_not_finite_is_an_error_with_its_place(value, spoilt, encoder, tmp_path):
    zarr.open_group(spoilt / "matrix.zarr")["chr2"][1_000, 2] = value
    with pytest.raises(DataError, match=r"chr2, bin 1000: .* not a finite number, so the matrix holds one"):
        embed(spoilt, encoder, tmp_path / "embeddings")


def test_a_shard_that_cannot_be_decompressed_is_an_error_with_its_chromosome(spoilt, encoder, tmp_path):
    shard = spoilt / "matrix.zarr" / "chr2" / "c" / "0" / "0"
    content = bytearray(shard.read_bytes())
    content[:1_000] = bytes(1_000)
    shard.write_bytes(content)
    with pytest.raises(DataError, match=r"matrix: chr2 cannot be read: .*; run preprocess again"):
        embed(spoilt, encoder, tmp_path / "embeddings")


@pytest.mark.parametrize("group", ["matrix.zarr", "mask.zarr"])
def test_a_chromosome_without_its_array_is_an_error(group, spoilt, encoder, tmp_path):
    shutil.rmtree(spoilt / group / "chr2")
    with pytest.raises(DataError, match=rf"{group}: the (array|mask) of chr2 is missing"):
        embed(spoilt, encoder, tmp_path / "embeddings")


def test_cuda_that_onnxruntime_does_not_have_is_an_error(matrix, encoder, tmp_path):
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    with pytest.raises(ModelError, match=r"provider: cuda was asked for, but this onnxruntime has no CUDA"):
        embed(matrix, encoder, tmp_path / "embeddings", provider="cuda")


class CudaOnPaper:
    """An onnxruntime that claims CUDA and, as the real one does without a driver, silently runs on the CPU."""

    SessionOptions = onnxruntime.SessionOptions

    @staticmethod
    def get_available_providers():
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    @staticmethod
    def InferenceSession(model, options, providers):
        return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])


def test_a_silent_fallback_to_the_cpu_is_an_error_when_cuda_was_asked_for(monkeypatch, encoder):
    monkeypatch.setattr(core_encoder, "onnxruntime", CudaOnPaper)
    with pytest.raises(ModelError, match="no usable CUDA device or driver"):
        load_core(encoder / "encoder.onnx", "cuda")


def test_a_silent_fallback_to_the_cpu_is_reported_when_the_choice_was_left_open(monkeypatch, encoder, caplog):
    monkeypatch.setattr(core_encoder, "onnxruntime", CudaOnPaper)
    monkeypatch.setattr(log, "propagate", True)
    assert load_core(encoder / "encoder.onnx", "auto").provider == "cpu"
    assert "the CPU is used" in caplog.text


@pytest.mark.gpu
@pytest.mark.skipif("CUDAExecutionProvider" not in onnxruntime.get_available_providers(), reason="no CUDA here")
def test_gpu_gives_the_embedding_of_the_cpu(matrix, encoder, tmp_path):
    for provider in ("cpu", "cuda"):
        assert embed(matrix, encoder, tmp_path / provider, provider=provider).metrics["provider"] == provider
    for chrom in SIZES:
        one, other = (array(tmp_path / name, "embeddings.zarr", chrom) for name in ("cpu", "cuda"))
        np.testing.assert_allclose(one, other, atol=1e-3)


def test_an_error_in_a_thread_is_raised_and_work_not_begun_is_dropped():
    begun = []

    def fail(number: int) -> None:
        begun.append(number)
        time.sleep(0.01)
        raise DataError(f"number {number}")

    with pytest.raises(DataError, match=r"number \d+"):
        list(in_threads(fail, range(1_000), threads=1))
    assert len(begun) < 100


def test_a_run_killed_half_way_and_run_again_ends_as_an_undisturbed_one(matrix, encoder, tmp_path):
    def line(name: str) -> list[str]:
        params = tmp_path / "params.yaml"
        params.write_text("embed: {chunk_bins: 10, warmup_bins: 600, batch: 1, threads: 1}\n")  # slow on purpose
        return [
            "embed", "--params", str(params), "--matrix", str(matrix), "--encoder", str(encoder),
            "--embeddings", str(tmp_path / name),
        ]  # fmt: skip

    half = subprocess.Popen([sys.executable, "-m", "epilstm", *line("killed")], stderr=subprocess.DEVNULL)
    growing = tmp_path / ".killed.partial" / "embeddings.zarr"
    wait_until(lambda: (growing / "chr1" / "c" / "0" / "0").exists() or half.poll() is not None)
    half.kill()
    assert half.wait() == -signal.SIGKILL
    assert not (growing / "chr2" / "c" / "0" / "0").exists()
    assert not (tmp_path / "killed").exists()
    main(line("killed"))
    main(line("undisturbed"))
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "undisturbed")
    assert not (tmp_path / ".killed.partial").exists()
