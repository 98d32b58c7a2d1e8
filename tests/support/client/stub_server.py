"""A server that answers as a test says."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

from epilstm.serving.client.connection import ServedModel

SIGNAL = np.arange(6, dtype=np.float32).reshape(1, 3, 2)


MODEL = ServedModel("encoder", "v1", ("A-b", "C-d"), {}, {"signal": (-1, -1, 2)}, {"embedding": (-1, -1, 1)})


#: Status, headers and body of an answer, for the number of the request.
Answer = Callable[[int], tuple[int, dict[str, str], bytes]]


class QuietServer(ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """A broken connection is what the test asked for."""


@contextmanager
def stub(answer: Answer) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A server's URL, and what it was asked: the path and headers of each request."""
    asked: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            self.rfile.read(int(self.headers["content-length"] or 0))
            asked.append({"path": self.path, **{name.lower(): value for name, value in self.headers.items()}})
            status, headers, body = answer(len(asked))
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST

        def log_message(self, *arguments):
            pass

    server = QuietServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


def embedding(values: np.ndarray, **more) -> tuple[int, dict[str, str], bytes]:
    tensor = {"name": "embedding", "datatype": "FP32", "shape": values.shape}
    head = json.dumps({"outputs": [{**tensor, "parameters": {"binary_data_size": values.nbytes}, **more}]}).encode()
    return 200, {"Inference-Header-Content-Length": str(len(head))}, head + values.tobytes()


RESULT = np.array([[[1], [2], [3]]], np.float32)
