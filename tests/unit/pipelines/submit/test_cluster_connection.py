"""Reaching a server: as whom, and what is said when it cannot be."""

import datetime
import ipaddress
import json
import socket
import ssl
from pathlib import Path

import pytest

from support.client.proxy_server import forward_proxy
from support.nonempty import nonempty
from support.pipelines.command_outcome import Command
from support.pipelines.fake_kfp_server import FakeKfpServer

TOKEN = "eyJhbGciOi.secret-token.c2lnbmF0dXJl"


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_without_a_host_the_ways_to_give_one_are_reported(epilstm_pipeline: Command) -> None:
    result = epilstm_pipeline("runs")
    assert result.code == 2
    assert "give --host or set KFP_HOST" in result.error


def test_host_and_namespace_come_from_the_environment_when_the_command_runs(
    epilstm_pipeline: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeKfpServer(namespaces=("team",)) as server:
        monkeypatch.setenv("KFP_HOST", server.url + "/")
        monkeypatch.setenv("KFP_NAMESPACE", "team")
        assert epilstm_pipeline("runs").code == 0
        assert server.sent("GET /runs")[0].query["namespace"] == "team"


def test_the_token_comes_from_a_file(epilstm_pipeline: Command, tmp_path: Path) -> None:
    file = write(tmp_path / "token", TOKEN + "\n")
    with FakeKfpServer(token=TOKEN) as server:
        assert epilstm_pipeline("runs", "--host", server.url, "--token-file", file).code == 0


def test_the_token_comes_from_the_environment(epilstm_pipeline: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KFP_TOKEN", TOKEN)
    with FakeKfpServer(token=TOKEN) as server:
        assert epilstm_pipeline("runs", "--host", server.url).code == 0


def test_a_token_that_is_renewed_in_its_file_is_read_again(tmp_path: Path) -> None:
    from epilstm.pipelines.submit.connection import Connection
    from epilstm.pipelines.submit.credentials import Credentials
    from epilstm.pipelines.submit.server import Server

    file = write(tmp_path / "token", "first")
    with FakeKfpServer(token="first") as server:
        asked = Server(Connection(server.url, credentials=Credentials(file)))
        server.token = "second"
        file.write_text("second")
        assert asked.client.list_runs(namespace="").runs is None


@pytest.mark.parametrize(
    "text",
    [
        "authservice_session=abc",
        "# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t0\tauthservice_session\tabc\n"
        ".example.org\tTRUE\t/\tFALSE\t0\tother\tnot-for-this-host\n",
    ],
)
def test_an_existing_session_is_taken_from_its_cookies(epilstm_pipeline: Command, tmp_path: Path, text: str) -> None:
    file = write(tmp_path / "cookies.txt", text)
    with FakeKfpServer(cookie="authservice_session=abc") as server:
        assert epilstm_pipeline("runs", "--host", server.url, "--cookies-file", file).code == 0
        assert "not-for-this-host" not in server.requests[0].headers["cookie"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "holds no cookies"),
        ("hello", "holds no cookies"),
        ("# Netscape HTTP Cookie File\n.example.org\tTRUE\t/\tFALSE\t0\tname\tvalue\n", "no cookie for 127.0.0.1"),
        ("# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t99\tname\tvalue\n", "has expired"),
    ],
)
def test_cookies_that_are_no_session_are_refused(
    epilstm_pipeline: Command, kfp_server: FakeKfpServer, tmp_path: Path, text: str, reason: str
) -> None:
    file = write(tmp_path / "cookies.txt", text)
    result = epilstm_pipeline("runs", "--host", kfp_server.url, "--cookies-file", file)
    assert result.code == 1
    assert reason in result.error
    assert not kfp_server.requests


