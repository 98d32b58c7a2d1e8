"""The encoder as an ONNX graph, node by node: raw signal in, embedding out.

The graph goes ``signal`` -> transforms -> ``standardised`` -> recurrent layers -> ``embedding``; values are named for
what they hold. Recurrent layers run time-major, as onnxruntime's LSTM wants, between one transposition at each end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from epilstm.errors import ModelError
from epilstm.model.cell_type_graph import assays_by_time, mark_missing, side_by_side
from epilstm.model.config import ModelConfig
from epilstm.model.context_graph import add_context
from epilstm.model.encoder_folder import (
    BIN_CODE_BY_TIME,
    EMBEDDING,
    EMBEDDING_BY_TIME,
    SIGNAL,
    STANDARDISED,
    STANDARDISED_BY_TIME,
    STATE_INPUTS,
    STATE_OUTPUTS,
)
from epilstm.model.onnx_layers import Graph, Weights, layer_norm, linear, recurrent_layer
from epilstm.store.manifests import Scaler
from epilstm.store.standardisation import missing_where_uncovered, to_signal

#: Old enough for the onnxruntime of any Triton release since 2022.
OPSET, IR_VERSION = 17, 8

#: Past this, sqrt(x^2 + 1) is x in float32, and x^2 need not be computed (it would overflow at 1.8e19).
LARGE_SIGNAL = 1e9


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
        Take the state from the caller and give it back; only for one direction and without a context level.

    Raises
    ------
    ModelError
        Scaler and model differ in tracks, a scale is not positive, a weight is not finite, or a stateful encoder is
        asked of a model that cannot stream.
    """
    _check(config, weights, scaler, stateful)
    graph = Graph()
    if config.cell_types is None:
        _standardise(graph, scaler, STANDARDISED)
    else:
        _standardise(graph, scaler, "standardised_or_filled")
        mark_missing(graph, "uncovered", "standardised_or_filled", STANDARDISED)
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
    if stateful and not config.streams:
        raise ModelError(
            "an encoder of two directions or with a context level cannot take its state from the caller; set "
            "train.directions to 1 and train.context_size to 0"
        )


def _standardise(graph: Graph, scaler: Scaler, output: str) -> None:
    """``signal`` to `output`, as `epilstm.store.standardisation.standardise` makes the matrix."""
    graph.add("IsNaN", [SIGNAL], "uncovered")
    # What has no data is a signal of 0, or what the track's mean is made of: standardised, 0.
    filler = 0.0 if scaler.uncovered == "zero" else _filler(scaler)
    graph.add("Where", ["uncovered", graph.constant("zero", filler), SIGNAL], "covered_signal")
    transformed = "covered_signal" if scaler.transform == "none" else f"{scaler.transform}_signal"
    if scaler.transform == "arcsinh":
        _arcsinh(graph, "covered_signal", transformed)
    elif scaler.transform == "log1p":
        _log1p(graph, "covered_signal", transformed)
    elif isinstance(scaler.transform, list):
        transformed = "transformed_signal"
        _mixed(graph, "covered_signal", scaler, transformed)
    graph.add("Sub", [transformed, graph.constant("track_mean", scaler.mean)], "centred")
    unbounded = output if scaler.clip is None else "standardised_unbounded"
    graph.add("Div", ["centred", graph.constant("track_scale", scaler.scale)], unbounded)
    if scaler.clip is not None:
        bounds = [graph.constant("least_standardised", -scaler.clip), graph.constant("most_standardised", scaler.clip)]
        graph.add("Clip", [unbounded, *bounds], output)


def _filler(scaler: Scaler) -> NDArray[np.floating]:
    """Signal, (track,), that stands for no data."""
    of_mean = to_signal(np.zeros(len(scaler.tracks)), scaler)
    return np.where(missing_where_uncovered(scaler), of_mean, 0.0)


def _log1p(graph: Graph, x: str, output: str) -> None:
    graph.add("Max", [x, graph.constant("least_signal", 0.0)], "signal_above_0")
    graph.add("Add", ["signal_above_0", graph.constant("one", 1.0)], "signal_plus_one")
    graph.add("Log", ["signal_plus_one"], output)


def _mixed(graph: Graph, x: str, scaler: Scaler, output: str) -> None:
    """Transforms that differ from track to track, without computing any twice.

    log1p is the logarithm of arcsinh with 1 in place of the root, of what is not negative; one logarithm does both.
    """
    log1p = [transform == "log1p" for transform in scaler.transforms]
    least = graph.constant("least_signal", np.where(log1p, 0.0, np.finfo(np.float32).min))
    graph.add("Max", [x, least], "signal_in_domain")
    last = "none" not in scaler.transforms
    logarithmic = output if last else "logarithmic_signal"
    _arcsinh(graph, "signal_in_domain", logarithmic, log1p)
    if not last:
        as_it_is = graph.constant("is_none", [transform == "none" for transform in scaler.transforms], np.bool_)
        graph.add("Where", [as_it_is, x, logarithmic], output)


