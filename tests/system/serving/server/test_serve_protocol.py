"""The real server over real sockets: the protocol, as its own clients speak it."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import zlib
from contextlib import closing

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

from epilstm import __version__
from epilstm.files.outputs import ENCODER
from epilstm.serving.protocol.open_inference import MESSAGES
from support.export.small_model import SCALER
from support.serve.server_process import binary_request, embedding_in, embedding_of


@pytest.fixture
def rest(server):
    with triton_http.InferenceServerClient(f"127.0.0.1:{server.http_port}") as client:
        yield client


@pytest.fixture
def rpc(server):
    with triton_grpc.InferenceServerClient(f"127.0.0.1:{server.grpc_port}") as client:
        yield client


@pytest.fixture(params=["rest", "grpc"])
def client(request, rest, rpc):
    return rest if request.param == "rest" else rpc


def tensors(client, given: dict[str, np.ndarray], binary: bool = True):
    module = triton_http if isinstance(client, triton_http.InferenceServerClient) else triton_grpc
    inputs = []
    for name, values in given.items():
        tensor = module.InferInput(name, values.shape, "FP32")
        tensor.set_data_from_numpy(values, **({"binary_data": binary} if module is triton_http else {}))
        inputs.append(tensor)
    return inputs


def test_the_server_says_who_it_is_and_that_it_is_ready(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("encoder")
    metadata = client.get_server_metadata()
    name, version = (
        (metadata["name"], metadata["version"]) if isinstance(metadata, dict) else (metadata.name, metadata.version)
    )
    assert (name, version) == ("epilstm", __version__)


def test_a_models_metadata_say_what_it_takes(rest, rpc, server):
    metadata = rest.get_model_metadata("encoder")
    assert metadata["inputs"] == [{"name": "signal", "datatype": "FP32", "shape": [-1, -1, 7]}]
    assert metadata["outputs"] == [{"name": "embedding", "datatype": "FP32", "shape": [-1, -1, 3]}]
    assert metadata["versions"] == [server.version]
    assert metadata["parameters"]["tracks"] == SCALER.tracks
    assert metadata["parameters"]["bin_size"] == "25"
    same = rpc.get_model_metadata("encoder_stateful", server.version, as_json=True)
    assert [tensor["name"] for tensor in same["inputs"]] == ["signal", "h0", "c0"]
    assert [list(map(int, tensor["shape"])) for tensor in same["inputs"]] == [[-1, -1, 7], [1, -1, 8], [1, -1, 8]]


@pytest.mark.parametrize("binary", [True, False])
def test_rest_gives_what_onnxruntime_gives(rest, encoder_folder, signal, binary):
    wanted = [triton_http.InferRequestedOutput("embedding", binary_data=binary)]
    answer = rest.infer("encoder", tensors(rest, {"signal": signal}, binary), outputs=wanted, request_id="seven")
    np.testing.assert_allclose(
        answer.as_numpy("embedding"), embedding_of(encoder_folder / ENCODER, signal), rtol=0, atol=2e-5
    )
    assert answer.get_response()["id"] == "seven"


def test_grpc_gives_what_onnxruntime_gives(rpc, encoder_folder, signal, server):
    answer = rpc.infer("encoder", tensors(rpc, {"signal": signal}), server.version, request_id="seven")
    np.testing.assert_allclose(
        answer.as_numpy("embedding"), embedding_of(encoder_folder / ENCODER, signal), rtol=0, atol=2e-5
    )
    assert answer.get_response().id == "seven"


def test_grpc_answers_typed_contents_with_typed_contents(server, encoder_folder, signal):
    request = MESSAGES["ModelInferRequest"](model_name="encoder")
    tensor = request.inputs.add(name="signal", datatype="FP32", shape=signal.shape)
    tensor.contents.fp32_contents.extend(signal.ravel().tolist())
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        answer = MESSAGES["ModelInferResponse"].FromString(call(request.SerializeToString(), timeout=10))
    values = np.array(answer.outputs[0].contents.fp32_contents, np.float32).reshape(answer.outputs[0].shape)
    np.testing.assert_allclose(values, embedding_of(encoder_folder / ENCODER, signal), rtol=0, atol=2e-5)
    assert not answer.raw_output_contents


def test_the_state_streams_along_a_chromosome(client, encoder_folder, signal):
    expected = embedding_of(encoder_folder / ENCODER, signal)
    state = {name: np.zeros((1, 3, 8), np.float32) for name in ("h0", "c0")}
    pieces = []
    for piece in np.split(signal, [1, 17], axis=1):
        given = {"signal": np.ascontiguousarray(piece), **state}
        answer = client.infer("encoder_stateful", tensors(client, given))
        pieces.append(answer.as_numpy("embedding"))
        state = {"h0": answer.as_numpy("h"), "c0": answer.as_numpy("c")}
    np.testing.assert_allclose(np.concatenate(pieces, axis=1), expected, rtol=0, atol=2e-5)


def test_chosen_numbers_are_returned_alone(client, encoder_folder, signal):
    outputs = client.infer("encoder", tensors(client, {"signal": signal}), parameters={"dimensions": "e2,e0"})
    expected = embedding_of(encoder_folder / ENCODER, signal)[..., [2, 0]]
    np.testing.assert_allclose(outputs.as_numpy("embedding"), expected, atol=1e-5)


def test_an_unknown_number_is_refused_by_both_protocols(client, signal):
    with pytest.raises(InferenceServerException, match="dimensions: no number 'e9'; there are e0, e1, e2"):
        client.infer("encoder", tensors(client, {"signal": signal}), parameters={"dimensions": "e9"})


def test_no_signal_at_all_is_an_embedding_too(server, encoder_folder):
    nothing = np.full((1, 5, 7), np.nan, np.float32)
    zeros = np.zeros_like(nothing)
    np.testing.assert_array_equal(server.infer(nothing), server.infer(zeros))


def test_a_models_path_may_name_the_version(server, signal):
    body, headers = binary_request(signal)
    path = f"/v2/models/encoder/versions/{server.version}"
    status, answered, content = server.request("POST", f"{path}/infer", body, headers)
    assert status == 200
    assert embedding_in(content, answered).shape == (3, 40, 3)
    assert server.request("GET", f"{path}/ready")[0] == 200
    status, _, content = server.request("POST", "/v2/models/encoder/versions/7/infer", body, headers)
    assert (status, json.loads(content)) == (
        404, {"error": f"no version '7' of model encoder; version {server.version} is served"},
    )  # fmt: skip


BAD_SIGNALS = {
    "wrong track count": (np.zeros((1, 4, 6), np.float32), "has 6 tracks, the model 7"),
    "two axes": (np.zeros((4, 7), np.float32), "has 2 axes"),
    "empty": (np.zeros((1, 0, 7), np.float32), "is empty"),
    "infinite": (np.full((1, 2, 7), np.inf, np.float32), "inf at [0, 0, 0]"),
}


@pytest.mark.parametrize("case", BAD_SIGNALS)
def test_a_signal_that_does_not_fit_is_the_clients_error(client, case):
    values, message = BAD_SIGNALS[case]
    with pytest.raises(InferenceServerException) as raised:
        client.infer("encoder", tensors(client, {"signal": values}))
    assert message in raised.value.message()
    assert raised.value.status() in ("400", "StatusCode.INVALID_ARGUMENT")


UNSUPPORTED = {
    "a sequence": {"sequence_id": 9},
    "the start of one": {"sequence_start": True, "sequence_id": 1},
    "a priority": {"priority": 1},
    "a time limit": {"timeout": 1000},
    "one of the user's": {"parameters": {"normalize": True}},
}


@pytest.mark.parametrize("case", UNSUPPORTED)
def test_a_parameter_without_effect_is_refused_by_both_protocols(client, signal, case):
    with pytest.raises(InferenceServerException, match=r"the request: parameter '\w+' is not supported"):
        client.infer("encoder", tensors(client, {"signal": signal}), **UNSUPPORTED[case])


def test_a_classification_is_refused_by_both_protocols(client, signal):
    module = triton_http if isinstance(client, triton_http.InferenceServerClient) else triton_grpc
    wanted = [module.InferRequestedOutput("embedding", class_count=3)]
    with pytest.raises(InferenceServerException, match="output embedding: parameter 'classification' is not supported"):
        client.infer("encoder", tensors(client, {"signal": signal}), outputs=wanted)


def test_shared_memory_is_refused_by_both_protocols(client, signal):
    inputs = tensors(client, {"signal": signal})
    inputs[0].set_shared_memory("region", signal.nbytes)
    with pytest.raises(InferenceServerException, match=r"input signal: parameter 'shared_memory_\w+' is not"):
        client.infer("encoder", inputs)


def test_an_output_in_shared_memory_is_refused_by_both_protocols(client, signal):
    module = triton_http if isinstance(client, triton_http.InferenceServerClient) else triton_grpc
    wanted = module.InferRequestedOutput("embedding")
    wanted.set_shared_memory("region", signal.nbytes)
    with pytest.raises(InferenceServerException, match="output embedding: parameter 'shared_memory"):
        client.infer("encoder", tensors(client, {"signal": signal}), outputs=[wanted])


def test_grpc_refuses_contents_of_another_datatype(server, signal):
    request = MESSAGES["ModelInferRequest"](model_name="encoder")
    tensor = request.inputs.add(name="signal", datatype="FP32", shape=signal.shape)
    tensor.contents.fp64_contents.extend(signal.ravel().tolist())
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(grpc.RpcError) as refused:
            call(request.SerializeToString(), timeout=10)
    assert "has fp64_contents; send fp32_contents" in refused.value.details()


def test_a_model_that_is_not_there_is_not_found(client, signal):
    with pytest.raises(InferenceServerException, match="no model 'x'; there is encoder, encoder_stateful") as raised:
        client.infer("x", tensors(client, {"signal": signal}))
    assert raised.value.status() in ("404", "StatusCode.NOT_FOUND")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v2/models", 404),
        ("GET", "/v2/models/", 404),
        ("GET", "/v2/models/..%2f..%2fetc%2fpasswd", 404),
        ("GET", "/v2/models/encoder/config", 404),
        ("GET", "/v2/models/encoder/versions", 404),
        ("GET", "/v2/models/encoder/infer", 405),
        ("POST", "/v2/health/live", 405),
        ("DELETE", "/v2/models/encoder", 405),
        ("POST", "/v2/models/encoder/infer", 400),
        ("GET", "/v1/regions/chr1:0-100", 404),
        ("GET", "/%ff%fe", 400),
    ],
)
def test_every_error_is_an_object_with_one_line(server, method, path, status):
    found, headers, content = server.request(method, path)
    assert found == status
    assert headers["content-type"] == "application/json"
    assert list(json.loads(content)) == ["error"]
    assert "\n" not in json.loads(content)["error"]


COMPRESSED = {
    "gzip": gzip.compress,
    "gzip in two members": lambda body: gzip.compress(body[:100]) + gzip.compress(body[100:]),
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "deflate without zlib's header": lambda body: zlib.compress(body, wbits=-15),
}


@pytest.mark.parametrize("form", COMPRESSED)
def test_a_compressed_body_is_decompressed(server, signal, encoder_folder, form):
    body, headers = binary_request(signal)
    headers["Content-Encoding"] = form.split()[0]
    status, received, content = server.request("POST", "/v2/models/encoder/infer", COMPRESSED[form](body), headers)
    assert status == 200, content
    np.testing.assert_allclose(
        embedding_in(content, received), embedding_of(encoder_folder / ENCODER, signal), rtol=0, atol=2e-5
    )


def test_tritons_client_may_compress(rest, signal, encoder_folder):
    for algorithm in ("gzip", "deflate"):
        answer = rest.infer("encoder", tensors(rest, {"signal": signal}), request_compression_algorithm=algorithm)
        np.testing.assert_allclose(
            answer.as_numpy("embedding"), embedding_of(encoder_folder / ENCODER, signal), rtol=0, atol=2e-5
        )


@pytest.mark.parametrize(
    ("encoding", "body", "status", "message"),
    [
        ("gzip", b"no gzip", 400, "the body is not gzip: "),
        ("gzip", gzip.compress(b"x" * 1000)[:-4], 400, "the body is not gzip: it ends too early"),
        ("deflate", zlib.compress(b"{}") + b"more", 400, "4 bytes follow its end"),
        ("gzip", gzip.compress(bytes(65 << 20)), 413, "a body of gzip data, more than 67,108,864"),
        ("br", b"x", 415, "content encoding 'br' is not supported; send identity, gzip, deflate"),
    ],
)
def test_a_body_that_cannot_be_decompressed_is_refused(server, encoding, body, status, message):
    headers = {"Content-Encoding": encoding}
    found, received, content = server.request("POST", "/v2/models/encoder/infer", body, headers)
    assert found == status
    assert message in json.loads(content)["error"]
    assert received["accept-encoding"] == ("identity, gzip, deflate" if status == 415 else None)


def test_bodies_that_grow_are_counted_and_returned_to_the_budget(server, small_compressed):
    for _ in range(12):  # each is 60 MB decompressed, the budget of all is 512 MB
        status, _, content = server.request("POST", "/v2/models/encoder/infer", *small_compressed)
        assert (status, b"more than" in content or b"JSON" in content) in ((400, True), (413, True)), content
    assert server.request("GET", "/v2/health/ready")[0] == 200


@pytest.fixture(scope="module")
def small_compressed():
    return gzip.compress(b" " * (60 << 20)), {"Content-Encoding": "gzip"}


OFFERS = {
    "Java": "Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQ\r\nUpgrade: h2c",
    "curl --http2": "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA",
    "a web socket": "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13",
}


@pytest.mark.parametrize("offer", OFFERS)
def test_an_offered_upgrade_is_not_taken_and_the_request_is_answered(server, signal, offer):
    body, headers = binary_request(signal)
    lines = [f"{name}: {value}" for name, value in {**headers, "Content-Length": len(body)}.items()]
    infer = "\r\n".join(["POST /v2/models/encoder/infer HTTP/1.1", "Host: x", OFFERS[offer], *lines, "", ""]).encode()
    live = f"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n{OFFERS[offer]}\r\n\r\n".encode()
    answered = raw(server, live + infer + body + live)
    assert answered.count(b"HTTP/1.1 200 OK\r\n") == 3
    assert answered.count(b'{"live":true}') == 2
    assert b"101" not in answered.split(b"\r\n", 1)[0]


def test_a_server_that_is_no_proxy_says_so(server):
    assert raw(server, b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org\r\n\r\n").startswith(b"HTTP/1.1 501 ")


@pytest.mark.parametrize(
    "path", ["/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/encoder", "/v2/models/encoder/ready", "/metrics"]
)
def test_head_is_answered_with_the_headers_of_get_alone(server, path):
    got, headed = server.request("GET", path), server.request("HEAD", path)
    assert (headed[0], headed[2]) == (200, b"")
    assert headed[1]["content-type"] == got[1]["content-type"]
    if path != "/metrics":  # which counts these requests
        assert headed[1]["content-length"] == str(len(got[2]))


def test_a_refused_head_leaves_the_connection_in_order(server):
    missing = b"HEAD /v2/models/none HTTP/1.1\r\nHost: x\r\n\r\n"
    answered = raw(server, missing + b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answered.startswith(b"HTTP/1.1 404 ")
    assert b"error" not in answered
    refused = raw(server, b"HEAD /v2/models/encoder/infer HTTP/1.1\r\nHost: x\r\n\r\n")
    assert refused.startswith(b"HTTP/1.1 405 ")
    assert refused.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v2/models/encoder/infer", "POST"),
        ("HEAD", "/v2/models/encoder/infer", "POST"),
        ("POST", "/v2/models/encoder", "GET, HEAD"),
        ("OPTIONS", "/v2", "GET, HEAD"),
        ("DELETE", "/metrics", "GET, HEAD"),
    ],
)
def test_a_method_that_is_not_allowed_is_answered_with_those_that_are(server, method, path, allowed):
    status, headers, _ = server.request(method, path)
    assert (status, headers["allow"]) == (405, allowed)


def test_an_option_that_means_nothing_is_refused(server):
    status, _, content = server.request("GET", "/v2/models/encoder?verbose=1")
    assert (status, b"'verbose'" in content) == (400, True)


def test_the_request_id_is_given_back_unless_it_is_none(server):
    assert server.request("GET", "/v2", headers={"X-Request-Id": "abc-1"})[1]["x-request-id"] == "abc-1"
    assert server.request("GET", "/v2", headers={"X-Request-Id": "a b<script>"})[1]["x-request-id"] != "a b<script>"


def raw(server, content: bytes) -> bytes:
    """Everything that comes back on one connection."""
    with socket.create_connection(("127.0.0.1", server.http_port), timeout=20) as connection:
        connection.sendall(content)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_requests_in_one_go_are_answered_in_turn(server, signal):
    body, headers = binary_request(signal)
    lines = [f"{name}: {value}" for name, value in {**headers, "Content-Length": len(body)}.items()]
    infer = "\r\n".join(["POST /v2/models/encoder/infer HTTP/1.1", "Host: x", *lines, "", ""]).encode() + body
    live = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n"
    answered = raw(server, live + infer + live + infer + live)
    assert answered.count(b"HTTP/1.1 200 OK\r\n") == 5
    assert answered.count(b'{"live":true}') == 3


def test_chunks_are_put_together(server, signal, encoder_folder):
    body, headers = binary_request(signal)
    chunks = b"".join(
        b"%x\r\n%b\r\n" % (len(body[at : at + 1000]), body[at : at + 1000]) for at in range(0, len(body), 1000)
    )
    lines = [f"{name}: {value}" for name, value in {**headers, "Transfer-Encoding": "chunked"}.items()]
    head = "\r\n".join(["POST /v2/models/encoder/infer HTTP/1.1", "Host: x", *lines, "", ""]).encode()
    answered, _, content = raw(server, head + chunks + b"0\r\n\r\n").partition(b"\r\n\r\n")
    assert answered.startswith(b"HTTP/1.1 200 OK\r\n")
    found = dict(line.split(": ") for line in answered.decode().split("\r\n")[1:])
    np.testing.assert_allclose(
        embedding_in(content, found), embedding_of(encoder_folder / ENCODER, signal), rtol=0, atol=2e-5
    )


def test_a_client_that_asks_first_is_asked_to_continue(server, signal):
    body, headers = binary_request(signal)
    given = {**headers, "Content-Length": str(len(body)), "Expect": "100-continue", "Host": "x"}
    lines = [f"{name}: {value}" for name, value in given.items()]
    with socket.create_connection(("127.0.0.1", server.http_port), timeout=20) as connection:
        connection.sendall("\r\n".join(["POST /v2/models/encoder/infer HTTP/1.1", *lines, "", ""]).encode())
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_client_of_http_1_0_is_served(server):
    answered = raw(server, b"GET /v2/health/live HTTP/1.0\r\n\r\n")
    assert answered.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"connection: close\r\n" in answered


def test_the_health_check_of_grpc_says_that_it_serves(server):
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        call = channel.unary_unary("/grpc.health.v1.Health/Check")
        assert MESSAGES["HealthCheckResponse"].FromString(call(b"", timeout=10)).status == 1
        asked = MESSAGES["HealthCheckRequest"](service="x").SerializeToString()
        with pytest.raises(grpc.RpcError) as raised:
            call(asked, timeout=10)
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND


def test_a_method_that_is_not_there_is_unimplemented(rpc):
    with pytest.raises(InferenceServerException) as raised:
        rpc.get_model_config("encoder")
    assert raised.value.status() == "StatusCode.UNIMPLEMENTED"


def test_requests_of_one_connection_with_the_same_head_have_their_own_bodies_and_ids(server, encoder_folder, signal):
    ids = set()
    with closing(http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=20)) as connection:
        for sequence in np.split(signal, len(signal)):
            body, headers = binary_request(sequence)
            connection.request("POST", "/v2/models/encoder/infer", body, headers)
            response = connection.getresponse()
            found = embedding_in(response.read(), response.headers)
            np.testing.assert_allclose(found, embedding_of(encoder_folder / ENCODER, sequence), rtol=0, atol=2e-5)
            ids.add(response.headers["x-request-id"])
    assert len(ids) == len(signal) > 1
