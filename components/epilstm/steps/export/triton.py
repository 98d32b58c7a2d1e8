"""A Triton model repository: ``<name>/config.pbtxt`` and ``<name>/<version>/model.onnx``."""

from __future__ import annotations

import json

from epilstm.model.config import ModelConfig
from epilstm.model.encoder_folder import EMBEDDING, SIGNAL, STATE_INPUTS, STATE_OUTPUTS
from epilstm.tracks.identity import TrackSet

#: Largest batch that Triton gathers from waiting requests, and how long it waits for more.
MAX_BATCH, MAX_DELAY_MICROSECONDS = 64, 1000


def encoder_config(config: ModelConfig, tracks: TrackSet) -> str:
    """``config.pbtxt`` of the encoder: requests of the same length are gathered into batches."""
    return (
        _head("encoder", MAX_BATCH)
        + _tensors("input", {SIGNAL: [-1, config.tracks]})
        + _tensors("output", {EMBEDDING: [-1, config.embedding_size]})
        + f"dynamic_batching {{ max_queue_delay_microseconds: {MAX_DELAY_MICROSECONDS} }}\n"
        + _parameters(tracks)
    )


def stateful_encoder_config(config: ModelConfig, tracks: TrackSet) -> str:
    """``config.pbtxt`` of the stateful encoder.

    Triton's own batching needs the batch as each tensor's first axis, and the state's is the layer; so the caller
    makes the batches (`max_batch_size` 0).
    """
    state = [config.layers, -1, config.hidden_size]
    return (
        _head("encoder_stateful", 0)
        + _tensors("input", {SIGNAL: [-1, -1, config.tracks], **dict.fromkeys(STATE_INPUTS, state)})
        + _tensors("output", {EMBEDDING: [-1, -1, config.embedding_size], **dict.fromkeys(STATE_OUTPUTS, state)})
        + _parameters(tracks)
    )


def _parameters(tracks: TrackSet) -> str:
    """Names and fields of the tracks, a JSON list each, as the encoder file has them."""
    stated = {"tracks": json.dumps(tracks.names), **field_metadata(tracks)}
    return "".join(
        f'parameters {{ key: "{key}" value {{ string_value: {json.dumps(value)} }} }}\n'
        for key, value in stated.items()
    )


def field_metadata(tracks: TrackSet) -> dict[str, str]:
    """Fields of the tracks, a JSON list each; none where only names are known."""
    if not tracks.known:
        return {}
    replicates = {"replicates": json.dumps(tracks.replicates)} if any(tracks.replicates) else {}
    return {"cell_types": json.dumps(tracks.cell_types), "assays": json.dumps(tracks.assays), **replicates}


def _head(name: str, max_batch: int) -> str:
    return f'name: "{name}"\nplatform: "onnxruntime_onnx"\nmax_batch_size: {max_batch}\n'


def _tensors(kind: str, shapes: dict[str, list[int]]) -> str:
    lines = [f'  {{ name: "{name}", data_type: TYPE_FP32, dims: {shape} }}' for name, shape in shapes.items()]
    return f"{kind} [\n" + ",\n".join(lines) + "\n]\n"
