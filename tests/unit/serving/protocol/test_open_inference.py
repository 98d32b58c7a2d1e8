"""gRPC messages: the same on the wire as those of other implementations."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

from epilstm.serving.protocol.open_inference import MAX_FIELDS, MESSAGES, PROTOCOL, parse_infer_request


def described(descriptor) -> dict:
    return {
        field.name: (
            field.number,
            field.type,
            field.is_repeated,
            field.message_type.full_name if field.message_type else None,
            field.message_type.GetOptions().map_entry if field.message_type else None,
            field.containing_oneof.name if field.containing_oneof else None,
        )
        for field in descriptor.fields
    }


@pytest.mark.parametrize("name", PROTOCOL)
def test_messages_are_those_of_tritonclient(name):
    outer, _, inner = name.partition(".")
    expected = service_pb2.DESCRIPTOR.message_types_by_name[outer]
    expected = described(expected.nested_types_by_name[inner] if inner else expected)
    found = described(MESSAGES[name].DESCRIPTOR)
    # The protocol has it, Triton has not.
    properties = found.pop("properties", None)
    assert (properties is not None) == (name == "ModelMetadataResponse")
    assert found == expected


def request(raw: list[bytes]) -> bytes:
    message = service_pb2.ModelInferRequest(model_name="encoder", id="1", raw_input_contents=raw)
    message.inputs.add(name="signal", datatype="FP32", shape=[1, 2, 3])
    message.outputs.add(name="embedding")
    message.parameters["timeout"].int64_param = -5
    return message.SerializeToString()


@given(st.lists(st.binary(max_size=300), max_size=4))
def test_raw_tensors_are_left_where_they_lie(raw):
    content = request(raw)
    message, found = parse_infer_request(content)
    assert [bytes(view) for view in found] == raw
    assert all(view.obj is content for view in found)
    expected = service_pb2.ModelInferRequest.FromString(content)
    del expected.raw_input_contents[:]
    assert message.SerializeToString(deterministic=True) == expected.SerializeToString(deterministic=True)


@given(st.data())
def test_a_damaged_message_is_read_as_protobuf_reads_it_or_refused(data):
    content = bytearray(request([b"12345678" * 3, b""]))
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        expected = service_pb2.ModelInferRequest.FromString(content)
    except DecodeError:
        with pytest.raises(ValueError, match="ModelInferRequest"):
            parse_infer_request(content)
        return
    message, raw = parse_infer_request(content)
    assert [bytes(view) for view in raw] == list(expected.raw_input_contents)
    del expected.raw_input_contents[:]
    assert message.SerializeToString(deterministic=True) == expected.SerializeToString(deterministic=True)


def test_a_message_of_countless_fields_is_refused_before_it_takes_memory():
    with pytest.raises(ValueError, match="more than"):
        parse_infer_request(b"\x3a\x00" * (MAX_FIELDS + 1))
