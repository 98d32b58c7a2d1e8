"""The encoder as an ONNX graph, node by node: raw signal in, embedding out.

The graph goes ``signal`` -> arcsinh -> ``standardised`` -> recurrent layers -> ``embedding``; values are named for what
they hold. Recurrent layers run time-major, as onnxruntime's LSTM wants, between one transposition at each end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from epilstm.datasets import Scaler
from epilstm.errors import ModelError
from epilstm.model.config import ModelConfig
from epilstm.model.encoder_folder import (
    EMBEDDING,
    EMBEDDING_BY_TIME,
    SIGNAL,
    STANDARDISED,
    STANDARDISED_BY_TIME,
    STATE_INPUTS,
    STATE_OUTPUTS,
)

Weights = Mapping[str, NDArray[np.float32]]

#: Old enough for the onnxruntime of any Triton release since 2022.
OPSET, IR_VERSION = 17, 8

#: ONNX orders an LSTM's gates input, output, forget, candidate; torch input, forget, candidate, output.
ONNX_GATES_IN_TORCH = (0, 3, 1, 2)

#: Past this, sqrt(x^2 + 1) is x in float32, and x^2 need not be computed (it would overflow at 1.8e19).
LARGE_SIGNAL = 1e9


class _Graph:
    """Nodes and constants in the order they are added."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, values: Any, dtype: type = np.float32) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values, dtype=dtype), name))
        return name

    def add(self, op: str, inputs: Sequence[str], output: str, more: Sequence[str] = (), **attributes: Any) -> str:
        """Add a node named for its (first) output."""
        self.nodes.append(helper.make_node(op, list(inputs), [output, *more], name=f"make_{output}", **attributes))
        return output


def build_encoder(
    config: ModelConfig,
    weights: Weights,
    scaler: Scaler,
    metadata: Mapping[str, str] | None = None,
    *,
    stateful: bool = False,
) -> onnx.ModelProto:
    """The encoder, checked.

    Inputs are ``signal`` (batch, time, track), float32, raw, in which NaN stands for no data; and, if
    `stateful`, ``h0`` and ``c0`` (layer, batch, hidden). Outputs are ``embedding`` (batch, time, dim), float32; and,
    if `stateful`, ``h`` and ``c`` after the last bin. Batch and time are free.

    Parameters
    ----------
    config : ModelConfig
    weights : mapping of str to array
        Named as in the network's ``state_dict``; those of the decoder are not used.
    scaler : Scaler
        Of the matrix that the model was trained on.
    metadata : mapping of str to str, optional
        Goes into the file's ``metadata_props``.
    stateful : bool
        Take the state from the caller and give it back; only for one direction.

    Raises
    ------
    ModelError
        Scaler and model differ in tracks, a scale is not positive, a weight is not finite, or a stateful encoder is
        asked of a model of two directions.
    """
    _check(config, weights, scaler, stateful)
    graph = _Graph()
    _standardise(graph, scaler)
    graph.add("Transpose", [STANDARDISED], STANDARDISED_BY_TIME, perm=[1, 0, 2])
    _encode(graph, config, weights, stateful)
    graph.add("Transpose", [EMBEDDING_BY_TIME], EMBEDDING, perm=[1, 0, 2])

    state_shape: list[str | int | None] = [config.layers, "batch", config.hidden_size]
    inputs = [helper.make_tensor_value_info(SIGNAL, TensorProto.FLOAT, ["batch", "time", config.tracks])]
    outputs = [helper.make_tensor_value_info(EMBEDDING, TensorProto.FLOAT, ["batch", "time", config.embedding_size])]
    if stateful:
        inputs += [helper.make_tensor_value_info(name, TensorProto.FLOAT, state_shape) for name in STATE_INPUTS]
        outputs += [helper.make_tensor_value_info(name, TensorProto.FLOAT, state_shape) for name in STATE_OUTPUTS]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes, "epilstm_encoder_stateful" if stateful else "epilstm_encoder", inputs, outputs, graph.constants
        ),
        producer_name="epilstm",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    helper.set_model_props(model, dict(metadata or {}))
    onnx.checker.check_model(model, full_check=True)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)


def _check(config: ModelConfig, weights: Weights, scaler: Scaler, stateful: bool) -> None:
    if not len(scaler.tracks) == len(scaler.mean) == len(scaler.scale) == config.tracks:
        raise ModelError(
            f"the scaler has {len(scaler.tracks)} tracks, {len(scaler.mean)} means and {len(scaler.scale)} scales, "
            f"the model {config.tracks} tracks; train the model again"
        )
    for track, mean, scale in zip(scaler.tracks, scaler.mean, scaler.scale, strict=True):
        if not (np.isfinite(mean) and np.isfinite(scale) and scale > 0):
            raise ModelError(
                f"the scaler of track {track} is unusable: mean {mean:g}, scale {scale:g}; run preprocess again"
            )
    for name, values in weights.items():
        if not np.isfinite(values).all():
            raise ModelError(f"weight {name} of the model is not finite; train it again with a lower learning rate")
    if stateful and config.directions != 1:
        raise ModelError(
            "an encoder of two directions cannot take its state from the caller; set train.directions to 1"
        )


