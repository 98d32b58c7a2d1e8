"""Messages of the Open Inference Protocol v2 and of gRPC's health check, as protobuf classes.

They are built from the tables below in a pool of their own: generated modules of the same names, such as those of
tritonclient or kserve, may be imported beside them.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "bool": _Field.TYPE_BOOL,
    "bytes": _Field.TYPE_BYTES,
    "double": _Field.TYPE_DOUBLE,
    "float": _Field.TYPE_FLOAT,
    "int32": _Field.TYPE_INT32,
    "int64": _Field.TYPE_INT64,
    "string": _Field.TYPE_STRING,
    "uint32": _Field.TYPE_UINT32,
    "uint64": _Field.TYPE_UINT64,
}

#: Message -> field -> (number, type). ``*`` marks a repeated field, ``map:`` a map from strings, ``|`` one of a choice.
PROTOCOL: dict[str, dict[str, tuple[int, str]]] = {
    "ServerLiveRequest": {},
    "ServerLiveResponse": {"live": (1, "bool")},
    "ServerReadyRequest": {},
    "ServerReadyResponse": {"ready": (1, "bool")},
    "ModelReadyRequest": {"name": (1, "string"), "version": (2, "string")},
    "ModelReadyResponse": {"ready": (1, "bool")},
    "ServerMetadataRequest": {},
    "ServerMetadataResponse": {"name": (1, "string"), "version": (2, "string"), "extensions": (3, "*string")},
    "ModelMetadataRequest": {"name": (1, "string"), "version": (2, "string")},
    "ModelMetadataResponse": {
        "name": (1, "string"),
        "versions": (2, "*string"),
        "platform": (3, "string"),
        "inputs": (4, "*ModelMetadataResponse.TensorMetadata"),
        "outputs": (5, "*ModelMetadataResponse.TensorMetadata"),
        "properties": (6, "map:string"),
    },
    "ModelMetadataResponse.TensorMetadata": {"name": (1, "string"), "datatype": (2, "string"), "shape": (3, "*int64")},
    "InferParameter": {
        "bool_param": (1, "|bool"),
        "int64_param": (2, "|int64"),
        "string_param": (3, "|string"),
        "double_param": (4, "|double"),
        "uint64_param": (5, "|uint64"),
    },
    "InferTensorContents": {
        "bool_contents": (1, "*bool"),
        "int_contents": (2, "*int32"),
        "int64_contents": (3, "*int64"),
        "uint_contents": (4, "*uint32"),
        "uint64_contents": (5, "*uint64"),
        "fp32_contents": (6, "*float"),
        "fp64_contents": (7, "*double"),
        "bytes_contents": (8, "*bytes"),
    },
    "ModelInferRequest": {
        "model_name": (1, "string"),
        "model_version": (2, "string"),
        "id": (3, "string"),
        "parameters": (4, "map:InferParameter"),
        "inputs": (5, "*ModelInferRequest.InferInputTensor"),
        "outputs": (6, "*ModelInferRequest.InferRequestedOutputTensor"),
        "raw_input_contents": (7, "*bytes"),
    },
    "ModelInferRequest.InferInputTensor": {
        "name": (1, "string"),
        "datatype": (2, "string"),
        "shape": (3, "*int64"),
        "parameters": (4, "map:InferParameter"),
        "contents": (5, "InferTensorContents"),
    },
    "ModelInferRequest.InferRequestedOutputTensor": {"name": (1, "string"), "parameters": (2, "map:InferParameter")},
    "ModelInferResponse": {
        "model_name": (1, "string"),
        "model_version": (2, "string"),
        "id": (3, "string"),
        "parameters": (4, "map:InferParameter"),
        "outputs": (5, "*ModelInferResponse.InferOutputTensor"),
        "raw_output_contents": (6, "*bytes"),
    },
    "ModelInferResponse.InferOutputTensor": {
        "name": (1, "string"),
        "datatype": (2, "string"),
        "shape": (3, "*int64"),
        "parameters": (4, "map:InferParameter"),
        "contents": (5, "InferTensorContents"),
    },
}
HEALTH: dict[str, dict[str, tuple[int, str]]] = {
    "HealthCheckRequest": {"service": (1, "string")},
    "HealthCheckResponse": {"status": (1, "int32")},
}

SERVICE, HEALTH_SERVICE = "inference.GRPCInferenceService", "grpc.health.v1.Health"

#: Values of the health check's enumeration, which on the wire is an integer.
HEALTH_SERVING, HEALTH_NOT_SERVING = 1, 2

#: Fields of a request at most; a real one has some ten.
MAX_FIELDS = 1000

#: Field of the raw tensors in a `ModelInferRequest`.
RAW_INPUT_CONTENTS = PROTOCOL["ModelInferRequest"]["raw_input_contents"][0]


def _file(package: str, messages: dict[str, dict[str, tuple[int, str]]]) -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name=f"epilstm/{package}.proto", package=package, syntax="proto3")
    made: dict[str, descriptor_pb2.DescriptorProto] = {}
    for name, fields in messages.items():
        outer, _, inner = name.rpartition(".")
        message = made[outer].nested_type.add(name=inner) if outer else file.message_type.add(name=name)
        made[name] = message
        for field, (number, kind) in fields.items():
            _add_field(message, f".{package}.{name}", field, number, kind, package)
    return file


def _add_field(
    message: descriptor_pb2.DescriptorProto, full_name: str, name: str, number: int, kind: str, package: str
) -> None:
    field = message.field.add(name=name, number=number, label=_Field.LABEL_OPTIONAL)
    if kind.startswith("map:"):
        entry = message.nested_type.add(name="".join(word.capitalize() for word in name.split("_")) + "Entry")
        entry.options.map_entry = True
        _add_field(entry, "", "key", 1, "string", package)
        _add_field(entry, "", "value", 2, kind.removeprefix("map:"), package)
        field.label, field.type, field.type_name = (
            _Field.LABEL_REPEATED,
            _Field.TYPE_MESSAGE,
            f"{full_name}.{entry.name}",
        )
        return
    if kind.startswith("*"):
        field.label = _Field.LABEL_REPEATED
    if kind.startswith("|"):
        if not message.oneof_decl:
            message.oneof_decl.add(name="parameter_choice")
        field.oneof_index = 0
    bare = kind.lstrip("*|")
    if bare in _SCALARS:
        field.type = _SCALARS[bare]
    else:
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{package}.{bare}"


def _classes() -> dict[str, Any]:
    pool = descriptor_pool.DescriptorPool()
    classes = {}
    for package, messages in (("inference", PROTOCOL), ("grpc.health.v1", HEALTH)):
        pool.Add(_file(package, messages))
        for name in messages:
            classes[name] = message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))
    return classes


#: Protobuf class of each message.
MESSAGES: dict[str, Any] = _classes()


def parse_message(name: str, content: bytes) -> Any:
    """Read a message.

    Raises
    ------
    ValueError
        The bytes are not one.
    """
    try:
        return MESSAGES[name].FromString(content)
    except DecodeError as error:
        raise ValueError(f"not a {name}") from error


def parse_infer_request(content: bytes) -> tuple[Message, list[memoryview]]:
    """Read a `ModelInferRequest` and leave its raw tensors where they lie.

    Protobuf would copy them twice; they are nearly all of a request.

    Returns
    -------
    message
        Without its raw tensors.
    list of memoryview
        The raw tensors.

    Raises
    ------
    ValueError
        The bytes are not such a message.
    """
    raw: list[memoryview] = []
    rest: list[memoryview] = []
    view = memoryview(content)
    position = 0
    while position < len(view):
        if len(raw) + len(rest) == MAX_FIELDS:
            raise ValueError(f"a ModelInferRequest of more than {MAX_FIELDS} fields")
        start = position
        tag, position = _varint(view, position)
        wire_type = tag & 7
        if wire_type == 2:
            length, position = _varint(view, position)
            if position + length > len(view):
                raise ValueError("not a ModelInferRequest")
            if tag >> 3 == RAW_INPUT_CONTENTS:
                raw.append(view[position : position + length])
                position += length
                continue
            position += length
        elif wire_type == 0:
            _, position = _varint(view, position)
        elif wire_type in (1, 5):
            position += 8 if wire_type == 1 else 4
        else:  # groups, which no known sender has: protobuf's own reader decides
            message = parse_message("ModelInferRequest", content)
            raw = [memoryview(value) for value in message.raw_input_contents]
            del message.raw_input_contents[:]
            return message, raw
        rest.append(view[start:position])
    return parse_message("ModelInferRequest", b"".join(rest)), raw


def _varint(view: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(view) and shift < 70:
        byte = view[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, position
        shift += 7
    raise ValueError("not a ModelInferRequest")
