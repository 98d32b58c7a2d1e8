"""The ASGI side of the server: what a request may cost, and how it is refused.

uvicorn reads and writes HTTP. Every limit of a request is here: the size of its headers and body, the memory of all
bodies together, the time in which a body arrives. A refused body is read and discarded, so that the refusal arrives.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from epilstm.console import log
from epilstm.serving.server.content_encoding import decompressed
from epilstm.serving.server.http_message import HttpRequest, HttpResponse, json_length, read_head, refusal_response
from epilstm.serving.server.refusal import Refusal, Status

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

#: Seconds for the rest of a refused body to arrive and be discarded.
DISCARD_SECONDS = 5.0

#: Bytes of a refused body that are discarded beyond the largest body that is allowed.
DISCARD_EXTRA = 1 << 20

#: Seconds after the last connection was accepted for its request to arrive.
LAST_SECONDS = 0.25

#: Bytes of a body that are reserved before any has arrived; what a slow sender can make the server reserve.
FIRST_RESERVE = 1 << 20

#: What the numbers of a tensor are aligned to in memory, in bytes.
ALIGNMENT = 64

REQUEST_ID = re.compile(r"[A-Za-z0-9._:/=+-]{1,128}")


@dataclass(frozen=True)
class HttpLimits:
    """What a client may cost.

    Parameters
    ----------
    max_body : int
        Bytes of a body.
    body_budget : int
        Bytes of all bodies in memory at the same time.
    head_seconds, body_seconds, idle_seconds, write_seconds : float
        For a head to arrive, a body to arrive, the next request to begin, a response to be read by the client.
    """

    max_body: int = 64 << 20
    body_budget: int = 512 << 20
    connections: int = 1000
    head_seconds: float = 10.0
    body_seconds: float = 30.0
    idle_seconds: float = 75.0
    write_seconds: float = 30.0


class Application(Protocol):
    """What answers requests."""

    def admit(self, request: HttpRequest) -> None:
        """Check a request before its body is read.

        Raises
        ------
        Refusal
            It will not be answered.
        """

    async def answer(self, request: HttpRequest) -> HttpResponse:
        """Answer a request.

        Raises
        ------
        Refusal
            It is not answered as asked.
        """

    def answered(self, request: HttpRequest | None, response: HttpResponse, received: int, seconds: float) -> None:
        """Called for every response; there is no request where no head could be read."""


class AsgiApplication:
    """Answers requests of an ASGI server within the limits."""

    def __init__(self, application: Application, limits: HttpLimits) -> None:
        self.application, self.limits = application, limits
        self.body_bytes = 0
        self.in_flight = 0
        self.draining = False
        self._numbers = itertools.count(1)
        self._prefix = os.urandom(6).hex()

    def next_id(self) -> str:
        """A new request id."""
        return f"{self._prefix}-{next(self._numbers)}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; its body is in ``scope["state"]["body"]``."""
        body: Body = scope["state"]["body"]
        request: HttpRequest | None = None
        request_id = ""
        started = 0.0
        try:
            request = read_head(scope)
            given = request.headers.get("x-request-id", "")
            request_id = request.id = given if REQUEST_ID.fullmatch(given) else self.next_id()
            self.application.admit(request)
            request.body = await body.read(request, receive)
            started = time.perf_counter()
            response = await self._answer(request, body)
        except Refusal as refusal:
            response = refusal_response(refusal)
        except asyncio.CancelledError:  # the client has gone
            return
        finally:
            received = body.received
            body.close()
        seconds = time.perf_counter() - started if started else 0.0
        self.application.answered(request, response, received, seconds)
        await self._send(scope, response, request_id or self.next_id(), body, receive, send)

    async def _answer(self, request: HttpRequest, body: Body) -> HttpResponse:
        self.in_flight += 1
        try:
            if request.body and request.encoding != "identity":
                request.body = await body.decompress(request)
            return await self.application.answer(request)
        except Refusal:
            raise
        except Exception as error:  # a bug: this request fails, the others are answered
            log.error("a request failed", exc_info=error, extra={"fields": {"request_id": request.id}})
            message = f"internal error; the server's log has it under request id {request.id}"
            return refusal_response(Refusal(Status.INTERNAL_ERROR, message))
        finally:
            self.in_flight -= 1
            request.body = memoryview(b"")

    async def _send(
        self, scope: Scope, response: HttpResponse, request_id: str, body: Body, receive: Receive, send: Send
    ) -> None:
        headers = [
            (b"content-type", response.content_type.encode()),
            (b"content-length", b"%d" % response.body_bytes),
            (b"x-request-id", request_id.encode()),
        ]
        headers += [(name.encode(), value.encode("latin-1")) for name, value in response.headers.items()]
        if self.draining or not body.complete:
            headers.append((b"connection", b"close"))
        content = response.parts[0] if len(response.parts) == 1 else b"".join(response.parts)
        await send({"type": "http.response.start", "status": int(response.status), "headers": headers})
        await send({"type": "http.response.body", "body": content, "more_body": not body.complete})
        if not body.complete:
            await body.discard(receive)
            await send({"type": "http.response.body"})


