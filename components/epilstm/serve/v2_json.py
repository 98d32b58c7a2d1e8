"""Inference requests and responses of the protocol's REST form: JSON, and JSON with binary tensors behind it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

from epilstm.serve.refusal import Refusal, Status, bad_request
from epilstm.serve.tensors import (
    DATATYPE,
    DTYPE,
    ModelSpec,
    Tensor,
    Tensors,
    check_declared,
    check_together,
    from_binary,
    from_list,
    shown,
)

#: JSON of a request at most: parsing holds up everything else, and takes several times its size in memory.
MAX_JSON_BYTES = 32 << 20

#: Parameters that ask for what this server has not.
UNSUPPORTED_PARAMETERS = ("shared_memory_region", "classification", "sequence_id")

JSON_TYPE, BINARY_TYPE = "application/json", "application/octet-stream"


@dataclass(frozen=True)
class InferenceRequest:
    """A request that the model can answer.

    Parameters
    ----------
    inputs : mapping of str to array
        Views of the request's bytes where those are binary.
    outputs : tuple of str
        Wanted, in the order of the answer.
    id : str
        Given back in the answer; may be empty.
    binary : frozenset of str
        Outputs wanted as binary data.
    """

    inputs: Tensors
    outputs: tuple[str, ...]
    id: str = ""
    binary: frozenset[str] = field(default_factory=frozenset)


def parse_request(body: memoryview, json_length: int | None, model: ModelSpec, max_bins: int) -> InferenceRequest:
    """Read the body of an inference request.

    Parameters
    ----------
    body : memoryview
    json_length : int or None
        Bytes of JSON before the binary data, from the header ``Inference-Header-Content-Length``.
    model : ModelSpec
    max_bins : int
        Bins (batch x time) of a request at most.

    Raises
    ------
    Refusal
        It is not a request that the model can answer; the message names the first thing wrong.
    """
    if json_length is not None and not 0 < json_length <= len(body):
        raise bad_request(
            f"Inference-Header-Content-Length is {json_length:,}, the body has {len(body):,} bytes; "
            "it is the length of the JSON before the binary data"
        )
    content = _parse_json(body if json_length is None else body[:json_length])
    binary = body[len(body) :] if json_length is None else body[json_length:]
    request_id = _typed(content, "id", str, "", "the request")
    parameters = _parameters(content, "the request")
    inputs = _parse_inputs(content.get("inputs"), binary, model)
    check_together(model, inputs, max_bins)
    binary_by_default = _flag(parameters, "binary_data_output", False, "the request")
    outputs, wanted_binary = _parse_outputs(content.get("outputs"), model, binary_by_default)
    return InferenceRequest(inputs, outputs, request_id, wanted_binary)


def format_response(model: ModelSpec, request: InferenceRequest, outputs: Tensors) -> tuple[list[bytes], int | None]:
    """Write the body of an inference response.

    Returns
    -------
    list of bytes
        The body in parts.
    int or None
        Bytes of JSON before the binary data; None where there is none.
    """
    described, binary = [], []
    for name in request.outputs:
        values = np.ascontiguousarray(outputs[name], DTYPE)
        entry: dict[str, Any] = {"name": name, "datatype": DATATYPE, "shape": list(values.shape)}
        if name in request.binary:
            entry["parameters"] = {"binary_data_size": values.nbytes}
            binary.append(values.tobytes())
        else:
            entry["data"] = values.ravel()
        described.append(entry)
    content: dict[str, Any] = {"model_name": model.name, "model_version": model.version, "outputs": described}
    if request.id:
        content["id"] = request.id
    head = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    return [head, *binary], len(head) if binary else None


def describe_model(model: ModelSpec) -> dict[str, Any]:
    """Metadata of a model."""

    def tensors(specs: Any) -> list[dict[str, Any]]:
        return [{"name": spec.name, "datatype": DATATYPE, "shape": spec.protocol_shape} for spec in specs]

    return {
        "name": model.name,
        "versions": [model.version],
        "platform": "onnxruntime_onnx",
        "inputs": tensors(model.inputs),
        "outputs": tensors(model.outputs),
        "parameters": {**model.properties, "tracks": list(model.tracks)},
    }


def _parse_json(text: memoryview) -> dict[str, Any]:
    if len(text) > MAX_JSON_BYTES:
        raise Refusal(
            Status.CONTENT_TOO_LARGE,
            f"{len(text):,} bytes of JSON, more than {MAX_JSON_BYTES:,}; send tensors as binary data",
        )
    try:
        content = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        content = _parse_json_with_nan(bytes(text), error)
    if not isinstance(content, dict):
        raise bad_request(f"the request is {shown(content)}, expected a JSON object")
    return content


def _parse_json_with_nan(text: bytes, error: Exception) -> Any:
    """Some clients write NaN, which is not JSON but is what a signal has where there is no data."""
    if b"NaN" in text:
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            pass
    raise bad_request(f"the request is not JSON: {error}") from error


def _parse_inputs(described: object, binary: memoryview, model: ModelSpec) -> dict[str, Tensor]:
    if not isinstance(described, list) or not described:
        raise bad_request(f"inputs is {shown(described)}, expected a list of tensors")
    inputs: dict[str, Tensor] = {}
    offset = 0
    for number, entry in enumerate(described):
        if not isinstance(entry, dict):
            raise bad_request(f"inputs[{number}] is {shown(entry)}, expected an object")
        name = entry.get("name")
        if not isinstance(name, str):
            raise bad_request(f"inputs[{number}]: name is {shown(name)}, expected a string")
        if name in inputs:
            raise bad_request(f"input {name} is given twice")
        spec = model.input(name)
        shape = check_declared(spec, entry.get("datatype"), entry.get("shape"))
        size = _parameters(entry, f"input {name}").get("binary_data_size")
        if size is None:
            if "data" not in entry:
                raise bad_request(f"input {name}: neither data nor parameters.binary_data_size")
            inputs[name] = from_list(spec, shape, entry["data"])
            continue
        if type(size) is not int or not 0 <= size <= len(binary) - offset:
            raise bad_request(
                f"input {name}: binary_data_size is {shown(size)}, {len(binary) - offset:,} bytes are left of the body"
            )
        if "data" in entry:
            raise bad_request(f"input {name}: both data and parameters.binary_data_size; give one")
        inputs[name] = from_binary(spec, shape, binary[offset : offset + size])
        offset += size
    if offset != len(binary):
        raise bad_request(f"the body has {len(binary) - offset:,} bytes more than its inputs say")
    return inputs


def _parse_outputs(
    described: object, model: ModelSpec, binary_by_default: bool
) -> tuple[tuple[str, ...], frozenset[str]]:
    if described is None or described == []:
        names = tuple(spec.name for spec in model.outputs)
        return names, frozenset(names if binary_by_default else ())
    if not isinstance(described, list):
        raise bad_request(f"outputs is {shown(described)}, expected a list")
    wanted: dict[str, bool] = {}
    for number, entry in enumerate(described):
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise bad_request(f"outputs[{number}] is {shown(entry)}, expected an object with a name")
        name = model.output(entry["name"]).name
        if name in wanted:
            raise bad_request(f"output {name} is asked for twice")
        parameters = _parameters(entry, f"output {name}")
        wanted[name] = _flag(parameters, "binary_data", binary_by_default, f"output {name}")
    return tuple(wanted), frozenset(name for name, binary in wanted.items() if binary)


def _parameters(entry: Mapping[str, Any], where: str) -> dict[str, Any]:
    parameters: dict[str, Any] = _typed(entry, "parameters", dict, {}, where)
    for name in UNSUPPORTED_PARAMETERS:
        if parameters.get(name):
            raise bad_request(f"{where}: parameter {name} is not supported")
    return parameters


def _flag(parameters: Mapping[str, Any], name: str, default: bool, where: str) -> bool:
    return bool(_typed(parameters, name, bool, default, where))


def _typed(entry: Mapping[str, Any], key: str, kind: type, default: Any, where: str) -> Any:
    value = entry.get(key)
    if value is None:
        return default
    if not isinstance(value, kind):
        raise bad_request(f"{where}: {key} is {shown(value)}, expected {_KINDS[kind]}")
    return value


_KINDS: dict[type, str] = {str: "a string", dict: "an object", bool: "true or false"}
