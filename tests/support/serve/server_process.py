"""``epilstm serve`` as a real process, and small encoders for it."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from epilstm.params import ExportParams
from epilstm.runtime.runner import StepContext
from epilstm.steps.export.command import run as run_export
from support.export.small_model import SCALER, network_of, write_model


def export_encoder(folder: Path, name: str = "bottleneck", scale: float = 3.0, scaler=SCALER) -> Path:
    """An encoder folder; another `scale` makes another version of the same form."""
    model = write_model(folder / "model", network_of(name, scale), scaler)
    run_export(ExportParams(triton=False), StepContext({"model": model}, {"encoder": folder / "encoder"}, {}))
    return folder / "encoder"


def embedding_of(file: Path, signal: np.ndarray) -> np.ndarray:
    """What onnxruntime alone makes of a signal."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(file), options).run(["embedding"], {"signal": signal})[0]


def binary_request(signal: np.ndarray, **content: Any) -> tuple[bytes, dict[str, str]]:
    """Body and headers of an inference request with binary tensors both ways."""
    tensor = {
        "name": "signal",
        "datatype": "FP32",
        "shape": list(signal.shape),
        "parameters": {"binary_data_size": signal.nbytes},
    }
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}, **content}).encode()
    return head + signal.tobytes(), {"Inference-Header-Content-Length": str(len(head))}


def embedding_in(body: bytes, headers: Any) -> np.ndarray:
    """The embedding in a binary response."""
    length = int(headers["inference-header-content-length"])
    tensor = json.loads(body[:length])["outputs"][0]
    return np.frombuffer(body[length:], "<f4").reshape(tensor["shape"])


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for localhost that vouches for itself, and its key."""
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    )
    files = ["-keyout", folder / "key.pem", "-out", folder / "cert.pem"]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    return folder / "cert.pem", folder / "key.pem"


class ServerProcess:
    """The server on free ports, ready.

    Attributes
    ----------
    http_port, grpc_port : int
    version : str
    """

    def __init__(self, folder: Path, model: Path, *options: str) -> None:
        self.errors, self.log = folder / "stderr.txt", folder / "stdout.txt"
        command = [sys.executable, "-m", "epilstm", "serve", "--model", str(model), "--threads=2"]
        command += ["--http-port=0", "--grpc-port=0", "--linger-s=0.5", *options]
        with open(self.errors, "w") as errors, open(self.log, "w") as log:
            self.process = subprocess.Popen(command, stderr=errors, stdout=log)
        ready = self.wait_for("http_port")
        self.http_port, self.grpc_port, self.version = ready["http_port"], ready["grpc_port"], ready["version"]

    def log_lines(self) -> list[dict[str, Any]]:
        """Lines of the server's log."""
        return [json.loads(line) for line in self.errors.read_text().splitlines() if line.startswith("{")]

    def wait_for(self, key: str) -> dict[str, Any]:
        """The first line of the server's log that has a key."""
        from support.watching import wait_until

        wait_until(lambda: self.process.poll() is not None or any(key in line for line in self.log_lines()))
        assert self.process.poll() is None, self.errors.read_text()
        return next(line for line in self.log_lines() if key in line)

    def request(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None):
        """Status, headers and body of one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=30)
        try:
            connection.request(method, path, body or None, headers or {})
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def request_or_none(self, path: str) -> int | None:
        """Status of a GET; None where nobody listens any more."""
        try:
            return self.request("GET", path)[0]
        except (ConnectionError, http.client.HTTPException):
            return None

    def infer(self, signal: np.ndarray) -> np.ndarray:
        """The embedding of a signal, in binary over REST."""
        body, headers = binary_request(signal)
        status, answered, content = self.request("POST", "/v2/models/encoder/infer", body, headers)
        assert status == 200, content
        return embedding_in(content, answered)

    def metric(self, line: str) -> float:
        """Value of a series, named as in the text that Prometheus reads."""
        for each in self.request("GET", "/metrics")[2].decode().splitlines():
            name, _, value = each.rpartition(" ")
            if name == line:
                return float(value)
        raise KeyError(line)

    def resident(self) -> int:
        """Resident memory, bytes."""
        return self._memory("VmRSS")

    def peak(self) -> int:
        """Most memory that was ever resident, bytes."""
        return self._memory("VmHWM")

    def _memory(self, field: str) -> int:
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))

    def stop(self) -> int:
        """End it as Kubernetes does; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)
