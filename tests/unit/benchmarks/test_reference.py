"""The plain loops that speed is measured against compute what the fast paths compute."""

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import floors, reference, synthetic
from benchmarks.stages.ingest import write_bedgraph
from epilstm.model.config import ModelConfig
from epilstm.model.core_encoder import load_core
from epilstm.model.encoder_graph import build_encoder
from epilstm.model.networks import build
from epilstm.params import TrainParams
from epilstm.representations.pooling import WindowStatistics
from epilstm.store.manifests import Scaler
from epilstm.store.standardisation import standardise, stored
from epilstm.tracks.bigwig import BigWig
from epilstm.tracks.binning import bin_means
from support.train.step_gradients import step_gradients

NETWORKS = {
    "published": {"architecture": "published", "hidden_size": 8, "embedding_size": 8},
    "published_softsign": {"architecture": "published_softsign", "hidden_size": 8, "embedding_size": 8},
    "bottleneck": {"architecture": "bottleneck", "hidden_size": 8, "embedding_size": 3},
}
every_network = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
narrow_and_wide = pytest.mark.parametrize("tracks", [5, 150], ids=["narrow", "wide"])


def rows_of(x):
    return [row[None] for row in x]


def random_state(network, batch=1):
    return tuple(torch.randn_like(part) for part in network.zero_state(batch))


def test_binning_equals_the_published_route_from_bedgraph_text(tmp_path):
    size = 200_010  # the last bin is partial
    (path,) = synthetic.write_bigwigs(tmp_path, size, 1)
    write_bedgraph(path, size, tmp_path / "track.bedgraph")
    with open(tmp_path / "track.bedgraph") as lines:
        plain = reference.bin_bedgraph(lines, 0, size, 25)
    with BigWig(path) as bigwig:
        means = bin_means(bigwig.intervals(synthetic.CHROMOSOME, 0, size), 0, size, 25)
    assert np.isnan(plain).any(), "there are bins without data"
    np.testing.assert_allclose(means, plain, rtol=1e-6)


def test_standardising_equals_a_loop_over_bins():
    rng = np.random.default_rng(0)
    signal = rng.exponential(3, (7, 300)).astype(np.float32)
    signal[rng.random(signal.shape) < 0.1] = np.nan
    mean, scale = rng.normal(size=7).tolist(), rng.uniform(0.5, 2, 7).tolist()
    scaler = Scaler(tracks=synthetic.track_names(7), mean=mean, scale=scale)
    plain = reference.standardise(signal, mean, scale)
    found = stored(standardise(signal.T, scaler))
    # Both round to float16, from float32 and float64: neighbouring numbers at most.
    np.testing.assert_allclose(found.astype(np.float32), plain.astype(np.float32), rtol=1e-3, atol=1e-6)