def _standardise(graph: _Graph, scaler: Scaler) -> None:
    """``signal`` to ``standardised``, as preprocess makes the matrix: no signal counts as 0."""
    zero = graph.constant("zero", 0.0)
    graph.add("IsNaN", [SIGNAL], "uncovered")
    graph.add("Where", ["uncovered", zero, SIGNAL], "covered_signal")
    _arcsinh(graph, "covered_signal", "arcsinh_signal")
    graph.add("Sub", ["arcsinh_signal", graph.constant("track_mean", scaler.mean)], "centred")
    graph.add("Div", ["centred", graph.constant("track_scale", scaler.scale)], STANDARDISED)


def _arcsinh(graph: _Graph, x: str, output: str) -> None:
    """``sign(x) * log(|x| + sqrt(x^2 + 1))``.

    The operator Asinh would do, but onnxruntime computes it one scalar at a time: it would take several times as long
    as the recurrent layers.
    """
    graph.add("Abs", [x], "magnitude")
    graph.add("Min", ["magnitude", graph.constant("large_signal", LARGE_SIGNAL)], "moderate")
    graph.add("Mul", ["moderate", "moderate"], "squared")
    graph.add("Add", ["squared", graph.constant("one", 1.0)], "squared_plus_one")
    graph.add("Sqrt", ["squared_plus_one"], "moderate_root")
    graph.add("Max", ["moderate_root", "magnitude"], "root")
    graph.add("Add", ["magnitude", "root"], "magnitude_plus_root")
    graph.add("Log", ["magnitude_plus_root"], "arcsinh_magnitude")
    graph.add("Sign", [x], "sign")
    graph.add("Mul", ["sign", "arcsinh_magnitude"], output)


def _encode(graph: _Graph, config: ModelConfig, weights: Weights, stateful: bool) -> None:
    """``standardised_by_time`` to ``embedding_by_time``, both (time, batch, feature)."""
    if stateful:
        _split_layers(graph, config)
    hidden, bottleneck = STANDARDISED_BY_TIME, config.architecture == "bottleneck"
    for layer in range(config.layers):
        last = layer == config.layers - 1
        output = EMBEDDING_BY_TIME if last and not bottleneck else f"hidden_{layer}"
        hidden = _recurrent_layer(graph, config, weights, layer, hidden, output, stateful)
    if stateful:
        for state in STATE_OUTPUTS:
            graph.add("Concat", [f"{state}_{layer}" for layer in range(config.layers)], state, axis=0)
    if bottleneck:
        _linear(graph, hidden, "bottleneck", weights["bottleneck.weight"], "bottleneck_without_bias")
        graph.add(
            "Add",
            ["bottleneck_without_bias", graph.constant("bottleneck_bias", weights["bottleneck.bias"])],
            "bottleneck",
        )
        _linear(graph, STANDARDISED_BY_TIME, "around_encoder", weights["around_encoder.weight"], "around_encoder")
        graph.add("Add", ["bottleneck", "around_encoder"], EMBEDDING_BY_TIME)


def _linear(graph: _Graph, x: str, name: str, weight: NDArray[np.float32], output: str) -> None:
    graph.add("MatMul", [x, graph.constant(f"{name}_weight", weight.T)], output)


def _split_layers(graph: _Graph, config: ModelConfig) -> None:
    for state in STATE_INPUTS:
        first, *more = [f"{state}_{layer}" for layer in range(config.layers)]
        lengths = graph.constant(f"{state}_lengths", [1] * config.layers, np.int64)
        graph.add("Split", [state, lengths], first, more, axis=0)


def _recurrent_layer(
    graph: _Graph, config: ModelConfig, weights: Weights, layer: int, x: str, output: str, stateful: bool
) -> str:
    softsign = config.architecture == "published_softsign"
    prefix = "encoder" if softsign else f"encoder.layers.{layer}"
    suffixes = ("l0", "l0_reverse")[: config.directions]
    kernels = {
        kind: np.stack([_onnx_gates(weights[f"{prefix}.{kind}_{suffix}"]) for suffix in suffixes])
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    }
    biases = np.concatenate([kernels["bias_ih"], kernels["bias_hh"]], axis=1)
    inputs = [
        x,
        graph.constant(f"input_weight_{layer}", kernels["weight_ih"]),
        graph.constant(f"recurrent_weight_{layer}", kernels["weight_hh"]),
        graph.constant(f"biases_{layer}", biases),
    ]
    attributes: dict[str, Any] = {"hidden_size": config.hidden_size}
    if config.directions == 2:
        attributes["direction"] = "bidirectional"
    if softsign:
        attributes["activations"] = ["Sigmoid", "Softsign", "Softsign"]
    more: list[str] = []
    if stateful:
        inputs += ["", *(f"{state}_{layer}" for state in STATE_INPUTS)]
        more = [f"{state}_{layer}" for state in STATE_OUTPUTS]
    by_direction = graph.add("LSTM", inputs, f"hidden_{layer}_by_direction", more, **attributes)
    if config.directions == 1:
        axis = graph.constant(f"direction_axis_{layer}", [1], np.int64)
        return graph.add("Squeeze", [by_direction, axis], output)
    side_by_side = graph.add("Transpose", [by_direction], f"hidden_{layer}_directions_last", perm=[0, 2, 1, 3])
    shape = graph.constant(f"joined_shape_{layer}", [0, 0, 2 * config.hidden_size], np.int64)
    return graph.add("Reshape", [side_by_side, shape], output)


def _onnx_gates(torch_rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Reorder the four blocks of rows, one per gate."""
    blocks = np.split(torch_rows, 4)
    return np.concatenate([blocks[gate] for gate in ONNX_GATES_IN_TORCH])