@pytest.mark.parametrize("text", ["", "two words", "line\nline", "café"])
def test_a_file_that_holds_no_token_is_refused_without_showing_it(
    epilstm_pipeline: Command, kfp_server: FakeKfpServer, tmp_path: Path, text: str
) -> None:
    file = write(tmp_path / "token", text)
    result = epilstm_pipeline("runs", "--host", kfp_server.url, "--token-file", file)
    assert result.code == 1
    assert str(file) in result.error
    assert not text or text not in result.err
    assert not kfp_server.requests


@pytest.mark.parametrize("verbosity", [(), ("-v",)])
def test_a_refused_token_is_reported_and_never_shown(
    epilstm_pipeline: Command, monkeypatch: pytest.MonkeyPatch, verbosity: tuple[str, ...]
) -> None:
    monkeypatch.setenv("KFP_TOKEN", TOKEN)
    with FakeKfpServer(token="another") as server:
        result = epilstm_pipeline("runs", "--host", server.url, *verbosity)
        assert result.code == 1
        assert "not authenticated (401)" in result.error
        assert "Bearer ***" in result.error
        assert TOKEN not in result.err + result.out
        assert len(server.requests) == 1


def test_a_missing_token_is_reported(epilstm_pipeline: Command) -> None:
    with FakeKfpServer(token=TOKEN) as server:
        result = epilstm_pipeline("runs", "--host", server.url)
        assert result.code == 1
        assert "--token-file or KFP_TOKEN" in result.error


def test_a_namespace_that_is_not_one_s_own_is_reported(epilstm_pipeline: Command) -> None:
    with FakeKfpServer(namespaces=("team",)) as server:
        result = epilstm_pipeline("runs", "--host", server.url, "--namespace", "others")
        assert result.code == 1
        assert "not allowed in namespace others (403): PermissionDenied" in result.error


def test_a_server_of_many_users_needs_a_namespace(epilstm_pipeline: Command) -> None:
    with FakeKfpServer(namespaces=("team",)) as server:
        result = epilstm_pipeline("runs", "--host", server.url)
        assert result.code == 1
        assert "give yours with --namespace" in result.error


def test_a_server_of_one_user_is_not_asked_for_a_namespace(
    epilstm_pipeline: Command, kfp_server: FakeKfpServer
) -> None:
    assert epilstm_pipeline("runs", "--host", kfp_server.url, "--namespace", "kubeflow").code == 0
    assert not kfp_server.sent("GET /runs")[0].query.get("namespace")


def test_a_server_that_is_down_is_reported(epilstm_pipeline: Command) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        result = epilstm_pipeline("runs", "--host", f"http://127.0.0.1:{taken.getsockname()[1]}")
    assert result.code == 1
    assert "connection refused" in result.error


def test_a_host_that_does_not_exist_is_reported(epilstm_pipeline: Command) -> None:
    result = epilstm_pipeline("runs", "--host", "http://kubeflow.invalid")
    assert result.code == 1
    assert "http://kubeflow.invalid: no such host" in result.error


@pytest.mark.parametrize(
    "host", ["kubeflow", "ftp://x", "http://", "http://x:99999", "http://x?y=1", "http://user:hunter2@x"]
)
def test_a_host_that_is_no_url_is_refused(epilstm_pipeline: Command, host: str) -> None:
    result = epilstm_pipeline("runs", "--host", host)
    assert result.code == 1
    assert "--host" in result.error
    assert "hunter2" not in result.error


def test_server_errors_are_asked_again(epilstm_pipeline: Command, kfp_server: FakeKfpServer) -> None:
    kfp_server.fail("GET /runs", times=3, status=503)
    kfp_server.fail("GET /healthz", hang_up=True)
    assert epilstm_pipeline("runs", "--host", kfp_server.url).code == 0


