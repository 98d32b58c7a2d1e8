"""Through a proxy, with certificates of the environment, and through gateways that route by headers."""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest

from epilstm.errors import ParamsError
from epilstm.serving.client.connection import Access, Address, ServerRefused, connect
from support.client.proxy_server import forward_proxy
from support.client.stub_server import MODEL, RESULT, SIGNAL, embedding, stub
from support.serve.server_process import ServerProcess

#: A name that nothing but the proxy can resolve.
ELSEWHERE = "encoder.example.invalid"


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def tracks(url: str, **access: object) -> tuple[str, ...]:
    with connect(Access(Address.parse(url), timeout=20, patience=0, **access)) as connection:
        return connection.describe("encoder").tracks


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_requests_go_through_the_proxy(server, monkeypatch, scheme):
    port = server.http_port if scheme == "http" else server.grpc_port
    with forward_proxy(("127.0.0.1", port)) as (proxy, seen):
        monkeypatch.setenv("HTTP_PROXY", f"http://user:pass%21@127.0.0.1:{proxy}")
        assert tracks(f"{scheme}://{ELSEWHERE}:8000")
        assert {request["method"] for request in seen} == {"GET" if scheme == "http" else "CONNECT"}
        assert all(f"{ELSEWHERE}:8000" in request["target"] for request in seen)
        expected = f"Basic {base64.b64encode(b'user:pass!').decode()}"
        assert {request["proxy-authorization"] for request in seen} == {expected}
        seen.clear()
        monkeypatch.setenv("NO_PROXY", "127.0.0.0/8")
        assert tracks(f"{scheme}://127.0.0.1:{port}")
        assert seen == []


@pytest.fixture
def tls_server(encoder, certificate, tmp_path):
    process = ServerProcess(tmp_path, encoder, f"--tls-cert={certificate[0]}", f"--tls-key={certificate[1]}")
    yield process
    process.stop()


def test_tls_goes_through_the_proxy_and_trusts_the_environments_bundle(tls_server, certificate, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate[0]))
    for scheme, port in (("https", tls_server.http_port), ("grpcs", tls_server.grpc_port)):
        assert tracks(f"{scheme}://localhost:{port}")
        with forward_proxy(("127.0.0.1", port)) as (proxy, seen), monkeypatch.context() as patch:
            patch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy}")
            assert tracks(f"{scheme}://localhost:{port}")
            assert {request["method"] for request in seen} == {"CONNECT"}


def test_headers_are_sent_with_every_request():
    headers = {"host": ELSEWHERE, "x-api-key": "s3cret"}
    with stub(lambda number: embedding(RESULT)) as (url, asked):
        with connect(Access(Address.parse(url), headers=headers)) as connection:
            found = connection.infer(MODEL, {"signal": SIGNAL})["embedding"]
        np.testing.assert_array_equal(found, RESULT)
        assert (asked[0]["host"], asked[0]["x-api-key"]) == (ELSEWHERE, "s3cret")


def test_grpc_sends_headers_as_metadata():
    seen: dict[str, str] = {}

    class Gateway(grpc.GenericRpcHandler):
        def service(self, details):
            seen.update(dict(details.invocation_metadata))
            return grpc.unary_unary_rpc_method_handler(lambda content, context: b"")

    gateway = grpc.server(ThreadPoolExecutor(1), handlers=[Gateway()])
    port = gateway.add_insecure_port("127.0.0.1:0")
    gateway.start()
    try:
        tracks(f"grpc://127.0.0.1:{port}", headers={"host": ELSEWHERE, "x-api-key": "s3cret"})
    finally:
        gateway.stop(0)
    assert seen["x-api-key"] == "s3cret"


def test_grpc_takes_the_host_header_for_the_servers_name(tls_server, certificate):
    address = f"grpcs://127.0.0.1:{tls_server.grpc_port}"  # the certificate is for localhost alone
    assert tracks(address, ca_file=certificate[0], headers={"host": "localhost"})
    with pytest.raises(ServerRefused):
        tracks(address, ca_file=certificate[0])


def test_a_token_is_given_once():
    access = Access(Address.parse("http://localhost"), token="a", headers={"authorization": "Basic b"})
    with pytest.raises(ParamsError, match="give one of them"):
        connect(access)
