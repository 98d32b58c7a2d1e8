"""REST bodies: what they mean, and what is said of those that mean nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from epilstm.serving.server import v2_json
from epilstm.serving.server.refusal import Refusal, Status
from epilstm.serving.server.tensors import ModelSpec, TensorSpec, refuse_infinite
from epilstm.serving.server.v2_json import format_response, parse_request

ENCODER = ModelSpec(
    "encoder",
    "1",
    (TensorSpec("signal", ("batch", "time", 3)),),
    (TensorSpec("embedding", ("batch", "time", 2)),),
    tracks=("a", "b", "c"),
)
STATEFUL = ModelSpec(
    "encoder_stateful",
    "1",
    (
        TensorSpec("signal", ("batch", "time", 3)),
        TensorSpec("h0", (1, "batch", 4)),
        TensorSpec("c0", (1, "batch", 4)),
    ),
    (
        TensorSpec("embedding", ("batch", "time", 2)),
        TensorSpec("h", (1, "batch", 4)),
        TensorSpec("c", (1, "batch", 4)),
    ),
)
SIGNAL = {"name": "signal", "datatype": "FP32", "shape": [1, 2, 3], "data": [1, 2, 3, 4, 5, 6]}


def parse(content: object, binary: bytes | None = None, model: ModelSpec = ENCODER, max_bins: int = 1000):
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    body = memoryview(text + (binary or b""))
    return parse_request(body, None if binary is None else len(text), model, max_bins)


def signal(**changes: object) -> dict:
    return {"inputs": [{**SIGNAL, **changes}]}


def binary_signal(values: np.ndarray, **changes: object) -> dict:
    described = {"name": "signal", "datatype": "FP32", "shape": list(values.shape)}
    return {"inputs": [{**described, "parameters": {"binary_data_size": values.nbytes}, **changes}]}


shapes = st.tuples(st.integers(1, 4), st.integers(1, 5), st.just(3))
signals = shapes.flatmap(
    lambda shape: arrays.arrays(np.float32, shape, elements=st.floats(-(2.0**100), 2.0**100, width=32))
)


@given(signals)
def test_binary_data_are_the_tensor(values):
    np.testing.assert_array_equal(parse(binary_signal(values), values.tobytes()).inputs["signal"], values)


@given(signals, st.booleans())
def test_json_data_are_the_tensor_flat_or_nested(values, nested):
    data = values.tolist() if nested else values.ravel().tolist()
    parsed = parse(signal(shape=list(values.shape), data=data))
    np.testing.assert_array_equal(parsed.inputs["signal"], values)


def test_binary_data_are_not_copied():
    values = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
    head = json.dumps(binary_signal(values)).encode()
    body = bytearray(head + values.tobytes())
    parsed = parse_request(memoryview(body), len(head), ENCODER, 10)
    body[len(head) : len(head) + 4] = np.float32(9).tobytes()
    assert parsed.inputs["signal"][0, 0, 0] == 9


def test_null_and_nan_stand_for_no_data():
    for missing in ("null", "NaN"):
        text = json.dumps(signal()).replace("[1, 2, 3, 4", f"[1, {missing}, 3, 4").encode()
        np.testing.assert_array_equal(parse(text).inputs["signal"][0], [[1, np.nan, 3], [4, 5, 6]])


def test_numbers_beyond_float32_are_infinite_and_reported_as_such():
    parsed = parse(signal(data=[1, 2, 3, 4, 5e300, 6]))
    problem = refuse_infinite(ENCODER, parsed.inputs)
    assert problem is not None
    assert "inf at [0, 1, 1]" in problem.message


REFUSED = {
    "not JSON": (b"{", "the request is not JSON"),
    "not UTF-8": (b"\xff\xfe", "the request is not JSON"),
    "NaN in what is not JSON either": (b"{NaN", "the request is not JSON"),
    "too deep": (b"[" * 100_000, "the request is not JSON"),
    "a list": ([1], "expected a JSON object"),
    "no inputs": ({}, "inputs is None"),
    "empty inputs": ({"inputs": []}, "expected a list of tensors"),
    "inputs an object": ({"inputs": {"signal": 1}}, "expected a list of tensors"),
    "an input that is no object": ({"inputs": [3]}, "inputs[0] is 3"),
    "no name": (signal(name=None), "name is None"),
    "another name": (signal(name="x"), "has no input 'x'; it has signal"),
    "twice": ({"inputs": [SIGNAL, SIGNAL]}, "input signal is given twice"),
    "another datatype": (signal(datatype="FP64"), "is FP64; send FP32"),
    "no datatype": (signal(datatype=None), "None is not a datatype; send FP32"),
    "shape a string": (signal(shape="1,2,3"), "is not a list of integers"),
    "shape of truth values": (signal(shape=[True, 2, 3]), "is not a list of integers"),
    "shape of fractions": (signal(shape=[1.0, 2, 3]), "is not a list of integers"),
    "two axes": (signal(shape=[2, 3]), "has 2 axes, expected (batch, time, 3)"),
    "wrong track count": (signal(shape=[1, 1, 6]), "has 6 tracks, the model 3"),
    "no sequence": (signal(shape=[0, 2, 3], data=[]), "is empty or impossible"),
    "no bin": (signal(shape=[1, 0, 3], data=[]), "is empty or impossible"),
    "a negative length": (signal(shape=[-1, 2, 3]), "is empty or impossible"),
    "an impossible length": (signal(shape=[2**62, 2**62, 3]), "is empty or impossible"),
    "too few numbers": (signal(data=[1, 2]), "data has 2 numbers, its shape takes 6"),
    "too many numbers": (signal(data=[1] * 7), "data has 7 numbers, its shape takes 6"),
    "ragged": (signal(data=[[[1, 2, 3], [4, 5]]]), "not nested as its shape"),
    "nested too deep": (signal(data=[[[[1], 2, 3], [4, 5, 6]]]), "holds other than numbers"),
    "nested with numbers between": (signal(data=[[[1, 2, 3], 4]]), "not nested as its shape"),
    "strings": (signal(data=["1"] * 6), "holds other than numbers"),
    "truth values": (signal(data=[True] * 6), "holds other than numbers"),
    "an object": (signal(data={"a": 1}), "expected a list of numbers"),
    "no data": ({"inputs": [{k: v for k, v in SIGNAL.items() if k != "data"}]}, "has no data"),
    "shared memory": (signal(parameters={"shared_memory_region": "x"}), "'shared_memory_region' is not supported"),
    "a sequence": ({**signal(), "parameters": {"sequence_id": 7}}, "'sequence_id' is not supported"),
    "an unknown number": ({**signal(), "parameters": {"dimensions": "e2"}}, "no number 'e2'; there are e0, e1"),
    "numbers of no name": ({**signal(), "parameters": {"dimensions": [1]}}, "dimensions is [1], expected names"),
    "a priority": ({**signal(), "parameters": {"priority": 2}}, "there is binary_data_output"),
    "classes": (
        {**signal(), "outputs": [{"name": "embedding", "parameters": {"classification": 3}}]},
        "output embedding: parameter 'classification' is not supported",
    ),
    "a key of another spelling": ({**signal(), "outptus": []}, "no such key 'outptus'"),
    "a key of an input": (signal(dtype="FP32"), "input 'signal': no such key 'dtype'"),
    "a key of an output": ({**signal(), "outputs": [{"name": "embedding", "n": 1}]}, "no such key 'n'"),
    "another model's name": ({**signal(), "model_name": "other"}, "model_name is 'other', the URL names encoder"),
    "parameters a list": (signal(parameters=[1]), "parameters is [1], expected an object"),
    "id a number": ({**signal(), "id": 7}, "id is 7, expected a string"),
    "an output of another name": ({**signal(), "outputs": [{"name": "x"}]}, "has no output 'x'; it has embedding"),
    "an output twice": ({**signal(), "outputs": [{"name": "embedding"}] * 2}, "asked for twice"),
    "outputs a string": ({**signal(), "outputs": "embedding"}, "expected a list"),
    "binary_data a string": (
        {**signal(), "outputs": [{"name": "embedding", "parameters": {"binary_data": "yes"}}]},
        "binary_data is 'yes', expected true or false",
    ),
    "too many bins": (signal(shape=[1, 1001, 3], data=[0] * 3003), "1,001 bins, more than the 1,000"),
}  # fmt: skip


@pytest.mark.parametrize("content", REFUSED)
def test_what_means_nothing_is_a_bad_request_with_one_line(content):
    with pytest.raises(Refusal) as refused:
        parse(REFUSED[content][0])
    assert refused.value.status == Status.BAD_REQUEST
    assert REFUSED[content][1] in refused.value.message
    assert "\n" not in refused.value.message
    assert len(refused.value.message) < 300


def test_parameters_that_ask_for_nothing_are_accepted():
    content = {**signal(), "parameters": {"sequence_id": 0, "sequence_start": False}, "model_name": "encoder"}
    assert parse(content).outputs == ("embedding",)


BINARY = np.zeros((1, 2, 3), np.float32)
REFUSED_BINARY = {
    "cut short": (binary_signal(BINARY), BINARY.tobytes()[:-1], "23 bytes are left of the body"),
    "too long": (binary_signal(BINARY), BINARY.tobytes() + b"x", "1 bytes more than its inputs say"),
    "not the shape's size": (binary_signal(BINARY, shape=[1, 1, 3]), BINARY.tobytes(), "its shape [1, 1, 3] takes 12"),
    "size negative": (binary_signal(BINARY, parameters={"binary_data_size": -4}), b"", "binary_data_size is -4"),
    "size a string": (binary_signal(BINARY, parameters={"binary_data_size": "24"}), b"", "binary_data_size is '24'"),
    "data too": (binary_signal(BINARY, data=[1]), BINARY.tobytes(), "both data and"),
}


@pytest.mark.parametrize("case", REFUSED_BINARY)
def test_binary_data_that_do_not_fit_are_refused(case):
    content, binary, message = REFUSED_BINARY[case]
    with pytest.raises(Refusal, match=r"^[^\n]*$") as refused:
        parse(content, binary)
    assert message in refused.value.message


@pytest.mark.parametrize("length", [0, 10**15])
def test_a_json_length_that_is_not_within_the_body_is_refused(length):
    with pytest.raises(Refusal, match="Inference-Header-Content-Length"):
        parse_request(memoryview(b"{}"), length, ENCODER, 10)


def test_json_that_would_hold_everything_up_is_refused(monkeypatch):
    monkeypatch.setattr(v2_json, "MAX_JSON_BYTES", 100)
    with pytest.raises(Refusal, match="send tensors as binary data") as refused:
        parse(signal(data=[0] * 100))
    assert refused.value.status == Status.CONTENT_TOO_LARGE


def test_inputs_of_a_call_belong_together():
    state = {"datatype": "FP32", "shape": [1, 1, 4], "data": [0] * 4}
    with pytest.raises(Refusal, match="input c0 is missing"):
        parse({"inputs": [SIGNAL, {**state, "name": "h0"}]}, model=STATEFUL)
    two = {"datatype": "FP32", "shape": [1, 2, 4], "data": [0] * 8}
    with pytest.raises(Refusal, match="input c0: batch is 2, that of signal is 1"):
        parse({"inputs": [SIGNAL, {**state, "name": "h0"}, {**two, "name": "c0"}]}, model=STATEFUL)


@given(st.binary(max_size=200), st.one_of(st.none(), st.integers(0, 300)))
def test_random_bytes_are_refused_and_nothing_else_happens(body, length):
    with pytest.raises(Refusal):
        parse_request(memoryview(body), length, ENCODER, 10)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*SIGNAL, "parameters"]), inner),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["inputs", "outputs", "id", "parameters"]), json_values))
def test_random_json_is_refused_and_nothing_else_happens(content):
    with pytest.raises(Refusal):
        parse(content)


def answer(content: dict, outputs: dict) -> tuple[dict, bytes]:
    parts, length = format_response(ENCODER, parse(content), outputs)
    body = b"".join(parts)
    return json.loads(body[:length]), b"" if length is None else body[length:]


def test_a_response_has_json_unless_binary_is_asked_for():
    values = np.array([[[1.5, np.nan], [3.25, -4]]], np.float32)
    found, binary = answer({**signal(), "id": "seven"}, {"embedding": values})
    expected = {"name": "embedding", "datatype": "FP32", "shape": [1, 2, 2], "data": [1.5, None, 3.25, -4]}
    assert found == {"model_name": "encoder", "model_version": "1", "id": "seven", "outputs": [expected]}
    assert binary == b""


@pytest.mark.parametrize(
    "wish",
    [
        {"parameters": {"binary_data_output": True}},
        {"outputs": [{"name": "embedding", "parameters": {"binary_data": True}}]},
    ],
)
def test_a_binary_response_has_the_bytes_behind_the_json(wish):
    values = np.array([[[1.5, np.nan], [3.25, -4]]], np.float32)
    found, binary = answer({**signal(), **wish}, {"embedding": values})
    assert found["outputs"][0]["parameters"] == {"binary_data_size": 16}
    assert binary == values.tobytes()
