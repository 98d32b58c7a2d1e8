"""A load generator that costs little itself: ``python -m benchmarks.load JSON`` prints its results as JSON.

REST requests go through plain sockets, encoded once before; gRPC through tritonclient, like anyone's.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

#: Sends one request and says what code came back.
Send = Callable[[], str]


def signal(batch: int, time: int, tracks: int) -> np.ndarray:
    """Signal such as a user sends it, (batch, time, track) float32."""
    return np.random.default_rng(0).exponential(1, (batch, time, tracks)).astype(np.float32)


def rest_request(values: np.ndarray, binary: bool) -> bytes:
    """A whole HTTP request."""
    tensor: dict[str, Any] = {"name": "signal", "datatype": "FP32", "shape": values.shape}
    content: dict[str, Any] = {"inputs": [tensor]}
    if binary:
        tensor["parameters"] = {"binary_data_size": values.nbytes}
        content["parameters"] = {"binary_data_output": True}
    else:
        tensor["data"] = values.ravel().astype(float).round(3).tolist()
    head = json.dumps(content).encode()
    body = head + values.tobytes() if binary else head
    lines = ["POST /v2/models/encoder/infer HTTP/1.1", "host: localhost", f"content-length: {len(body)}"]
    if binary:
        lines.append(f"inference-header-content-length: {len(head)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def rest_sender(port: int, request: bytes) -> Send:
    """Sends a request over one connection, again and again."""
    connection: socket.socket | None = None
    buffer = bytearray(1 << 20)

    def connect() -> socket.socket:
        made = socket.create_connection(("127.0.0.1", port))
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def send() -> str:
        nonlocal connection
        if connection is None:
            connection = connect()
        connection.sendall(request)
        came, end = 0, -1
        while end < 0:
            got = connection.recv_into(memoryview(buffer)[came:])
            if not got:
                raise ConnectionError("closed")
            came += got
            end = buffer.find(b"\r\n\r\n", 0, came)
        head = bytes(buffer[:end]).lower()
        missing = end + 4 + int(head.partition(b"content-length:")[2].split(b"\r\n")[0]) - came
        while missing > 0:
            missing -= connection.recv_into(buffer, min(missing, len(buffer)))
        if b"connection: close" in head:
            connection.close()
            connection = None
        return head[9:12].decode()

    return send


def grpc_sender(port: int, values: np.ndarray) -> Send:
    """Sends a request over one channel, again and again."""
    import tritonclient.grpc as client

    channel = client.InferenceServerClient(f"127.0.0.1:{port}", channel_args=[("grpc.use_local_subchannel_pool", 1)])
    tensor = client.InferInput("signal", values.shape, "FP32")
    tensor.set_data_from_numpy(values)

    def send() -> str:
        try:
            channel.infer("encoder", [tensor])
        except client.InferenceServerException as error:
            return str(error.status()).removeprefix("StatusCode.")
        return "OK"

    return send


def run(protocol: str, port: int, shape: list[int], connections: int, seconds: float) -> dict[str, Any]:
    """Send requests from so many connections at once.

    Parameters
    ----------
    protocol : {'rest', 'json', 'grpc'}
    port : int
    shape : list of int
        Of the signal.
    connections : int
    seconds : float

    Returns
    -------
    dict
        ``codes``: how many of each; ``per_second`` of those answered; ``p50``, ``p99`` of those answered and
        ``refused_p99`` of the others, in seconds; ``cpu``: seconds of a core that the generator took.
    """
    values = signal(*shape)
    request = b"" if protocol == "grpc" else rest_request(values, protocol == "rest")
    codes: Counter[str] = Counter()
    latencies: dict[bool, list[float]] = {True: [], False: []}
    barrier = threading.Barrier(connections + 1)

    def work() -> None:
        send = grpc_sender(port, values) if protocol == "grpc" else rest_sender(port, request)
        for _ in range(3):
            send()
        barrier.wait()
        until = time.perf_counter() + seconds
        while (started := time.perf_counter()) < until:
            code = send()
            latencies[code in ("200", "OK")].append(time.perf_counter() - started)
            codes[code] += 1

    threads = [threading.Thread(target=work, daemon=True) for _ in range(connections)]
    for thread in threads:
        thread.start()
    barrier.wait()
    started, cpu = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - started
    answered, refused = latencies[True], latencies[False]
    return {
        "codes": dict(codes),
        "cpu": time.process_time() - cpu,
        "per_second": len(answered) / elapsed,
        "p50": float(np.quantile(answered, 0.5)) if answered else None,
        "p99": float(np.quantile(answered, 0.99)) if answered else None,
        "refused_p99": float(np.quantile(refused, 0.99)) if refused else None,
    }


if __name__ == "__main__":
    print(json.dumps(run(**json.loads(sys.argv[1]))))