def _arcsinh(graph: Graph, x: str, output: str, log1p: Sequence[bool] = ()) -> None:
    """``sign(x) * log(|x| + sqrt(x^2 + 1))``, or with 1 for the root in the tracks of `log1p`.

    The operator Asinh would do, but onnxruntime computes it one scalar at a time: it would take several times as long
    as the recurrent layers.
    """
    graph.add("Abs", [x], "magnitude")
    graph.add("Min", ["magnitude", graph.constant("large_signal", LARGE_SIGNAL)], "moderate")
    graph.add("Mul", ["moderate", "moderate"], "squared")
    graph.add("Add", ["squared", graph.constant("one", 1.0)], "squared_plus_one")
    graph.add("Sqrt", ["squared_plus_one"], "moderate_root")
    graph.add("Max", ["moderate_root", "magnitude"], "root")
    root = "root"
    if any(log1p):
        graph.add("Where", [graph.constant("is_log1p", log1p, np.bool_), "one", root], "root_or_one")
        root = "root_or_one"
    graph.add("Add", ["magnitude", root], "magnitude_plus_root")
    graph.add("Log", ["magnitude_plus_root"], "arcsinh_magnitude")
    graph.add("Sign", [x], "sign")
    graph.add("Mul", ["sign", "arcsinh_magnitude"], output)


def _encode(graph: Graph, config: ModelConfig, weights: Weights, stateful: bool) -> None:
    """``standardised_by_time`` to ``embedding_by_time``, both (time, batch, feature)."""
    if not config.context_size:
        _bin_code(graph, config, weights, stateful, EMBEDDING_BY_TIME)
        return
    _bin_code(graph, config, _of_level(weights, "bin_level"), stateful, BIN_CODE_BY_TIME)
    add_context(graph, config, _of_level(weights, "context_level"), "context_by_time")
    graph.add("Concat", [BIN_CODE_BY_TIME, "context_by_time"], EMBEDDING_BY_TIME, axis=2)


def _of_level(weights: Weights, level: str) -> Weights:
    """Weights of one level, without its name."""
    prefix = f"{level}."
    return {name.removeprefix(prefix): values for name, values in weights.items() if name.startswith(prefix)}


def _bin_code(graph: Graph, config: ModelConfig, weights: Weights, stateful: bool, code: str) -> None:
    if stateful:
        _split_layers(graph, config)
    shown = STANDARDISED_BY_TIME
    if config.cell_types is not None:
        shown = assays_by_time(graph, config.cell_types)
    hidden, bottleneck = shown, config.architecture == "bottleneck"
    for layer in range(config.layers):
        last = layer == config.layers - 1
        output = code if last and not bottleneck else f"hidden_{layer}"
        hidden = _recurrent_layer(graph, config, weights, layer, hidden, output, stateful)
    if stateful:
        for state in STATE_OUTPUTS:
            graph.add("Concat", [f"{state}_{layer}" for layer in range(config.layers)], state, axis=0)
    if bottleneck:
        linear(graph, hidden, "bottleneck", weights["bottleneck.weight"], "bottleneck_without_bias")
        graph.add(
            "Add",
            ["bottleneck_without_bias", graph.constant("bottleneck_bias", weights["bottleneck.bias"])],
            "bottleneck",
        )
        linear(graph, shown, "around_encoder", weights["around_encoder.weight"], "around_encoder")
        if config.cell_types is None:
            graph.add("Add", ["bottleneck", "around_encoder"], code)
        else:
            graph.add("Add", ["bottleneck", "around_encoder"], "code_by_cell_type")
            side_by_side(graph, "code_by_cell_type", config.bin_code_size, code)


def _split_layers(graph: Graph, config: ModelConfig) -> None:
    for state in STATE_INPUTS:
        first, *more = [f"{state}_{layer}" for layer in range(config.layers)]
        lengths = graph.constant(f"{state}_lengths", [1] * config.layers, np.int64)
        graph.add("Split", [state, lengths], first, more, axis=0)


def _recurrent_layer(
    graph: Graph, config: ModelConfig, weights: Weights, layer: int, x: str, output: str, stateful: bool
) -> str:
    softsign = config.architecture == "published_softsign"
    before, after = ([f"{state}_{layer}" for state in states] if stateful else [] for states in
                     (STATE_INPUTS, STATE_OUTPUTS))  # fmt: skip
    hidden = recurrent_layer(
        graph,
        x,
        str(layer),
        weights,
        "encoder" if softsign else f"encoder.layers.{layer}",
        f"{output}_before_norm" if config.layer_norm else output,
        directions=config.directions,
        softsign=softsign,
        state=(before, after),
    )
    if not config.layer_norm:
        return hidden
    return layer_norm(graph, hidden, f"norm_{layer}", weights, f"encoder.norms.{layer}", output)
