"""The real server under clients that mean no good, and under more than it can do."""

from __future__ import annotations

import os
import random
import shutil
import signal as signals
import socket
import struct
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
from tritonclient.grpc import service_pb2

from support.export.small_model import TRACKS
from support.nonempty import nonempty
from support.serve.server_process import ServerProcess, binary_request, embedding_in, export_encoder
from support.watching import wait_until

#: Seconds under more load than the server can bear; the full measure is 60: EPILSTM_OVERLOAD_SECONDS=60.
OVERLOAD_SECONDS = float(os.environ.get("EPILSTM_OVERLOAD_SECONDS", "8"))

INFER = "/v2/models/encoder/infer"


@pytest.fixture(scope="module")
def small() -> np.ndarray:
    return np.random.default_rng(3).exponential(1, (1, 5, TRACKS)).astype(np.float32)


def connect(server, timeout: float = 20) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.http_port), timeout=timeout)


def http_request(signal: np.ndarray) -> bytes:
    body, headers = binary_request(signal)
    lines = [f"{name}: {value}" for name, value in {**headers, "Host": "x", "Content-Length": len(body)}.items()]
    return "\r\n".join([f"POST {INFER} HTTP/1.1", *lines, "", ""]).encode() + body


def read_response(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """One response; raises ConnectionError where the connection ends before it does."""
    content = b""
    while b"\r\n\r\n" not in content:
        content += _received(connection)
    head, _, body = content.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    while len(body) < int(headers["content-length"]):
        body += _received(connection)
    return int(first.split()[1]), headers, body


def _received(connection: socket.socket) -> bytes:
    content = connection.recv(65536)
    if not content:
        raise ConnectionError("the server closed the connection")
    return content


def test_two_servers_on_one_port_are_one_too_many(server, encoder_folder, tmp_path):
    for option, port in (("--http-port", server.http_port), ("--grpc-port", server.grpc_port)):
        with pytest.raises(AssertionError, match=rf"error: {option} {port}: cannot listen .* another server"):
            ServerProcess(tmp_path, encoder_folder, f"{option}={port}")


def test_slow_senders_are_cut_off_and_hold_nobody_up(start, small):
    process = start("--timeout-s=2")
    whole = http_request(small)
    slow = [connect(process) for _ in range(200)]
    for number, connection in enumerate(slow):
        connection.sendall(whole[: 30 if number % 2 else len(whole) - 3])
    assert process.infer(small).shape == (1, 5, 3)
    found = Counter()
    for number, connection in enumerate(slow):
        if number % 2 == 0:
            found[read_response(connection)[0]] += 1
        connection.close()
    assert found == {408: 100}
    wait_until(lambda: process.metric("epilstm_serve_open_connections") == 1)
    assert process.stop() == 0


def test_half_sent_bodies_and_dropped_connections_leave_nothing_behind(server, small):
    whole = http_request(small)
    draw = random.Random(1)
    for _ in range(300):
        with connect(server) as connection:
            connection.sendall(whole[: draw.randrange(1, len(whole) + 1)])
            if draw.random() < 0.5:  # a reset rather than an orderly end
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wait_until(lambda: server.metric("epilstm_serve_open_connections") == 1)
    wait_until(lambda: server.metric('epilstm_serve_in_flight_requests{protocol="rest"}') == 1)
    assert server.infer(small).shape == (1, 5, 3)


@pytest.mark.parametrize("port", ["http_port", "grpc_port"])
def test_garbage_on_a_port_is_answered_or_cut_off(server, small, port):
    draw = random.Random(2)
    for _ in range(200):
        with socket.create_connection(("127.0.0.1", getattr(server, port)), timeout=20) as connection:
            try:
                connection.sendall(draw.randbytes(draw.randrange(1, 5000)))
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass
            except ConnectionError:
                continue
    assert server.infer(small).shape == (1, 5, 3)


def mutated(content: bytes, draw: random.Random) -> bytes:
    """Bytes changed, inserted, cut out or doubled."""
    made = bytearray(content)
    for _ in range(draw.randrange(1, 8)):
        at = draw.randrange(len(made) + 1)
        match draw.randrange(4):
            case 0:
                made[at : at + 1] = draw.randbytes(1)
            case 1:
                made[at:at] = draw.choice([b"\0", b"\r\n", b"-1", b"1e999", b"[", b'"', b"{", b"\xff", b"9" * 30])
            case 2:
                del made[at : at + draw.randrange(1, 20)]
            case _:
                made[at:at] = made[at : at + draw.randrange(1, 40)]
    return bytes(made)


def test_thousands_of_malformed_requests_are_refused_and_the_server_lives(server, small):
    whole = http_request(small)
    draw = random.Random(3)
    server.infer(small)
    before = server.resident()
    statuses: Counter[int] = Counter()
    for number in range(6000):
        with connect(server) as connection:
            try:
                connection.sendall(mutated(whole, draw))
                connection.shutdown(socket.SHUT_WR)
                statuses[read_response(connection)[0]] += 1
            except ConnectionError:
                statuses[0] += 1
        if number % 1000 == 0:
            assert server.infer(small).shape == (1, 5, 3)
    assert not any(status >= 500 and status != 501 for status in statuses), statuses
    assert statuses[400] > 1000
    assert server.resident() - before < 60e6


def test_thousands_of_malformed_messages_are_refused_and_the_server_lives(server, small):
    message = service_pb2.ModelInferRequest(model_name="encoder", raw_input_contents=[small.tobytes()])
    message.inputs.add(name="signal", datatype="FP32", shape=small.shape)
    whole = message.SerializeToString()
    draw = random.Random(4)
    before = server.resident()
    codes: Counter[str] = Counter()
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        for number in range(4000):
            try:
                call(mutated(whole, draw), timeout=20)
                codes["OK"] += 1
            except grpc.RpcError as error:
                codes[error.code().name] += 1
            if number % 1000 == 0:
                call(whole, timeout=20)
    assert set(codes) <= {"OK", "INVALID_ARGUMENT", "NOT_FOUND"}, codes
    assert codes["INVALID_ARGUMENT"] > 1000
    assert server.resident() - before < 60e6


def test_large_bodies_are_refused_before_they_take_memory(start, small):
    process = start("--max-body-mb=1", "--max-pending-mb=4")
    before = process.resident()
    for length, sent in ((10**15, 100), (3 << 20, 3 << 20)):
        with connect(process) as connection:
            head = f"POST {INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
            connection.sendall(head.encode() + bytes(sent))
            assert read_response(connection)[0] == 413
    chunk = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
    with connect(process) as connection:
        connection.sendall(f"POST {INFER} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        connection.sendall(chunk + chunk)
        assert read_response(connection)[0] == 413
    # Many senders of bodies that each are small enough: together they have a budget.
    halves = [connect(process) for _ in range(30)]
    for connection in halves:
        connection.sendall(f"POST {INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: {1 << 20}\r\n\r\n".encode())
        connection.sendall(bytes(1 << 19))
    shed = 'epilstm_serve_requests_total{code="429",model="encoder",protocol="rest"}'
    wait_until(lambda: process.metric(shed) >= 20)
    assert process.resident() - before < 40e6
    for connection in halves:
        connection.close()
    wait_until(lambda: process.metric("epilstm_serve_open_connections") == 1)
    assert process.infer(small).shape == (1, 5, 3)
    with triton_grpc.InferenceServerClient(f"127.0.0.1:{process.grpc_port}") as client:
        large = triton_grpc.InferInput("signal", (1, 60_000, TRACKS), "FP32")
        large.set_data_from_numpy(np.zeros((1, 60_000, TRACKS), np.float32))
        with pytest.raises(triton_grpc.InferenceServerException) as raised:
            client.infer("encoder", [large])
    assert raised.value.status() == "StatusCode.RESOURCE_EXHAUSTED"
    assert process.stop() == 0


def test_more_connections_than_allowed_are_refused_with_that_reason(start, small):
    process = start("--max-connections=10")
    idle = [connect(process) for _ in range(10)]
    with connect(process) as connection:
        assert read_response(connection)[0] == 503
    for each in idle:
        each.close()
    wait_until(lambda: process.request("GET", "/v2/health/live")[0] == 200)
    assert process.infer(small).shape == (1, 5, 3)
    assert process.stop() == 0


def test_overload_is_shed_and_everything_that_is_answered_is_right(start):
    process = start("--queue=16", "--no-access-log")
    signal = np.random.default_rng(6).exponential(1, (20, 100, TRACKS)).astype(np.float32)
    expected = process.infer(signal)
    request = http_request(signal)
    until = time.monotonic() + OVERLOAD_SECONDS
    residents = [process.resident()]

    def client(number: int) -> Counter[int]:
        statuses: Counter[int] = Counter()
        connection = connect(process, 60)
        while time.monotonic() < until:
            connection.sendall(request)
            status, headers, body = read_response(connection)
            statuses[status] += 1
            if status == 200:
                np.testing.assert_allclose(embedding_in(body, headers), expected, rtol=0, atol=2e-5)
            else:
                assert int(headers["retry-after"]) >= 1
            if number == 0 and statuses.total() % 20 == 0:
                residents.append(process.resident())
        connection.close()
        return statuses

    with ThreadPoolExecutor(200) as pool:
        statuses = sum(pool.map(client, range(200)), Counter())
    print(
        "overload:",
        dict(statuses),
        "resident MB:",
        [round(each / 1e6) for each in residents[:: len(residents) // 10 + 1]],
    )
    assert set(statuses) == {200, 429}
    assert max(residents) - residents[0] < 250e6
    assert process.metric("epilstm_serve_queue_length") == 0
    assert process.stop() == 0


def test_a_model_changes_under_load_without_one_failed_request(start, tmp_path, encoder_folder, small):
    other = export_encoder(tmp_path / "other", scale=2.0)
    spoilt = tmp_path / "spoilt"
    shutil.copytree(other, spoilt)
    (spoilt / "encoder.onnx").write_bytes(b"no")
    link = tmp_path / "champion"
    link.symlink_to(encoder_folder)
    process = start("--watch=0.05", "--no-access-log", model=link)
    answers: list[list[np.ndarray]] = [[] for _ in range(4)]
    done = threading.Event()

    def client(number: int) -> None:
        while not done.is_set():
            answers[number].append(process.infer(small))

    def turn(target) -> None:
        staged = tmp_path / "staged"
        staged.symlink_to(target)
        os.replace(staged, link)

    first = process.infer(small)
    refused, taken = (f'epilstm_serve_model_reloads_total{{result="{result}"}}' for result in ("refused", "taken"))
    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(client, number) for number in range(4)]
        try:
            turn(spoilt)
            wait_until(lambda: process.metric(refused) == 1)
            turn(other)
            wait_until(lambda: process.metric(taken) == 1)
            second = process.infer(small)
            turn(encoder_folder)
            wait_until(lambda: process.metric(taken) == 2)
        finally:
            done.set()
        for each in clients:
            each.result()
    assert np.abs(first - second).max() > 1e-3
    for answer in nonempty(answer for each in answers for answer in each):
        assert min(np.abs(answer - first).max(), np.abs(answer - second).max()) < 1e-4
    assert process.stop() == 0


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_sigterm_under_load_loses_no_answer(start, protocol):
    process = start("--no-access-log", "--linger-s=1")
    signal = np.random.default_rng(6).exponential(1, (10, 100, TRACKS)).astype(np.float32)
    expected = process.infer(signal)
    request = http_request(signal)
    answered: Counter[str] = Counter()

    def rest_client() -> None:
        while True:
            try:
                connection = connect(process)
            except ConnectionRefusedError:
                return
            with connection:
                keep = True
                while keep:
                    connection.sendall(request)
                    status, headers, body = read_response(connection)
                    answered[str(status)] += 1
                    np.testing.assert_allclose(embedding_in(body, headers), expected, rtol=0, atol=2e-5)
                    keep = headers.get("connection") != "close"

    def grpc_client() -> None:
        tensor = triton_grpc.InferInput("signal", signal.shape, "FP32")
        tensor.set_data_from_numpy(signal)
        channel_args = [("grpc.use_local_subchannel_pool", 1)]
        with triton_grpc.InferenceServerClient(f"127.0.0.1:{process.grpc_port}", channel_args=channel_args) as client:
            while True:
                try:
                    client.infer("encoder", [tensor])
                    answered["OK"] += 1
                except triton_grpc.InferenceServerException as error:
                    answered[error.status()] += 1
                    return

    with ThreadPoolExecutor(8) as pool:
        clients = [pool.submit(rest_client if protocol == "rest" else grpc_client) for _ in range(8)]
        wait_until(lambda: answered.total() > 50 or any(each.done() for each in clients))
        process.process.send_signal(signals.SIGTERM)
        wait_until(lambda: process.request_or_none("/v2/health/ready") in (503, None))
        for each in clients:
            each.result(60)
    assert process.process.wait(60) == 0
    # Refused before it was taken: nothing is lost, and the client may go elsewhere.
    assert answered.pop("StatusCode.UNAVAILABLE", 0) == (8 if protocol == "grpc" else 0)
    assert set(answered) == {"200" if protocol == "rest" else "OK"}


def test_messages_over_grpc_are_received_as_memory_allows(start):
    process = start("--max-body-mb=16", "--max-pending-mb=32", "--timeout-s=60")
    before = process.resident()
    content = bytes(12 << 20)
    channels = [
        grpc.insecure_channel(
            f"127.0.0.1:{process.grpc_port}",
            options=[("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)],
        )
        for _ in range(24)
    ]

    def send(channel) -> str:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        try:
            call(content, timeout=60)
        except grpc.RpcError as error:
            return error.code().name
        return "OK"

    with ThreadPoolExecutor(24) as pool:
        codes = set(pool.map(send, channels))
    for channel in channels:
        channel.close()
    assert codes == {"INVALID_ARGUMENT"}
    assert process.peak() - before < 160 << 20  # all of them are 288 MB
    assert process.stop() == 0