def test_a_command_does_not_wait_as_long_as_a_server_asks_for(
    epilstm_pipeline: Command, kfp_server: FakeKfpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr("urllib3.util.retry.time.sleep", waited.append)
    kfp_server.fail("GET /runs", times=2, status=503, retry_after="3600")
    assert epilstm_pipeline("runs", "--host", kfp_server.url).code == 0
    assert sum(waited) < 60


def test_a_server_that_keeps_failing_is_reported(epilstm_pipeline: Command, kfp_server: FakeKfpServer) -> None:
    kfp_server.fail("GET /runs", times=99, status=500, message="database is down")
    result = epilstm_pipeline("runs", "--host", kfp_server.url)
    assert result.code == 1
    assert "the server answers 500: database is down" in result.error
    assert len(kfp_server.sent("GET /runs")) == 5


def test_what_is_refused_for_good_is_asked_once(epilstm_pipeline: Command, kfp_server: FakeKfpServer) -> None:
    kfp_server.fail("GET /runs", times=99, status=400, message="bad filter")
    result = epilstm_pipeline("runs", "--host", kfp_server.url)
    assert "400: bad filter" in result.error
    assert len(kfp_server.sent("GET /runs")) == 1


def test_a_server_that_does_not_answer_is_not_waited_for_forever(
    epilstm_pipeline: Command, kfp_server: FakeKfpServer
) -> None:
    kfp_server.fail("GET /runs", times=99, status=200, hang=2)
    result = epilstm_pipeline("runs", "--host", kfp_server.url, "--timeout", "0.1")
    assert result.code == 1
    assert "no answer within 0.1 s" in result.error


def test_a_sign_in_page_is_distinguished_from_an_answer(epilstm_pipeline: Command, kfp_server: FakeKfpServer) -> None:
    kfp_server.fail("GET", status=200, page=True)
    result = epilstm_pipeline("runs", "--host", kfp_server.url)
    assert result.code == 1
    assert "answers with a page (text/html), not as the pipelines API" in result.error


def test_a_redirection_to_a_sign_in_is_reported_and_not_followed(
    epilstm_pipeline: Command, kfp_server: FakeKfpServer
) -> None:
    kfp_server.fail("GET", status=302, location="https://login.example.org/auth?state=private")
    result = epilstm_pipeline("runs", "--host", kfp_server.url)
    assert result.code == 1
    assert "redirects to https://login.example.org/auth (302)" in result.error
    assert len(kfp_server.requests) == 1


def test_the_files_of_other_tools_do_not_decide_who_asks(
    epilstm_pipeline: Command, kfp_server: FakeKfpServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    context = tmp_path / ".config" / "kfp" / "context.json"
    context.parent.mkdir(parents=True)
    context.write_text(json.dumps({"namespace": "theirs", "client_authentication_cookie": "theirs"}))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("kfp.Client._LOCAL_KFP_CONTEXT", str(context))
    assert epilstm_pipeline("runs", "--host", kfp_server.url).code == 0
    assert "cookie" not in kfp_server.requests[0].headers


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PEM of a certificate for 127.0.0.1 that signed itself, with its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    path.write_bytes(
        signed.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


def _tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_a_certificate_of_an_unknown_authority_is_refused(epilstm_pipeline: Command, certificate: Path) -> None:
    with FakeKfpServer(tls=_tls(certificate)) as server:
        result = epilstm_pipeline("runs", "--host", server.url)
        assert result.code == 1
        assert (
            "TLS refused: self-signed certificate; give the authority's certificate with --ssl-ca-cert" in result.error
        )
        assert not server.requests


def test_the_authority_s_certificate_can_be_given(epilstm_pipeline: Command, certificate: Path) -> None:
    with FakeKfpServer(tls=_tls(certificate)) as server:
        assert epilstm_pipeline("runs", "--host", server.url, "--ssl-ca-cert", certificate).code == 0


def test_the_certificates_of_the_environment_are_trusted(
    epilstm_pipeline: Command, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeKfpServer(tls=_tls(certificate)) as server:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        assert epilstm_pipeline("runs", "--host", server.url).code == 0


def test_a_server_without_tls_is_reported(epilstm_pipeline: Command, kfp_server: FakeKfpServer) -> None:
    result = epilstm_pipeline("runs", "--host", kfp_server.url.replace("http", "https"))
    assert result.code == 1
    assert "does not speak TLS; is it http://" in result.error


def test_a_server_with_tls_is_distinguished_from_one_without(epilstm_pipeline: Command, certificate: Path) -> None:
    with FakeKfpServer(tls=_tls(certificate)) as server:
        result = epilstm_pipeline("runs", "--host", server.url.replace("https", "http"))
        assert result.code == 1
        assert "is it https://?" in result.error


@pytest.mark.parametrize("content", [None, "not a certificate"])
def test_a_certificate_file_that_is_none_is_refused(
    epilstm_pipeline: Command, kfp_server: FakeKfpServer, tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    result = epilstm_pipeline("runs", "--host", kfp_server.url, "--ssl-ca-cert", file)
    assert result.code == 2
    assert f"--ssl-ca-cert {file}" in result.error
    assert not kfp_server.requests


def test_the_client_does_not_chat(epilstm_pipeline: Command, kfp_server: FakeKfpServer, package: Path) -> None:
    result = epilstm_pipeline("upload", "--host", kfp_server.url, "--package", package)
    assert result.err == ""
    assert len(result.out.splitlines()) == 1


def test_requests_go_through_the_proxy_of_the_environment(
    epilstm_pipeline: Command, kfp_server: FakeKfpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(kfp_server.url.rpartition(":")[2])
    with forward_proxy(("127.0.0.1", port)) as (proxy, seen):
        monkeypatch.setenv("http_proxy", f"http://user:pass@127.0.0.1:{proxy}")
        assert epilstm_pipeline("runs", "--host", "http://ml-pipeline.example.invalid:8888").code == 0
        assert seen
        assert all("ml-pipeline.example.invalid:8888" in request["target"] for request in seen)
        assert {request["proxy-authorization"] for request in seen} == {"Basic dXNlcjpwYXNz"}
        seen.clear()
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert epilstm_pipeline("runs", "--host", kfp_server.url).code == 0
        assert seen == []


def test_a_proxy_that_is_down_is_named_as_the_cause(
    epilstm_pipeline: Command, kfp_server: FakeKfpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{taken.getsockname()[1]}")
        refused = epilstm_pipeline("runs", "--host", "http://ml-pipeline.example.invalid:8888")
    assert refused.code == 1
    assert "the proxy is unreachable; check HTTPS_PROXY, HTTP_PROXY and NO_PROXY" in refused.error


def test_headers_are_sent_with_every_request(epilstm_pipeline: Command, kfp_server: FakeKfpServer) -> None:
    headers = ("--header", "Host: pipelines.example.org", "--header", "X-Api-Key: k")
    assert epilstm_pipeline("runs", "--host", kfp_server.url, *headers).code == 0
    assert kfp_server.requests
    for request in nonempty(kfp_server.requests):
        assert (request.headers["host"], request.headers["x-api-key"]) == ("pipelines.example.org", "k")


def test_what_is_no_header_is_refused(epilstm_pipeline: Command, kfp_server: FakeKfpServer) -> None:
    result = epilstm_pipeline("runs", "--host", kfp_server.url, "--header", "Host")
    assert (result.code, kfp_server.requests) == (2, [])
    assert "write it as 'Name: value'" in result.error


@pytest.mark.parametrize(
    "words",
    [
        ("upload", "--version-name", "x" * 128),
        ("submit", "--run-name", "x" * 301),
        ("submit", "--experiment", "x" * 129),
        ("schedule", "x" * 301, "--cron", "@daily"),
    ],
)
def test_names_that_are_too_long_for_the_server_are_refused_before_anything_is_sent(
    epilstm_pipeline: Command, kfp_server: FakeKfpServer, words: tuple[str, ...]
) -> None:
    result = epilstm_pipeline(*words, "--host", kfp_server.url)
    assert (result.code, kfp_server.requests) == (2, [])
    assert "servers take" in result.error