@narrow_and_wide
@every_network
def test_reconstruction_and_state_equal_a_loop_over_bins(network, tracks):
    net = build(ModelConfig(tracks=tracks, **network), 1)
    x, state = torch.randn(40, 1, tracks), random_state(build(ModelConfig(tracks=tracks, **network), 2))
    found, last = net.readout(net.features(x, state)[0]), net.features(x, state)[1]
    plain, plain_last = reference.reconstruct(network["architecture"], net.state_dict(), list(x), state)
    torch.testing.assert_close(found[:, 0], torch.cat(plain), rtol=1e-4, atol=1e-5)
    for a, b in zip(last, plain_last, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@narrow_and_wide
@every_network
def test_gradients_equal_those_of_a_loop_over_streams_and_bins(network, tracks):
    net = build(ModelConfig(tracks=tracks, **network), 1)
    x, mask = torch.randn(30, 4, tracks), torch.ones(30, 4)
    state = random_state(net, batch=4)
    found = step_gradients(net, x, mask, state, 2)
    weights = dict(net.named_parameters())
    losses = []
    for stream in range(4):
        own = tuple(part[stream : stream + 1] for part in state)
        rows, _ = reference.reconstruct(network["architecture"], weights, rows_of(x[:, stream]), own)
        losses.append((torch.cat(rows) - x[:, stream]).square().mean())
    plain = torch.autograd.grad(torch.stack(losses).mean(), list(weights.values()))
    for (name, _), a, b in zip(net.named_parameters(), found.gradients, plain, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-6, msg=lambda message, name=name: f"{name}: {message}")


@every_network
def test_a_frame_of_plain_training_moves_the_weights_as_a_step_of_one_stream(network):
    params = TrainParams(streams=1, learning_rate=1e-3, track_dropout=0.0)
    trained, plain = (build(ModelConfig(tracks=6, **network), 1) for _ in range(2))
    x, state = torch.randn(20, 6), trained.zero_state(1)
    found = step_gradients(trained, x[:, None], torch.ones(20, 1), state, 1)
    for parameter, gradient in zip(trained.parameters(), found.gradients, strict=True):
        parameter.grad = gradient
    torch.nn.utils.clip_grad_norm_(trained.parameters(), params.clip_norm)
    torch.optim.SGD(trained.parameters(), lr=0.1).step()

    weights = dict(plain.named_parameters())
    optimizer = torch.optim.SGD(weights.values(), lr=0.1)
    loss, last = reference.train_frame(network["architecture"], weights, optimizer, x, state)
    assert loss == pytest.approx(float(found.squared_error / found.values), rel=1e-5)
    for a, b in zip(trained.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    for a, b in zip(found.state, last, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@narrow_and_wide
@pytest.mark.parametrize("name", ["published", "published_softsign", "bottleneck"])
def test_the_onnx_core_equals_a_loop_over_bins(name, tracks, tmp_path):
    config = ModelConfig(tracks=tracks, **NETWORKS[name])
    net = build(config, 1)
    scaler = Scaler(tracks=synthetic.track_names(tracks), mean=[0.5] * tracks, scale=[2.0] * tracks)
    weights = {key: tensor.numpy() for key, tensor in net.state_dict().items()}
    (tmp_path / "encoder.onnx").write_bytes(build_encoder(config, weights, scaler).SerializeToString())
    x = torch.randn(50, 1, tracks).half()
    found = load_core(tmp_path / "encoder.onnx", "cpu")(x.numpy())
    plain = reference.encode(name, net.state_dict(), list(x.float()), net.zero_state(1))
    np.testing.assert_allclose(found[:, 0], torch.cat(plain), rtol=1e-4, atol=2e-5)


def test_pooling_equals_a_loop_over_windows():
    rng = np.random.default_rng(0)
    values = rng.normal(3, 2, (500, 4)).astype(np.float32)
    valid = rng.random(500) < 0.7
    valid[100:130] = False
    first = np.append(rng.integers(0, 450, 60), [105, 100])
    last = np.append(first[:60] + rng.integers(1, 50, 60), [120, 130])
    pooled = WindowStatistics(first, last, 4, ["mean", "max", "std"])
    for start in range(0, 500, 170):
        part = slice(start, start + 170)
        pooled.add(start, values[part], valid[part])
    plain = reference.pool(values, valid, first, last)
    assert np.isnan(plain[-1]).all(), "a window without data"
    np.testing.assert_allclose(pooled.features(), plain, rtol=1e-5, atol=1e-6)


@narrow_and_wide
@pytest.mark.parametrize("name", ["published", "bottleneck"])
def test_counted_operations_are_those_of_the_plain_loops_matrix_products(name, tracks):
    bins = 60
    net = build(ModelConfig(tracks=tracks, **NETWORKS[name]), 1)
    weights = dict(net.named_parameters())
    x, state = list(torch.randn(bins, 1, tracks)), net.zero_state(1)
    with FlopCounterMode(display=False) as encoding, torch.no_grad():
        reference.encode(name, weights, x, state)
    with FlopCounterMode(display=False) as training:
        rows, _ = reference.reconstruct(name, weights, x, state)
        (torch.cat(rows) - torch.cat(x)).square().sum().backward()
    expected = floors.encoding_operations(tracks, NETWORKS[name])
    assert encoding.get_total_flops() == bins * expected
    # The first step of each recurrence needs no gradient of the state it started from.
    assert training.get_total_flops() / bins == pytest.approx(
        floors.training_operations(tracks, NETWORKS[name]), rel=0.02
    )
