"""Inference requests and responses of the protocol's REST form: JSON, and JSON with binary tensors behind it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson

from epilstm.serving.protocol.dimensions import DIMENSIONS
from epilstm.serving.server.inference_request import InferenceRequest, InputTensor, OutputTensor, Protocol, read_request
from epilstm.serving.server.refusal import Refusal, Status, bad_request
from epilstm.serving.server.tensors import DATATYPE, ModelSpec, Tensors, shown

#: JSON of a request at most: parsing holds up everything else, and takes several times its size in memory.
MAX_JSON_BYTES = 32 << 20

#: Parameters of the binary tensor extension and of this server, and the keys of each object.
REST = Protocol(
    request=frozenset({"binary_data_output", DIMENSIONS}),
    input=frozenset({"binary_data_size"}),
    output=frozenset({"binary_data"}),
)
REQUEST_KEYS = ("id", "inputs", "model_name", "model_version", "outputs", "parameters")
INPUT_KEYS = ("data", "datatype", "name", "parameters", "shape")
OUTPUT_KEYS = ("name", "parameters")

JSON_TYPE, BINARY_TYPE = "application/json", "application/octet-stream"


def parse_request(body: memoryview, json_length: int | None, model: ModelSpec, max_bins: int) -> InferenceRequest:
    """Read the body of an inference request.

    Parameters
    ----------
    json_length : int or None
        Bytes of JSON before the binary data, from the header ``Inference-Header-Content-Length``.
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
    _check_keys(content, REQUEST_KEYS, "the request")
    _check_model(content, model)
    parameters = _parameters(content, "the request")
    binary_by_default = _flag(parameters, "binary_data_output", False, "the request")
    return read_request(
        model,
        REST,
        max_bins,
        _parse_inputs(content.get("inputs"), binary),
        _parse_outputs(content.get("outputs"), binary_by_default),
        parameters=parameters,
        request_id=_typed(content, "id", str, "", "the request"),
        binary=binary_by_default,
    )


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
    for name, values in request.wanted(outputs).items():
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
        "parameters": {**model.properties, **_track_fields(model), "tracks": list(model.tracks)},
    }


def _track_fields(model: ModelSpec) -> dict[str, list[str | None]]:
    """Fields of the tracks, as far as the encoder knows them."""
    known = ("cell_types", "assays", "replicates")
    return {key: json.loads(model.properties[key]) for key in known if key in model.properties}


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


def _check_model(content: Mapping[str, Any], model: ModelSpec) -> None:
    """The model's name is in the URL; some clients write it into the body as well."""
    for key, expected in (("model_name", model.name), ("model_version", model.version)):
        if content.get(key) not in (None, "", expected):
            raise bad_request(f"the request: {key} is {shown(content[key])}, the URL names {expected}")


def _parse_inputs(described: object, binary: memoryview) -> list[InputTensor]:
    if not isinstance(described, list) or not described:
        raise bad_request(f"inputs is {shown(described)}, expected a list of tensors")
    inputs: list[InputTensor] = []
    offset = 0
    for number, entry in enumerate(described):
        if not isinstance(entry, dict):
            raise bad_request(f"inputs[{number}] is {shown(entry)}, expected an object")
        name = entry.get("name")
        if not isinstance(name, str):
            raise bad_request(f"inputs[{number}]: name is {shown(name)}, expected a string")
        where = f"input {shown(name)}"
        _check_keys(entry, INPUT_KEYS, where)
        parameters = _parameters(entry, where)
        size = parameters.get("binary_data_size")
        contents = entry.get("data")
        if size is not None:
            if type(size) is not int or not 0 <= size <= len(binary) - offset:
                raise bad_request(
                    f"{where}: binary_data_size is {shown(size)}, {len(binary) - offset:,} bytes are left of the body"
                )
            if "data" in entry:
                raise bad_request(f"{where}: both data and parameters.binary_data_size; give one")
            contents = binary[offset : offset + size]
            offset += size
        inputs.append(InputTensor(name, entry.get("datatype"), entry.get("shape"), contents, parameters))
    if offset != len(binary):
        raise bad_request(f"the body has {len(binary) - offset:,} bytes more than its inputs say")
    return inputs


def _parse_outputs(described: object, binary_by_default: bool) -> list[OutputTensor]:
    if described is None:
        return []
    if not isinstance(described, list):
        raise bad_request(f"outputs is {shown(described)}, expected a list")
    outputs: list[OutputTensor] = []
    for number, entry in enumerate(described):
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise bad_request(f"outputs[{number}] is {shown(entry)}, expected an object with a name")
        where = f"output {shown(entry['name'])}"
        _check_keys(entry, OUTPUT_KEYS, where)
        parameters = _parameters(entry, where)
        binary = _flag(parameters, "binary_data", binary_by_default, where)
        outputs.append(OutputTensor(entry["name"], binary, parameters))
    return outputs


def _check_keys(entry: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in entry:
        if key not in known:
            raise bad_request(f"{where}: no such key {shown(key)}; there are {', '.join(known)}")


def _parameters(entry: Mapping[str, Any], where: str) -> dict[str, Any]:
    parameters: dict[str, Any] = _typed(entry, "parameters", dict, {}, where)
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