class Body:
    """The body of one request, counted in the budget of all bodies while it arrives.

    Parameters
    ----------
    headers : list of tuple of bytes
        Of the request; they say how much memory to reserve, and how to place it.

    Attributes
    ----------
    complete : bool
        Whether the whole body has arrived.
    received : int
        Bytes of it.
    """

    def __init__(self, application: AsgiApplication, headers: list[tuple[bytes, bytes]]) -> None:
        self.application, self.limits = application, application.limits
        self.complete = False
        self.received = 0
        self._expected = _number(headers, b"content-length")
        self._lead = _number(headers, b"inference-header-content-length")
        self._content = memoryview(b"")
        self._counted = 0
        self._discarded = 0
        self._closed = False
        self._refusal: Refusal | None = None

    def feed(self, piece: bytes) -> bool:
        """Add what has arrived.

        Returns
        -------
        bool
            Whether the rest is unwanted: the body is refused.
        """
        if self._closed:
            self._discarded += len(piece)
            return self._discarded > self.limits.max_body + DISCARD_EXTRA
        try:
            self._add(piece, "chunks")
        except Refusal as refusal:
            self._refusal = refusal
            self.close()
        return self._closed

    async def read(self, request: HttpRequest, receive: Receive) -> memoryview:
        """The whole body, placed so that its tensors are aligned.

        Raises
        ------
        Refusal
            It is too large, too slow, or over the budget.
        """
        if request.content_length is not None and request.content_length > self.limits.max_body:
            raise self._too_large(f"{request.content_length:,} bytes")
        json_length(request)
        if not self.complete:
            try:
                async with asyncio.timeout(self.limits.body_seconds):
                    await receive()
            except TimeoutError:
                raise Refusal(Status.REQUEST_TIMEOUT, "the body did not arrive in time") from None
        if self._refusal is not None:
            raise self._refusal
        return self._content[: self.received]

    async def decompress(self, request: HttpRequest) -> memoryview:
        """The body before it was compressed, counted like any other.

        Raises
        ------
        Refusal
            It is not compressed as its header says, or too large.
        """
        received, self.received = self.received, 0
        self._content = memoryview(b"")
        try:
            for piece in decompressed(request.body, request.encoding):
                self._add(piece, f"{request.encoding} data")
                await asyncio.sleep(0)
            return self._content[: self.received]
        finally:
            self.received = received

    async def discard(self, receive: Receive) -> None:
        """Wait until the rest has arrived and is discarded, for a limited time."""
        try:
            async with asyncio.timeout(DISCARD_SECONDS):
                await receive()
        except TimeoutError:
            return

    def close(self) -> None:
        """Return the bytes to the budget; what still arrives is discarded."""
        self._closed = True
        self.application.body_bytes -= self._counted
        self._counted = 0
        self._content = memoryview(b"")

    def _add(self, piece: bytes, what: str) -> None:
        first, size = self.received, len(piece)
        self.received += size
        self._counted += size
        self.application.body_bytes += size
        if self.received > self.limits.max_body:
            raise self._too_large(what)
        if self.application.body_bytes > self.limits.body_budget:
            raise Refusal(Status.TOO_MANY_REQUESTS, "too many large requests at once; retry in 1 s", 1)
        if self.received > len(self._content):
            self._reserve(first)
        self._content[first : self.received] = piece

    def _reserve(self, filled: int) -> None:
        """Make the memory of the body larger and keep what is in it; its tensors are aligned."""
        size = max(self.received, min(self._expected, FIRST_RESERVE), 2 * len(self._content))
        space = np.empty(size + ALIGNMENT, np.uint8)
        first = -(space.__array_interface__["data"][0] + self._lead) % ALIGNMENT
        content = memoryview(space.data)[first : first + size]
        content[:filled] = self._content[:filled]
        self._content = content

    def _too_large(self, what: str) -> Refusal:
        return Refusal(
            Status.CONTENT_TOO_LARGE, f"a body of {what}, more than {self.limits.max_body:,}; send it in parts"
        )


def _number(headers: list[tuple[bytes, bytes]], wanted: bytes) -> int:
    """The number in a header; 0 where there is none, which the checks of the request find."""
    for name, value in headers:
        if name == wanted and value.isdigit():
            return int(value[:18])
    return 0
