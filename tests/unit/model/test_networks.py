"""Architectures, read-out, long bin ranges and the model folder."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from epilstm.errors import DataError, ModelError
from epilstm.files.outputs import MANIFEST
from epilstm.model.chunks import CONTEXT_BINS, chunks_of
from epilstm.model.config import ModelConfig
from epilstm.model.folder import (
    WEIGHTS,
    ModelManifest,
    TrainingSummary,
    load_model,
    save_model,
    save_weights,
    untrained_model,
)
from epilstm.model.networks import ARCHITECTURES, build
from epilstm.model.readout import readout_squared_error
from epilstm.model.reconstruction import ReconstructionError
from epilstm.model.windows import encode_bins, reconstruct_bins
from epilstm.store.manifests import Scaler, Split
from support.nonempty import nonempty

CONFIGS = [
    ModelConfig(architecture="bottleneck", tracks=6, embedding_size=3, hidden_size=16),
    ModelConfig(architecture="bottleneck", tracks=6, embedding_size=3, hidden_size=16, layers=2, directions=2),
    ModelConfig(architecture="published", tracks=6, embedding_size=5, hidden_size=5),
    ModelConfig(architecture="published_softsign", tracks=6, embedding_size=5, hidden_size=5),
]


@pytest.fixture(params=CONFIGS, ids=lambda c: f"{c.architecture}-{c.layers}x{c.directions}")
def network(request):
    return build(request.param, seed=3).eval()


def manifest_of(config, digest="0" * 64):
    return ModelManifest(
        config=config,
        scaler=Scaler(tracks=[f"c-t{i}" for i in range(config.tracks)], mean=[0.0] * 6, scale=[1.0] * 6),
        assembly="hg19", bin_size=25, frame_bins=100, split=Split(train=["chr1"], validation=["chr2"], test=["chr3"]),
        seed=3, matrix_fingerprint="m", weights_sha256=digest,
        training=TrainingSummary(
            epochs=1, best_epoch=1, steps=1, bins_seen=1, train_mse=1.0, validation_mse=1.0, validation_r2=0.0,
            validation_mse_per_track={}, validation_r2_per_track={}, weights_moved=0.1, device="cpu",
        ),
    )  # fmt: skip


def test_embedding_and_reconstruction_have_the_configured_sizes(network):
    x = torch.randn(20, 4, 6)
    assert network.encode(x)[0].shape == (20, 4, network.config.embedding_size)
    assert network.reconstruct(x).shape == x.shape


def test_the_encoder_carries_its_state_from_frame_to_frame():
    network = build(CONFIGS[0], seed=3).eval()
    x = torch.randn(60, 2, 6)
    whole, _ = network.encode(x)
    first, state = network.encode(x[:25])
    second, _ = network.encode(x[25:], state)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    assert not torch.allclose(network.encode(x[25:])[0], second), "the state makes a difference"


def test_one_direction_sees_no_later_bin_and_two_directions_do():
    x = torch.randn(30, 1, 6)
    changed = x.clone()
    changed[20:] += 1
    for config, sees in ((CONFIGS[0], False), (CONFIGS[1], True)):
        network = build(config, seed=3).eval()
        same = torch.allclose(network.encode(x)[0][:20], network.encode(changed)[0][:20])
        assert same is not sees


def test_initial_weights_depend_on_the_seed_alone():
    torch.manual_seed(99)
    before = torch.random.get_rng_state()
    one, two, other = (build(CONFIGS[0], seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["readout.weight"], other["readout.weight"])


def test_blockwise_readout_equals_the_plain_formula_with_gradients():
    torch.manual_seed(0)
    features, target = torch.randn(1300, 10, requires_grad=True), torch.randn(1300, 200)
    weight, bias = torch.randn(200, 10, requires_grad=True), torch.randn(200, requires_grad=True)
    mask = (torch.rand(1300) > 0.2).float()
    error = 3 * readout_squared_error(features, weight, bias, target, mask)
    plain = 3 * (((features @ weight.T + bias - target) ** 2).sum(1) * mask).sum()
    torch.testing.assert_close(error, plain, rtol=1e-5, atol=0)
    gradients = torch.autograd.grad(error, (features, weight, bias))
    expected = torch.autograd.grad(plain, (features, weight, bias))
    for a, b in zip(gradients, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-2)


def test_a_long_bin_range_in_chunks_equals_one_sequential_pass(network):
    block = np.random.default_rng(0).normal(size=(3_210, 6)).astype(np.float16)
    x = torch.from_numpy(block.astype(np.float32))[:, None]
    with torch.inference_mode():
        expected = network.encode(x)[0][:, 0].numpy(), network.reconstruct(x)[:, 0].numpy()
    np.testing.assert_allclose(encode_bins(network, block), expected[0], atol=1e-5)
    # The published decoders start from the encoder's last state, so the very first bins depend on where a pass ends.
    settled = 0 if network.config.architecture == "bottleneck" else CONTEXT_BINS
    np.testing.assert_allclose(reconstruct_bins(network, block)[settled:], expected[1][settled:], atol=1e-5)


@pytest.mark.parametrize("bins", [1, 99, 1000, 1001, 5432])
def test_chunks_keep_every_bin_once_and_in_order(bins):
    kept = [
        bin for a, b, first, last in chunks_of(bins, 1000, 50) for bin in range(first, last) if a <= first and last <= b
    ]
    assert kept == list(range(bins))


def test_reconstruction_error_agrees_with_sklearn():
    from sklearn.metrics import mean_squared_error, r2_score

    rng = np.random.default_rng(0)
    truth, mask = rng.normal(2, 3, size=(500, 4)), rng.random(500) > 0.2
    guess = truth + rng.normal(size=truth.shape)
    error = ReconstructionError.empty(4)
    for part in (slice(0, 100), slice(100, 500)):
        error.add(truth[part], guess[part], mask[part])
    assert error.mse == pytest.approx(mean_squared_error(truth[mask], guess[mask]))
    np.testing.assert_allclose(error.mse_per_track, np.square(truth - guess)[mask].mean(0))
    np.testing.assert_allclose(error.r2_per_track, r2_score(truth[mask], guess[mask], multioutput="raw_values"))
    assert error.r2 == pytest.approx(r2_score(truth[mask], guess[mask], multioutput="variance_weighted"))


def test_a_track_that_does_not_vary_has_no_r2():
    truth = np.column_stack([np.full(200, 1.7), np.arange(200.0)])
    error = ReconstructionError.empty(2)
    error.add(truth, truth + 0.1, np.ones(200, bool))
    constant, varying = error.r2_per_track
    assert constant is None
    assert varying == pytest.approx(1, abs=1e-4)


def test_a_model_folder_round_trips(tmp_path, network):
    digest = save_weights(tmp_path / "model", network)
    save_model(tmp_path / "model", manifest_of(network.config, digest))
    loaded, manifest = load_model(tmp_path / "model")
    x = torch.randn(10, 2, 6)
    assert torch.equal(loaded.reconstruct(x), network.reconstruct(x))
    assert manifest.config == network.config
    assert not (tmp_path / "model" / "weights.pt").exists()


def test_the_untrained_model_is_the_one_before_training():
    manifest = manifest_of(CONFIGS[0])
    expected = build(CONFIGS[0], seed=3).state_dict()
    found = untrained_model(manifest).state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in nonempty(found.items()))


def test_damaged_weights_are_refused_by_checksum(tmp_path, network):
    digest = save_weights(tmp_path / "model", network)
    save_model(tmp_path / "model", manifest_of(network.config, digest))
    with open(tmp_path / "model" / WEIGHTS, "r+b") as stream:
        stream.seek(-3, 2)
        stream.write(b"xyz")
    with pytest.raises(ModelError, match="checksum"):
        load_model(tmp_path / "model")


def test_a_folder_that_is_no_model_is_refused(tmp_path):
    (tmp_path / MANIFEST).write_text("{}")
    with pytest.raises(DataError, match="not a ModelManifest"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    "wrong", [{"embedding_size": 3}, {"directions": 2}, {"layers": 2, "architecture": "published_softsign"}]
)
def test_shapes_that_the_published_form_cannot_have_are_refused(wrong):
    shape = {"architecture": "published", "tracks": 4, "embedding_size": 5, "hidden_size": 5} | wrong
    with pytest.raises(ValidationError, match="architecture"):
        ModelConfig(**shape)


@pytest.mark.real_data
def test_the_published_weights_run_through_the_softsign_cell(published_model):
    """Gates of the published files: input, forget, output, candidate; two biases; layer norm unused."""
    network = build(
        ModelConfig(architecture="published_softsign", tracks=1030, embedding_size=24, hidden_size=24), seed=0
    )
    weights = {}
    for half in ("encoder", "decoder"):
        published = torch.load(published_model / f"{half}.pth", map_location="cpu", weights_only=True)
        for torch_name, published_name in (("ih", "i2h"), ("hh", "h2h")):
            for kind in ("weight", "bias"):
                i, f, o, g = published[f"lstm.params.0.{published_name}.{kind}"].chunk(4)
                weights[f"{half}.{kind}_{torch_name}_l0"] = torch.cat([i, f, g, o])
    weights["readout.weight"], weights["readout.bias"] = published["out.weight"], published["out.bias"]
    network.load_state_dict(weights)

    x = np.random.default_rng(0).normal(size=(50, 2, 1030))
    encoder, decoder = (
        torch.load(published_model / f"{r}.pth", map_location="cpu", weights_only=True) for r in ("encoder", "decoder")
    )
    hidden, cells = published_loop(x, encoder, np.zeros((2, 24)), np.zeros((2, 24)))
    decoded, _ = published_loop(hidden, decoder, hidden[-1], None, cells)
    expected = decoded @ decoder["out.weight"].double().numpy().T + decoder["out.bias"].double().numpy()
    with torch.inference_mode():
        np.testing.assert_allclose(network.encode(torch.from_numpy(x).float())[0], hidden, atol=1e-5)
        np.testing.assert_allclose(network.reconstruct(torch.from_numpy(x).float()), expected, atol=1e-4)


def published_loop(x, weights, h, c, cells=None):
    """The published cell, step by step, in the published gate order."""
    named = {name: tensor.double().numpy() for name, tensor in weights.items()}
    hidden_states, cell_states = [], []
    for step in range(len(x)):
        gates = x[step] @ named["lstm.params.0.i2h.weight"].T + named["lstm.params.0.i2h.bias"]
        gates = gates + h @ named["lstm.params.0.h2h.weight"].T + named["lstm.params.0.h2h.bias"]
        i, f, o = (1 / (1 + np.exp(-part)) for part in np.split(gates, 4, axis=1)[:3])
        g = np.split(gates, 4, axis=1)[3]
        c = f * (c if cells is None else cells[step]) + i * g / (1 + np.abs(g))
        h = o * c / (1 + np.abs(c))
        hidden_states.append(h)
        cell_states.append(c)
    return np.stack(hidden_states), np.stack(cell_states)


def test_every_architecture_is_registered_by_the_name_the_params_know():
    from typing import get_args

    from epilstm.params import Architecture

    assert set(ARCHITECTURES) == set(get_args(Architecture))
