"""The ONNX graph computes what the model does, and says what it is."""

from __future__ import annotations

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from epilstm.errors import ModelError
from epilstm.model.config import ModelConfig
from epilstm.model.encoder_graph import build_encoder
from epilstm.model.networks import Autoencoder, build
from epilstm.steps.export import parity
from epilstm.store.manifests import Scaler
from epilstm.store.standardisation import standardise
from support.export.small_model import CONFIGS, ONE_DIRECTION, SCALER, TRACKS, network_of


def encoder_of(network: Autoencoder, scaler: Scaler = SCALER, **options) -> onnx.ModelProto:
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    return build_encoder(network.config, weights, scaler, **options)


def session_of(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def numpy_lstm(x, weights, prefix, squash=np.tanh):
    """One layer, one direction, one sequence, in float64, gate by gate."""
    w, r, bw, br = (
        weights[f"{prefix}.{kind}_l0"].astype(np.float64) for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    h = c = np.zeros(r.shape[1])
    hidden = []
    for row in x:
        i, f, g, o = np.split(w @ row + bw + r @ h + br, 4)
        sigmoid = lambda v: 1 / (1 + np.exp(-v))  # noqa: E731
        c = sigmoid(f) * c + sigmoid(i) * squash(g)
        h = sigmoid(o) * squash(c)
        hidden.append(h)
    return np.array(hidden)


@pytest.mark.parametrize("name", CONFIGS)
def test_encoder_equals_the_model_at_every_batch_size_and_length(name):
    network = network_of(name)
    difference = parity.largest_difference(network.double(), SCALER, session_of(encoder_of(network_of(name))), seed=1)
    assert difference.relative < 2e-5


@pytest.mark.parametrize("name", ONE_DIRECTION)
def test_signal_streamed_in_pieces_gives_the_embedding_and_state_of_one_pass(name):
    session = session_of(encoder_of(network_of(name), stateful=True))
    difference = parity.largest_streaming_difference(network_of(name).double(), SCALER, session, seed=2)
    assert difference.relative < 2e-5


def test_bottleneck_equals_a_loop_written_out_in_numpy():
    network = network_of("bottleneck")
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    signal = np.random.default_rng(0).exponential(2, (1, 50, TRACKS)).astype(np.float32)
    x = (np.arcsinh(signal[0].astype(np.float64)) - SCALER.mean) / SCALER.scale
    hidden = numpy_lstm(x, weights, "encoder.layers.0")
    expected = (
        hidden @ weights["bottleneck.weight"].T + weights["bottleneck.bias"] + x @ weights["around_encoder.weight"].T
    )
    (got,) = session_of(encoder_of(network)).run(None, {"signal": signal})
    np.testing.assert_allclose(got[0], expected, atol=1e-5)


def test_softsign_cell_equals_a_loop_written_out_in_numpy():
    network = network_of("published_softsign")
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    signal = np.random.default_rng(0).exponential(2, (1, 50, TRACKS)).astype(np.float32)
    x = (np.arcsinh(signal[0].astype(np.float64)) - SCALER.mean) / SCALER.scale
    expected = numpy_lstm(x, weights, "encoder", squash=lambda v: v / (1 + np.abs(v)))
    (got,) = session_of(encoder_of(network)).run(None, {"signal": signal})
    np.testing.assert_allclose(got[0], expected, atol=1e-5)


def standardised_by(scaler: Scaler, signal: np.ndarray) -> np.ndarray:
    """What the graph holds after arcsinh and scaling."""
    config = ModelConfig(architecture="bottleneck", tracks=len(scaler.tracks), embedding_size=1, hidden_size=1)
    model = encoder_of(build(config, 0), scaler)
    model.graph.output.append(next(value for value in model.graph.value_info if value.name == "standardised"))
    (values,) = session_of(model).run(["standardised"], {"signal": signal[None]})
    return values[0]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(width=32, allow_nan=False, min_value=-(2.0**126), max_value=2.0**126), min_size=1, max_size=50)
)
def test_arcsinh_is_right_for_tiny_large_and_negative_values(values):
    plain = Scaler(tracks=["a"], mean=[0.0], scale=[1.0])
    signal = np.array(values, np.float32)[:, None]
    np.testing.assert_allclose(
        standardised_by(plain, signal), np.arcsinh(signal.astype(np.float64)), rtol=3e-7, atol=1.5e-7
    )


def test_no_data_counts_as_a_signal_of_zero():
    signal = np.full((2, TRACKS), 2, np.float32)
    signal[0, 3] = signal[1] = np.nan
    expected = standardised_by(SCALER, np.nan_to_num(signal, nan=0))
    np.testing.assert_array_equal(standardised_by(SCALER, signal), expected)


TREATMENTS = {
    "log1p alone": ("log1p", "zero"),
    "none alone": ("none", "missing"),
    "arcsinh and log1p": (["arcsinh", "log1p", "arcsinh"], "zero"),
    "arcsinh and none": (["arcsinh", "none", "arcsinh"], ["zero", "missing", "missing"]),
    "all three": (["arcsinh", "log1p", "none"], ["zero", "missing", "missing"]),
}


