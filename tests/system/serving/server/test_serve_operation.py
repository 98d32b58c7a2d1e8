"""The real server as those who run it see it: metrics, log, TLS, tokens, where it may write, how it ends."""

from __future__ import annotations

import json
import os
import resource
import ssl
import subprocess
import sys
import urllib.request

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
from prometheus_client.parser import text_string_to_metric_families

from epilstm.files.outputs import ENCODER
from support.export.small_model import SCALER, TRACKS
from support.serve.server_process import binary_request, embedding_of, make_certificate
from support.watching import wait_until


@pytest.fixture
def small() -> np.ndarray:
    return np.random.default_rng(3).exponential(1, (2, 5, TRACKS)).astype(np.float32)


def test_metrics_count_what_was_done(start, small):
    process = start()
    for _ in range(3):
        process.infer(small)
    body, headers = binary_request(small)
    process.request("POST", "/v2/models/x/infer", body, headers)
    with triton_grpc.InferenceServerClient(f"127.0.0.1:{process.grpc_port}") as client:
        tensor = triton_grpc.InferInput("signal", small.shape, "FP32")
        tensor.set_data_from_numpy(small)
        client.infer("encoder", [tensor])
    text = process.request("GET", "/metrics")[2].decode()
    samples = {
        (sample.name.removeprefix("epilstm_serve_"), *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["requests_total", "200", "encoder", "rest"] == 3
    assert samples["requests_total", "", "404", "rest"] == 1
    assert samples["requests_total", "OK", "encoder", "grpc"] == 1
    assert samples["bins_total", "encoder"] == 40
    assert samples["batch_sequences_sum", "encoder"] == 8
    for name in ("request_seconds_count", "queue_seconds_count", "compute_seconds_count"):
        assert sum(value for key, value in samples.items() if key[0] == name) == 4
    assert samples["request_seconds_sum", "encoder", "rest"] >= samples["compute_seconds_sum", "encoder"] / 4
    assert samples["ready",] == 1
    info = next(key for key in samples if key[0] == "model_info")
    assert {process.version, "cpu"} <= set(info)
    assert sum(value for key, value in samples.items() if key[0] == "input_values_total") >= TRACKS
    assert {key[1] for key in samples if key[0] == "input_missing_values_total"} == set(SCALER.tracks)
    assert samples["received_bytes_total", "rest"] >= 3 * len(body)


def test_every_request_is_one_json_line(start, small):
    process = start()
    body, headers = binary_request(small)
    process.request("POST", "/v2/models/encoder/infer", body, {**headers, "X-Request-Id": "abc"})
    process.request("GET", "/%ff")
    assert process.stop() == 0
    first, second = (json.loads(line) for line in process.log.read_text().splitlines())
    assert {key: first[key] for key in ("protocol", "method", "model", "code", "request_id", "received")} == {
        "protocol": "rest", "method": "POST", "model": "encoder", "code": "200", "request_id": "abc",
        "received": len(body),
    }  # fmt: skip
    assert second["code"] == "400"


def test_a_token_is_needed_where_one_is_set(start, tmp_path, small):
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    process = start(f"--token-file={token}")
    body, headers = binary_request(small)
    for given in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "s3cret"}, {"Authorization": "Bearer é"}):
        encoded = {name: value.encode("latin-1") for name, value in given.items()}
        status, received, _ = process.request("POST", "/v2/models/encoder/infer", body, {**headers, **encoded})
        assert (status, received["www-authenticate"]) == (401, "Bearer")
    right = {"Authorization": "Bearer s3cret"}
    assert process.request("POST", "/v2/models/encoder/infer", body, {**headers, **right})[0] == 200
    assert process.request("GET", "/v2/health/ready")[0] == 200
    assert process.request("GET", "/metrics")[0] == 200
    assert process.request("GET", "/v2/models/encoder")[0] == 401
    with triton_grpc.InferenceServerClient(f"127.0.0.1:{process.grpc_port}") as client:
        assert client.is_server_ready()
        tensor = triton_grpc.InferInput("signal", small.shape, "FP32")
        tensor.set_data_from_numpy(small)
        with pytest.raises(triton_grpc.InferenceServerException) as raised:
            client.infer("encoder", [tensor])
        assert raised.value.status() == "StatusCode.UNAUTHENTICATED"
        client.infer("encoder", [tensor], headers={"authorization": "Bearer s3cret"})
    assert "s3cret" not in process.log.read_text() + process.errors.read_text()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("tls"))


