"""Proxies, certificates and headers, as clients read them from the environment and the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from epilstm.errors import ParamsError
from epilstm.runtime.network import CA_VARIABLES, Proxy, ca_path, parse_headers, proxy_for

VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture
def environment(monkeypatch):
    """Sets variables; none of those that count is set before."""
    for name in (*VARIABLES, *map(str.lower, VARIABLES), *CA_VARIABLES):
        monkeypatch.delenv(name, raising=False)

    def put(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return put


@pytest.mark.parametrize(
    ("variables", "url", "expected"),
    [
        ({}, "https://a.org", None),
        ({"HTTPS_PROXY": "http://proxy:3128"}, "https://a.org", Proxy("http://proxy:3128")),
        ({"https_proxy": "proxy:3128"}, "grpcs://a.org:443", Proxy("http://proxy:3128")),
        ({"HTTPS_PROXY": "http://proxy:3128"}, "http://a.org", None),
        ({"ALL_PROXY": "http://proxy"}, "grpc://a.org:81", Proxy("http://proxy:80")),
        ({"HTTP_PROXY": "http://u%40x:p%3Aw@[::1]:8"}, "http://a.org", Proxy("http://[::1]:8", "u@x", "p:w")),
    ],
)
def test_the_proxy_is_that_of_the_scheme(environment, variables, url, expected):
    environment(**variables)
    assert proxy_for(url) == expected


@pytest.mark.parametrize(
    ("excluded", "url", "bypassed"),
    [
        ("a.org", "http://a.org", True),
        ("a.org", "http://x.a.org", True),
        (".a.org", "http://x.a.org:8080", True),
        ("a.org", "http://ba.org", False),
        ("b.org, A.ORG ", "http://a.org", True),
        ("a.org:8080", "http://a.org:8080", True),
        ("a.org:8080", "http://a.org", False),
        ("10.0.0.0/8", "http://10.3.2.1:80", True),
        ("10.0.0.0/8", "http://11.3.2.1:80", False),
        ("::1", "http://[::1]:80", True),
        ("*", "http://a.org", True),
        ("", "http://a.org", False),
    ],
)
def test_hosts_that_no_proxy_names_are_reached_directly(environment, excluded, url, bypassed):
    environment(HTTP_PROXY="http://proxy", NO_PROXY=excluded)
    assert (proxy_for(url) is None) == bypassed


@pytest.mark.parametrize("value", ["socks5://proxy:1080", "http://", "http://proxy:port"])
def test_what_is_no_http_proxy_is_refused_by_its_variables_name(environment, value):
    environment(HTTPS_PROXY=value)
    with pytest.raises(ParamsError, match="HTTPS_PROXY"):
        proxy_for("https://a.org")


def test_certificates_are_those_given_before_those_of_the_environment(environment, certificate, tmp_path):
    environment(REQUESTS_CA_BUNDLE=str(certificate), CURL_CA_BUNDLE=str(tmp_path / "missing"))
    assert ca_path(None, "--ca-file") == certificate
    assert ca_path(certificate.parent, "--ca-file") == certificate.parent
    environment(SSL_CERT_FILE=str(tmp_path / "missing.pem"))
    with pytest.raises(ParamsError, match=r"SSL_CERT_FILE .*missing\.pem: No such file"):
        ca_path(None, "--ca-file")
    (tmp_path / "empty.pem").write_text("no certificate")
    with pytest.raises(ParamsError, match=r"--ca-file .*holds no certificates"):
        ca_path(tmp_path / "empty.pem", "--ca-file")


@pytest.fixture
def certificate(tmp_path) -> Path:
    from support.serve.server_process import make_certificate

    return make_certificate(tmp_path)[0]


def test_headers_are_read_as_curl_reads_them():
    lines = ["Host: encoder.example.org", "X-Api-Key:a b:c "]
    assert parse_headers(lines) == {"host": "encoder.example.org", "x-api-key": "a b:c"}


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (["Host"], "write it as 'Name: value'"),
        (["X-Key: a\r\nX-Other: b"], "write it as"),
        (["X Key: s3cret"], "write it as"),
        (["X-Key:"], "write it as"),
        (["Content-Length: 3"], "the client sets it itself"),
        (["X-Key: a", "x-key: b"], "given twice"),
    ],
)
def test_what_is_no_header_is_refused_without_its_value(lines, problem):
    with pytest.raises(ParamsError, match=problem) as refused:
        parse_headers(lines)
    assert "s3cret" not in str(refused.value)
