"""Training on a GPU."""

import pytest
import torch

from epilstm.model.config import ModelConfig
from epilstm.model.networks import build
from epilstm.model.windows import encode_bins, reconstruct_bins
from support.train.step_gradients import step_gradients
from support.train.training_runs import CONTEXT, train, weights

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU on this machine"),
]

GPU = {"device": "cuda", "precision": "float32"}


@pytest.mark.parametrize("tracks", [6, 300])
@pytest.mark.parametrize("architecture", ["bottleneck", "published", "published_softsign"])
def test_gradients_on_the_gpu_are_those_on_the_cpu(architecture, tracks):
    config = ModelConfig(architecture=architecture, tracks=tracks, embedding_size=8, hidden_size=8)
    x, mask = torch.randn(40, 6, tracks), (torch.rand(40, 6) > 0.2).float()
    found = {}
    for name in ("cpu", "cuda"):
        device = torch.device(name)
        network = build(config, 1).to(device)
        on = (x.to(device), mask.to(device))
        found[name] = step_gradients(network, *on, network.zero_state(6), 2, name)
    for cpu, gpu in zip(found["cpu"].gradients, found["cuda"].gradients, strict=True):
        torch.testing.assert_close(gpu.cpu(), cpu, rtol=2e-2, atol=2e-3)


def test_a_long_bin_range_on_the_gpu_equals_the_cpu():
    network = build(ModelConfig(architecture="bottleneck", tracks=6, embedding_size=3, hidden_size=16), 1).eval()
    block = torch.randn(2_500, 6).numpy()
    cpu = encode_bins(network, block), reconstruct_bins(network, block)
    network.cuda()
    gpu = encode_bins(network, block), reconstruct_bins(network, block)
    for a, b in zip(cpu, gpu, strict=True):
        torch.testing.assert_close(torch.from_numpy(b), torch.from_numpy(a), rtol=1e-2, atol=5e-3)


def test_training_on_the_gpu_ends_about_where_the_cpu_does(matrix, tmp_path):
    _, cpu = train(matrix, tmp_path / "cpu", device="cpu")
    _, gpu = train(matrix, tmp_path / "gpu", **GPU)
    _, half = train(matrix, tmp_path / "half", device="cuda", precision="bfloat16")
    assert gpu.training.device == "cuda"
    assert gpu.training.validation_r2 == pytest.approx(cpu.training.validation_r2, abs=0.02)
    assert half.training.validation_r2 == pytest.approx(cpu.training.validation_r2, abs=0.05)


def test_streaming_from_the_store_to_the_gpu_equals_a_matrix_held_on_it(matrix, tmp_path, monkeypatch):
    held, _ = train(matrix, tmp_path / "held", **GPU)
    monkeypatch.setattr("epilstm.steps.train.command.GPU_SHARE", 0.0)
    streamed, _ = train(matrix, tmp_path / "streamed", **GPU)
    torch.testing.assert_close(weights(streamed), weights(held), rtol=1e-3, atol=1e-4)


def test_a_resumed_run_on_the_gpu_has_the_weights_of_an_undisturbed_one(matrix, tmp_path):
    whole, _ = train(matrix, tmp_path / "whole", **GPU)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("epilstm.steps.train.loop._out_of_patience", lambda progress, params: progress.epoch == 2)
        train(matrix, tmp_path / "resumed", **GPU)
    resumed, _ = train(matrix, tmp_path / "resumed", "resume", **GPU)
    torch.testing.assert_close(weights(resumed), weights(whole), rtol=1e-4, atol=1e-5)


def test_the_context_level_on_the_gpu_learns_what_it_does_on_the_cpu(matrix, tmp_path):
    _, cpu = train(matrix, tmp_path / "cpu", device="cpu", **CONTEXT)
    _, gpu = train(matrix, tmp_path / "gpu", **GPU, **CONTEXT)
    assert gpu.training.context.frames == cpu.training.context.frames
    # A GPU draws other units to drop and tracks to hide.
    assert gpu.training.context.validation_r2 == pytest.approx(cpu.training.context.validation_r2, abs=0.1)