def test_both_ports_speak_tls_where_a_certificate_is_given(start, certificate, small, encoder_folder):
    process = start(f"--tls-cert={certificate[0]}", f"--tls-key={certificate[1]}")
    body, headers = binary_request(np.repeat(small, 2000, axis=1))  # larger than what is reserved at first
    request = urllib.request.Request(
        f"https://localhost:{process.http_port}/v2/models/encoder/infer", body, headers, method="POST"
    )
    with urllib.request.urlopen(request, context=ssl.create_default_context(cafile=certificate[0])) as response:
        assert response.status == 200
        assert len(response.read()) > 2 * 10_000 * 3 * 4
    with triton_grpc.InferenceServerClient(
        f"localhost:{process.grpc_port}", ssl=True, root_certificates=str(certificate[0])
    ) as client:
        tensor = triton_grpc.InferInput("signal", small.shape, "FP32")
        tensor.set_data_from_numpy(small)
        found = client.infer("encoder", [tensor]).as_numpy("embedding")
    np.testing.assert_allclose(found, embedding_of(encoder_folder / ENCODER, small), rtol=0, atol=2e-5)
    assert process.request_or_none("/v2/health/live") is None  # plain HTTP is not spoken
    assert process.stop() == 0


def test_it_writes_no_file(encoder_folder, tmp_path):
    folder = tmp_path / "home"
    folder.mkdir()
    command = ["-m", "epilstm", "serve", "--model", str(encoder_folder), "--http-port=0", "--grpc-port=0"]
    process = subprocess.Popen(
        [sys.executable, *command],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        # Pipes only: a byte written to a file ends the process.
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
        text=True,
    )
    ready = process.stderr.readline()
    process.terminate()
    left = process.communicate(timeout=60)[1]
    assert '"http_port"' in ready, ready + left
    assert process.returncode == 0
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "no-such-folder"], "no such file or folder"),
        (["--model", "{encoder}", "--provider=cuda"], "--allow-cpu-fallback"),
        (["--model", "{encoder}", "--tls-cert=x"], "--tls-cert and --tls-key go together"),
        (["--model", "{encoder}", "--tls-cert=x", "--tls-key=y"], "--tls-cert x, --tls-key y: cannot be used"),
        (
            ["--model", "{encoder}", "--token-file=x"],
            "x: no such file; give the path of a file (--token-file: a bearer token)",
        ),
        (["--model", "{encoder}", "--embeddings=x"], "x: no such folder"),
        (["--model", "{encoder}", "--host=256.1.1.1"], "cannot listen on 256.1.1.1"),
    ],
)
def test_what_cannot_be_served_is_one_line_and_an_exit_code(encoder_folder, tmp_path, options, message):
    given = [option.replace("{encoder}", str(encoder_folder)) for option in options]
    command = [sys.executable, "-m", "epilstm", "serve", "--http-port=0", "--grpc-port=0", *given]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.returncode in (1, 2)
    lines = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert len(lines) == 1, done.stderr
    assert message in lines[0]


def test_it_is_not_ready_once_it_shuts_down_and_ends_at_the_second_signal_at_once(start):
    process = start("--linger-s=50")
    assert process.request("GET", "/v2/health/ready")[0] == 200
    process.process.terminate()
    wait_until(lambda: process.request("GET", "/v2/health/ready")[0] == 503)
    assert process.request("GET", "/v2/health/live")[0] == 200
    process.process.terminate()
    assert process.process.wait(20) == 0
