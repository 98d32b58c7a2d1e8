"""Requests and responses of HTTP/1.1, as far as the server needs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote

import httptools
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
    query : mapping of str to str
    headers : mapping of str to str
        Names in lower case; of a repeated one the last.
    content_length : int or None
        None where the body comes in chunks.
    keep_alive : bool
        Whether the client may send another request on the connection.
    http_1_0 : bool
        Whether it is of HTTP/1.0.
    id : str
        Request id: the client's, or one of ours.
    body : memoryview
    model : str
        Name of the model it is for, for metrics and log; filled in by who answers it.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    content_length: int | None
    keep_alive: bool
    http_1_0: bool = False
    id: str = ""
    body: memoryview = field(default_factory=lambda: memoryview(b""))
    model: str = ""

    @property
    def wants_body(self) -> bool:
        """Whether the response has a body: that of HEAD has the headers of GET alone."""
        return self.method != "HEAD"

    @property
    def encoding(self) -> str:
        """Content encoding of the body, in lower case."""
        return self.headers.get("content-encoding", "identity").strip().lower()

    def again(self) -> HttpRequest:
        """The same request, before it has an id, a body or a model."""
        return HttpRequest(
            self.method, self.path, self.query, self.headers, self.content_length, self.keep_alive, self.http_1_0
        )


@dataclass(frozen=True)
class HttpResponse:
    """One response.

    Parameters
    ----------
    status : int
    parts : sequence of bytes
        The body.
    content_type : str
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


class HeadParser:
    """Reads the head of a request, and a body that comes in chunks.

    Parameters
    ----------
    head : bytes
        Start line and headers with the empty line behind them.

    Raises
    ------
    Refusal
        It is not HTTP, or asks for what the server has not.
    """

    def __init__(self, head: bytes) -> None:
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self.chunks: list[bytes] = []
        self.chunked_bytes = 0
        self.complete = False
        self._parser = httptools.HttpRequestParser(self)
        try:
            self._parser.feed_data(head)
        except httptools.HttpParserUpgrade:
            # An offer, such as h2c from Java's client and curl: a server that does not take it answers in HTTP/1.1.
            if self._parser.get_method() == b"CONNECT":
                raise Refusal(Status.NOT_IMPLEMENTED, "CONNECT is not supported; this server is no proxy") from None
        except httptools.HttpParserError as error:
            raise bad_request(f"not an HTTP request: {error}") from None

    def on_url(self, url: bytes) -> None:
        """Called by the parser."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser."""
        if not self.complete:
            self._headers.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        if not self.complete:
            self.chunks.append(body)
            self.chunked_bytes += len(body)

    def on_message_complete(self) -> None:
        """Called by the parser."""
        self.complete = True

    def feed(self, content: bytes) -> None:
        """Go on with a body that comes in chunks.

        Raises
        ------
        Refusal
            The chunks are malformed.
        """
        try:
            self._parser.feed_data(content)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self.complete:
                raise bad_request(f"the chunks of the body are malformed: {error}") from None

    def request(self) -> HttpRequest:
        """The request, without its body.

        Raises
        ------
        Refusal
            Its URL or its headers make no sense.
        """
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in self._headers}
        try:
            url = httptools.parse_url(self._url)
            path = unquote((url.path or b"/").decode("ascii"), errors="strict")
            query = dict(parse_qsl((url.query or b"").decode("ascii"), keep_blank_values=True, max_num_fields=20))
        except (httptools.HttpParserError, ValueError):
            raise bad_request("the URL is malformed") from None
        encoding = headers.get("transfer-encoding")
        if encoding is not None and encoding.strip().lower() != "chunked":
            raise Refusal(Status.NOT_IMPLEMENTED, f"transfer encoding {encoding[:40]!r} is not supported; send chunked")
        version = self._parser.get_http_version()
        return HttpRequest(
            self._parser.get_method().decode("ascii"),
            path,
            query,
            headers,
            None if encoding is not None else self._content_length(headers.get("content-length", "0")),
            self._parser.should_keep_alive() and encoding is None,
            version == "1.0",
        )

    @staticmethod
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


def format_head(response: HttpResponse, request_id: str, date: bytes, keep_alive: bool, http_1_0: bool) -> bytes:
    """Status line and headers of a response."""
    lines = [
        _STATUS_LINES[Status(response.status)],
        b"content-type: %b\r\ncontent-length: %d\r\ndate: %b\r\nx-request-id: %b\r\n"
        % (response.content_type.encode(), response.body_bytes, date, request_id.encode()),
    ]
    lines += [f"{name}: {value}\r\n".encode("latin-1") for name, value in response.headers.items()]
    if not keep_alive:
        lines.append(b"connection: close\r\n")
    elif http_1_0:
        lines.append(b"connection: keep-alive\r\n")
    lines.append(b"\r\n")
    return b"".join(lines)


def _phrase(status: Status) -> str:
    # The names of two of them changed between Python versions.
    names = {Status.CONTENT_TOO_LARGE: "Content Too Large"}
    return names.get(status) or HTTPStatus(status).phrase


_STATUS_LINES = {status: f"HTTP/1.1 {status.value} {_phrase(status)}\r\n".encode() for status in Status}

#: What numbers in buffers are aligned to, in bytes.
ALIGNMENT = 64


def aligned_offset(address: int, lead: int) -> int:
    """Where in a buffer a body must begin so that what follows its first `lead` bytes is aligned."""
    return -(address + lead) % ALIGNMENT
