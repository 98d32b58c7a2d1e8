"""The context level as ONNX nodes: frames of the standardised signal to a code of each bin's context.

The numbers of frames and bins are free, so the graph computes with shapes; onnxruntime does that on the CPU, wherever
it runs the rest.
"""

from __future__ import annotations

import numpy as np

from epilstm.genome.frames import frame_weights
from epilstm.model.cell_type_graph import limits, means_around, of_assays, of_others, side_by_side
from epilstm.model.cell_types import CellTypes
from epilstm.model.config import ModelConfig
from epilstm.model.encoder_folder import CONTEXT_CODES, FRAME_TOKENS, STANDARDISED_BY_TIME
from epilstm.model.frames import STATISTICS
from epilstm.model.onnx_layers import Graph, Weights, linear, recurrent_layer


def add_context(graph: Graph, config: ModelConfig, weights: Weights, output: str) -> str:
    """``standardised_by_time`` (time, batch, track) to the context's code of each bin (time, batch, dim).

    Parameters
    ----------
    graph : Graph
    config : ModelConfig
    weights : mapping of str to array
        Of the context level.
    output : str
    """
    _tokens(graph, config.frame_bins)
    graph.add("Sub", [FRAME_TOKENS, graph.constant("token_mean", weights["token_mean"])], "centred_tokens")
    graph.add("Div", ["centred_tokens", graph.constant("token_scale", weights["token_scale"])], "tokens")
    if config.cell_types is None:
        _recurrent_code(graph, weights, "tokens", CONTEXT_CODES)
    else:
        _codes_by_cell_type(graph, config, config.cell_types, weights)
    return _spread(graph, config, output)


def _tokens(graph: Graph, frame_bins: int) -> None:
    """The last frame, whole or not, is summarised by itself, so that no bin need be made up."""
    graph.add("Shape", [STANDARDISED_BY_TIME], "bins", start=0, end=1)
    graph.add("Sub", ["bins", graph.constant("one_bin", [1], np.int64)], "bins_but_one")
    graph.add("Div", ["bins_but_one", graph.constant("frame_bins", [frame_bins], np.int64)], "frames_but_last")
    graph.add("Mul", ["frames_but_last", "frame_bins"], "bins_before_last")
    axis = graph.constant("time_axis", [0], np.int64)
    start = graph.constant("no_bin", [0], np.int64)
    graph.add("Slice", [STANDARDISED_BY_TIME, start, "bins_before_last", axis], "whole_frames_by_time")
    graph.add("Slice", [STANDARDISED_BY_TIME, "bins_before_last", "bins", axis], "last_frame_by_time")
    graph.add("Shape", [STANDARDISED_BY_TIME], "batch_and_tracks", start=1, end=3)
    graph.add("Concat", ["frames_but_last", "frame_bins", "batch_and_tracks"], "frames_shape", axis=0)
    graph.add("Reshape", ["whole_frames_by_time", "frames_shape"], "whole_frames", allowzero=1)
    graph.add("Unsqueeze", ["last_frame_by_time", axis], "last_frame")
    for frames in ("whole_frames", "last_frame"):
        graph.add("ReduceMean", [frames], f"{frames}_mean", axes=[1], keepdims=1)
        graph.add("Sub", [frames, f"{frames}_mean"], f"{frames}_centred")
        graph.add("Mul", [f"{frames}_centred", f"{frames}_centred"], f"{frames}_squares")
        graph.add("ReduceMean", [f"{frames}_squares"], f"{frames}_variance", axes=[1], keepdims=1)
        graph.add("Sqrt", [f"{frames}_variance"], f"{frames}_deviation")
        graph.add("ReduceMax", [frames], f"{frames}_maximum", axes=[1], keepdims=1)
        statistics = [f"{frames}_{name}" for name in ("mean", "maximum", "deviation")]
        graph.add("Concat", statistics, f"{frames}_statistics", axis=3)
    graph.add("Concat", ["whole_frames_statistics", "last_frame_statistics"], "frame_statistics", axis=0)
    graph.add("Squeeze", ["frame_statistics", graph.constant("bin_axis", [1], np.int64)], FRAME_TOKENS)