@pytest.mark.parametrize(("transform", "uncovered"), TREATMENTS.values(), ids=TREATMENTS)
def test_each_track_takes_its_own_transform(transform, uncovered):
    scaler = Scaler(
        tracks=["a", "b", "c"], transform=transform, uncovered=uncovered, mean=[0.5, 1.5, 0.7], scale=[0.5, 2.0, 0.3]
    )
    signal = np.array(
        [[0, 0, 0], [1e-5, 1e-5, 1e-5], [0.8, 0.8, 0.8], [3e4, 3e4, 1.0], [-2, -0.5, -3], [np.nan] * 3, [5, np.nan, 1]],
        np.float32,
    )
    expected = standardise(signal.astype(np.float64), scaler)
    np.testing.assert_allclose(standardised_by(scaler, signal), expected, rtol=1e-6, atol=1e-6)


def test_an_encoder_of_mixed_transforms_computes_what_the_model_does():
    network = network_of("bottleneck")
    scaler = SCALER.model_copy(update={
        "transform": ["arcsinh", "log1p", "none", "arcsinh", "log1p", "none", "arcsinh"],
        "uncovered": ["zero"] * 4 + ["missing"] * 3,
    })  # fmt: skip
    session = session_of(encoder_of(network, scaler))
    assert parity.largest_difference(network.double(), scaler, session, 0).relative < 2e-5


def test_same_model_gives_the_same_bytes():
    one, other = (encoder_of(network_of("bottleneck"), metadata={"a": "1", "b": "2"}) for _ in range(2))
    assert one.SerializeToString(deterministic=True) == other.SerializeToString(deterministic=True)


def test_axes_are_named_and_free():
    model = encoder_of(network_of("bottleneck"), stateful=True)
    shapes = {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in [*model.graph.input, *model.graph.output]
    }
    assert shapes == {
        "signal": ["batch", "time", TRACKS],
        "h0": [1, "batch", 8],
        "c0": [1, "batch", 8],
        "embedding": ["batch", "time", 3],
        "h": [1, "batch", 8],
        "c": [1, "batch", 8],
    }


def test_metadata_can_be_read_back_through_onnxruntime():
    tracks = json.dumps(SCALER.tracks)
    session = session_of(encoder_of(network_of("published"), metadata={"tracks": tracks, "bin_size": "25"}))
    metadata = session.get_modelmeta()
    assert metadata.custom_metadata_map == {"tracks": tracks, "bin_size": "25"}
    assert metadata.producer_name == "epilstm"


@pytest.mark.parametrize("name", ["bottleneck of both directions", "bottleneck with context"])
def test_what_looks_ahead_cannot_stream(name):
    with pytest.raises(ModelError, match="two directions or with a context level cannot"):
        encoder_of(network_of(name), stateful=True)


def test_a_scale_of_zero_is_refused_with_its_track():
    scaler = SCALER.model_copy(update={"scale": [1.0, 0.0, *SCALER.scale[2:]]})
    with pytest.raises(ModelError, match=r"scaler of track E001-DNase is unusable: mean 0\.1, scale 0"):
        encoder_of(network_of("bottleneck"), scaler)


def test_a_scaler_of_other_tracks_is_refused():
    scaler = SCALER.model_copy(update={"tracks": SCALER.tracks[:-1]})
    with pytest.raises(ModelError, match="6 tracks, 7 means"):
        encoder_of(network_of("bottleneck"), scaler)


def test_a_weight_that_is_not_finite_is_refused_by_name():
    network = network_of("bottleneck")
    with torch.no_grad():
        network.bottleneck.weight[0, 0] = torch.nan
    with pytest.raises(ModelError, match=r"bottleneck\.weight of the model is not finite"):
        encoder_of(network)


@pytest.mark.parametrize(("transform", "uncovered"), TREATMENTS.values(), ids=TREATMENTS)
def test_the_graph_cuts_standardised_values_off_at_the_clip(transform, uncovered):
    clipped = Scaler(
        tracks=["a", "b", "c"], transform=transform, uncovered=uncovered, mean=[0.5, 1.5, 0.7], scale=[0.5, 2.0, 0.3],
        clip=2.0,
    )  # fmt: skip
    signal = np.random.default_rng(0).gamma(0.5, 20, (40, 3)).astype(np.float32)
    signal[::7] = np.nan
    values = standardised_by(clipped, signal)
    np.testing.assert_allclose(values, standardise(signal.astype(np.float64), clipped), rtol=3e-7, atol=3e-7)
    assert values.max() == 2.0


def test_an_encoder_of_a_clipped_scaler_equals_the_model():
    scaler = SCALER.model_copy(update={"clip": 1.5})
    network = network_of("bottleneck")
    session = session_of(encoder_of(network_of("bottleneck"), scaler))
    assert parity.largest_difference(network.double(), scaler, session, seed=1).relative < 2e-5
