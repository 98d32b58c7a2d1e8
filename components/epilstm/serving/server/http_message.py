"""Requests and responses, as the application reads and writes them."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

import orjson

from epilstm.serving.server.refusal import Refusal, Status, bad_request

#: Start line and headers of a request at most.
MAX_HEAD_BYTES = 16 << 10


@dataclass
class HttpRequest:
    """One request.

    Parameters
    ----------
    method, path : str
        The path is unquoted.
    headers : mapping of str to str
        Names in lower case; of a repeated one the last.
    content_length : int or None
        None where the body comes in chunks.
    id : str
        Request id: the client's, or one that the server made.
    model : str
        Name of the model it is for, for metrics and log; filled in by the application.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    content_length: int | None
    id: str = ""
    body: memoryview = field(default_factory=lambda: memoryview(b""))
    model: str = ""

    @property
    def wants_body(self) -> bool:
        """Whether the response has a body: that of HEAD has the headers of GET alone."""
        return self.method != "HEAD"

    @property
    def encoding(self) -> str:
        """Content encoding of the body, in lower case; ``x-gzip`` is gzip (RFC 9110, 8.4.1.3)."""
        named = self.headers.get("content-encoding", "identity").strip().lower()
        return "gzip" if named == "x-gzip" else named


@dataclass(frozen=True)
class HttpResponse:
    """One response.

    Parameters
    ----------
    parts : sequence of bytes
        The body.
    headers : mapping of str to str
        Further headers.
    """

    status: int
    parts: Sequence[bytes] = ()
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def body_bytes(self) -> int:
        """Length of the body."""
        return sum(map(len, self.parts))


def json_response(content: Any, status: int = Status.OK) -> HttpResponse:
    """A response with a JSON body."""
    return HttpResponse(status, (orjson.dumps(content),))


def refusal_response(refusal: Refusal) -> HttpResponse:
    """The protocol's error object."""
    headers = dict(refusal.headers)
    if refusal.retry_after is not None:
        headers["retry-after"] = str(refusal.retry_after)
    if refusal.status == Status.UNAUTHORIZED:
        headers["www-authenticate"] = "Bearer"
    return HttpResponse(refusal.status, (orjson.dumps({"error": refusal.message}),), headers=headers)


def read_head(scope: MutableMapping[str, Any]) -> HttpRequest:
    """The request of an ASGI scope, without its body.

    Raises
    ------
    Refusal
        Its URL or its headers make no sense.
    """
    given: list[tuple[bytes, bytes]] = scope["headers"]
    if sum([len(name) + len(value) for name, value in given]) + len(scope["raw_path"]) > MAX_HEAD_BYTES:
        raise Refusal(Status.HEADERS_TOO_LARGE, f"headers of more than {MAX_HEAD_BYTES:,} bytes")
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in given}
    raw_path = scope["raw_path"].decode("latin-1")
    query: Mapping[str, str] = {}
    try:
        path = unquote(raw_path, errors="strict") if "%" in raw_path else raw_path
        if scope["query_string"]:
            query = dict(parse_qsl(scope["query_string"].decode("ascii"), keep_blank_values=True, max_num_fields=20))
    except ValueError:
        raise bad_request("the URL is malformed") from None
    encoding = headers.get("transfer-encoding")
    if encoding is not None and encoding.strip().lower() != "chunked":
        raise Refusal(Status.NOT_IMPLEMENTED, f"transfer encoding {encoding[:40]!r} is not supported; send chunked")
    length = None if encoding is not None else _content_length(headers.get("content-length", "0"))
    return HttpRequest(scope["method"], path, query, headers, length)


def _content_length(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise bad_request("the Content-Length is not a number")
    return int(text)


def json_length(request: HttpRequest) -> int | None:
    """Bytes of JSON before the binary data of a body; None where all of it is JSON.

    Raises
    ------
    Refusal
        The header is not a number.
    """
    text = request.headers.get("inference-header-content-length")
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise bad_request("the Inference-Header-Content-Length is not a number")
    return int(text)