def _recurrent_code(graph: Graph, weights: Weights, tokens: str, output: str) -> str:
    recurrent_layer(graph, tokens, "context", weights, "encoder", "context_hidden", directions=2)
    linear(graph, "context_hidden", "context_code", weights["code.weight"], "context_code_without_bias")
    bias = graph.constant("context_code_bias", weights["code.bias"])
    graph.add("Add", ["context_code_without_bias", bias], "context_code")
    linear(graph, tokens, "around_context", weights["around_encoder.weight"], "around_context")
    return graph.add("Add", ["context_code", "around_context"], output)


def _codes_by_cell_type(graph: Graph, config: ModelConfig, cell_types: CellTypes, weights: Weights) -> None:
    """The three blocks of `epilstm.model.cell_type_context.CellTypeContext`, of all cell types side by side."""
    values, observed = of_assays(graph, "tokens", cell_types, STATISTICS, "token")
    assays = len(cell_types.assays)
    own = graph.add("Slice", [values, *limits(graph, "own_means", 0, assays, 2)], "token_means")
    means = means_around(graph, own, config.context_reaches, "means_around")
    graph.add("Concat", [values, observed], "tokens_by_cell_type", axis=2)
    blocks = [
        _linear_block(graph, weights, "linear", means) if config.linear_size else None,
        _recurrent_code(graph, weights, "tokens_by_cell_type", "recurrent_block"),
        _linear_block(
            graph, weights, "consensus", of_others(graph, means, observed, cell_types, 1 + len(config.context_reaches))
        )
        if config.consensus_size
        else None,
    ]
    graph.add("Concat", [block for block in blocks if block is not None], "context_code_by_cell_type", axis=2)
    side_by_side(graph, "context_code_by_cell_type", config.context_size, CONTEXT_CODES)


def _linear_block(graph: Graph, weights: Weights, name: str, means: str) -> str:
    linear(graph, means, f"{name}_block", weights[f"{name}.weight"], f"{name}_block_without_bias")
    bias = graph.constant(f"{name}_block_bias", weights[f"{name}.bias"])
    return graph.add("Add", [f"{name}_block_without_bias", bias], f"{name}_block")


def _spread(graph: Graph, config: ModelConfig, output: str) -> str:
    """Codes of frames (frame, batch, dim), linearly between the frames' centres, to bins."""
    limits = {name: graph.constant(name, [value], np.int64) for name, value in
              (("first", 0), ("second", 1), ("last", -1), ("end", np.iinfo(np.int64).max))}  # fmt: skip
    axis = limits["first"]
    for name, start, stop in (
        ("first_code", "first", "second"),
        ("codes_but_last", "first", "last"),
        ("codes_but_first", "second", "end"),
        ("last_code", "last", "end"),
    ):
        graph.add("Slice", [CONTEXT_CODES, limits[start], limits[stop], axis], name)
    graph.add("Concat", ["first_code", "codes_but_last"], "codes_before", axis=0)
    graph.add("Concat", ["codes_but_first", "last_code"], "codes_behind", axis=0)
    shares = frame_weights(config.frame_bins)[:, :, None, None]
    parts = []
    for codes, share in zip(("codes_before", CONTEXT_CODES, "codes_behind"), shares, strict=True):
        graph.add("Unsqueeze", [codes, limits["second"]], f"{codes}_of_frame")
        parts.append(graph.add("Mul", [f"{codes}_of_frame", graph.constant(f"{codes}_share", share)], f"{codes}_part"))
    graph.add("Add", parts[:2], "context_before_and_own")
    graph.add("Add", ["context_before_and_own", parts[2]], "context_by_frame")
    graph.add("Shape", [CONTEXT_CODES], "batch_and_codes", start=1, end=3)
    graph.add("Concat", [limits["last"], "batch_and_codes"], "context_shape", axis=0)
    graph.add("Reshape", ["context_by_frame", "context_shape"], "context_of_whole_frames")
    return graph.add("Slice", ["context_of_whole_frames", axis, "bins", axis], output)
