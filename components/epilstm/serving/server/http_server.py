"""HTTP/1.1 on asyncio: bodies go from the socket to where the tensor is read, and no client can hold the server up.

httptools parses heads and chunks. What it and asyncio leave open is here: every phase of a connection has a deadline, a
head and a body have a largest size, all bodies together have a budget, and a refused body is read and thrown away, so
that the refusal arrives. An ASGI server copies a body of 400 kB several times and takes 0.45 ms of a core for it; this
takes 0.1 ms (docs/serving.md).
"""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.utils import formatdate
from enum import Enum, auto
from typing import Protocol, cast

import numpy as np

from epilstm.console import log
from epilstm.serving.server.content_encoding import decompressed
from epilstm.serving.server.http_message import (
    ALIGNMENT,
    MAX_HEAD_BYTES,
    HeadParser,
    HttpRequest,
    HttpResponse,
    aligned_offset,
    format_head,
    json_length,
    refusal_response,
)
from epilstm.serving.server.refusal import Refusal, Status, bad_request

#: Bytes of a body that are reserved before any has come; what a slow sender can make us reserve.
FIRST_RESERVE = 1 << 20

#: Seconds for the rest of a body that was refused to come and be thrown away.
DISCARD_SECONDS = 5.0

SWEEP_SECONDS = 0.25

#: Connections that may wait to be taken in.
BACKLOG = 1024

#: Seconds after the last connection was taken in for its request to arrive.
LAST_SECONDS = 0.25

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
    connections : int
    head_seconds, body_seconds, idle_seconds, write_seconds : float
        For a head to arrive, a body to arrive, the next request to begin, a response to be taken.
    """

    max_body: int = 64 << 20
    body_budget: int = 512 << 20
    connections: int = 1000
    head_seconds: float = 10.0
    body_seconds: float = 30.0
    idle_seconds: float = 75.0
    write_seconds: float = 30.0


class Application(Protocol):
    """Who answers requests."""

    def admit(self, request: HttpRequest) -> None:
        """Look at a request before its body is read.

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


class _Phase(Enum):
    HEAD = auto()
    BODY = auto()
    CHUNKS = auto()
    ANSWER = auto()
    WRITE = auto()
    DISCARD = auto()


class HttpServer:
    """Listens, and keeps the connections.

    Parameters
    ----------
    application : Application
    limits : HttpLimits
    """

    def __init__(self, application: Application, limits: HttpLimits) -> None:
        self.application, self.limits = application, limits
        self.connections: set[_Connection] = set()
        self.body_bytes = 0
        self.in_flight = 0
        self.draining = False
        self.date = b""
        self.scratch = memoryview(bytearray(256 << 10))
        self._numbers = itertools.count(1)
        self._prefix = os.urandom(6).hex()
        self._listener: asyncio.Server | None = None
        self._socket: socket.socket
        self._tls: ssl.SSLContext | None = None
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Listen.

        Returns
        -------
        int
            The port.

        Raises
        ------
        OSError
            The address is taken or not ours.
        """
        loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=BACKLOG)
        self._socket.setblocking(False)
        self._tls = tls
        self._listener = await loop.create_server(
            self._connection, sock=self._socket, ssl=tls, backlog=BACKLOG, ssl_handshake_timeout=self._handshake_seconds
        )
        self._sweeper = asyncio.create_task(self._sweep())
        return cast(int, self._socket.getsockname()[1])

    async def stop(self, linger: float, patience: float) -> None:
        """Stop without losing a request.

        For `linger` seconds requests are still taken, but each answer closes its connection. Then no new connection
        is taken, and requests that have begun are answered, for at most `patience` seconds.
        """
        self.draining = True
        await asyncio.sleep(linger)
        await self._stop_listening()
        await asyncio.sleep(LAST_SECONDS)
        for connection in list(self.connections):
            connection.close_if_idle()
        until = time.monotonic() + patience
        while self.connections and time.monotonic() < until:
            await asyncio.sleep(0.02)
        for connection in list(self.connections):
            connection.abort()
        if self._sweeper is not None:
            self._sweeper.cancel()

    def _connection(self) -> _Connection:
        return _Connection(self, asyncio.get_running_loop())

    @property
    def _handshake_seconds(self) -> float | None:
        return self.limits.head_seconds if self._tls else None

    async def _stop_listening(self) -> None:
        """Take in who has already connected, for closing the socket would reset them; then close it."""
        if self._listener is None:
            return
        loop = asyncio.get_running_loop()
        taken = []
        loop.remove_reader(self._socket)
        while True:
            try:
                taken.append(self._socket.accept()[0])
            except OSError:
                break
        self._listener.close()
        for each in taken:
            each.setblocking(False)
            try:
                await loop.connect_accepted_socket(
                    self._connection, each, ssl=self._tls, ssl_handshake_timeout=self._handshake_seconds
                )
            except OSError:  # gone again, or its TLS handshake failed
                continue

    def next_id(self) -> str:
        """A request id of ours."""
        return f"{self._prefix}-{next(self._numbers)}"

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self.date = formatdate(usegmt=True).encode()
            now = loop.time()
            for connection in list(self.connections):
                if connection.deadline < now:
                    connection.expired()
            await asyncio.sleep(SWEEP_SECONDS)


class _Connection(asyncio.BufferedProtocol):
    """One connection; its requests are answered one after the other."""

    def __init__(self, server: HttpServer, loop: asyncio.AbstractEventLoop) -> None:
        self.server, self.limits, self.loop = server, server.limits, loop
        self.phase = _Phase.HEAD
        self.deadline = loop.time() + server.limits.head_seconds
        self.transport: asyncio.Transport
        self.head = bytearray(MAX_HEAD_BYTES)
        self.head_view = memoryview(self.head)
        self.head_filled = 0
        self.request: HttpRequest | None = None
        self.known_head = b""
        self.known_request: HttpRequest
        self.parser: HeadParser | None = None
        self.body: memoryview = self.head_view[:0]
        self.body_filled = 0
        self.body_counted = 0
        self.lead = 0
        self.discarded = 0
        self.received_at = 0.0
        self.task: asyncio.Task[None] | None = None
        self.ended = self.close_after = False
        self.writing_paused = False

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.server.connections.add(self)
        if len(self.server.connections) > self.limits.connections:
            self._refuse(Refusal(Status.UNAVAILABLE, "too many connections; retry later", 1))

    def connection_lost(self, error: Exception | None) -> None:
        self.server.connections.discard(self)
        if self.task is not None:
            self.task.cancel()
        else:
            self._drop_body()
        self.ended = True

    def eof_received(self) -> bool:
        # A client may have ended its side and still wait for the answer.
        self.ended = True
        return self.phase in (_Phase.ANSWER, _Phase.WRITE)

    def pause_writing(self) -> None:
        self.writing_paused = True

    def resume_writing(self) -> None:
        self.writing_paused = False
        if self.phase is _Phase.WRITE:
            self._next()

    def get_buffer(self, hint: int) -> memoryview:
        if self.phase is _Phase.BODY:
            return self.body[self.body_filled :]
        if self.phase in (_Phase.CHUNKS, _Phase.DISCARD):
            return self.server.scratch
        return self.head_view[self.head_filled :]

    def buffer_updated(self, count: int) -> None:
        if self.phase is _Phase.BODY:
            self.body_filled += count
            self._count_body(count)
            if self.phase is _Phase.BODY:
                self._body_grew()
        elif self.phase is _Phase.CHUNKS:
            self._chunks_came(bytes(self.server.scratch[:count]))
        elif self.phase is _Phase.DISCARD:
            self.discarded += count
            if self.discarded > self.limits.max_body + FIRST_RESERVE:
                self.transport.abort()
        else:
            self.head_filled += count
            if self.phase is _Phase.HEAD:
                self._head_grew()
            elif self.head_filled == len(self.head):
                self.transport.pause_reading()

    # The deadline of a phase

    def expired(self) -> None:
        """Too slow."""
        self.deadline = float("inf")
        if self.phase is _Phase.HEAD and self.head_filled:
            self._refuse(Refusal(Status.REQUEST_TIMEOUT, "the request did not arrive in time"))
        elif self.phase in (_Phase.BODY, _Phase.CHUNKS):
            self._refuse(Refusal(Status.REQUEST_TIMEOUT, "the body did not arrive in time"))
        elif self.phase is _Phase.HEAD:
            self.transport.close()
        else:
            self.transport.abort()

    def close_if_idle(self) -> None:
        """Close a connection on which no request has begun."""
        if self.phase is _Phase.HEAD and not self.head_filled:
            self.transport.close()

    def abort(self) -> None:
        """Close at once."""
        self.transport.abort()

    # A request

    def _head_grew(self) -> None:
        if not self.head_filled:
            return
        if self.deadline > (now := self.loop.time()) + self.limits.head_seconds:
            self.deadline = now + self.limits.head_seconds
        if not 65 <= self.head[0] <= 90:
            self._refuse(bad_request("not an HTTP request"))
            return
        end = self.head.find(b"\r\n\r\n", 0, self.head_filled)
        if end < 0:
            if self.head_filled == len(self.head):
                self._refuse(Refusal(Status.HEADERS_TOO_LARGE, f"headers of more than {MAX_HEAD_BYTES:,} bytes"))
            return
        end += 4
        try:
            request = self.request = self._parse_head(bytes(self.head_view[:end]))
            given = request.headers.get("x-request-id", "")
            request.id = given if REQUEST_ID.fullmatch(given) else self.server.next_id()
            self.server.application.admit(request)
            if request.content_length is not None and request.content_length > self.limits.max_body:
                raise self._too_large(f"{request.content_length:,} bytes")
            self.lead = json_length(request) or 0
        except Refusal as refusal:
            self._refuse(refusal)
            return
        self.deadline = self.loop.time() + self.limits.body_seconds
        if request.headers.get("expect", "").lower() == "100-continue" and end == self.head_filled:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if request.content_length is None:
            self._begin_chunks(end)
        else:
            self._begin_body(end, request.content_length)

    def _parse_head(self, head: bytes) -> HttpRequest:
        """The request of a head; clients say the same one again and again, which is then not parsed."""
        if head == self.known_head:
            return self.known_request.again()
        self.parser = HeadParser(head)
        request = self.parser.request()
        if request.content_length is not None:
            self.known_head, self.known_request = head, request.again()
        return request

    def _begin_body(self, end: int, length: int) -> None:
        self.phase = _Phase.BODY
        came = min(self.head_filled - end, length)
        self._reserve(min(length, FIRST_RESERVE))
        self.body[:came] = self.head_view[end : end + came]
        self.body_filled = came
        left = self.head_filled - end - came
        if left:
            self.head[:left] = self.head[end + came : self.head_filled]
        self.head_filled = left
        self._count_body(came)
        if self.phase is _Phase.BODY:
            self._body_grew()

    def _begin_chunks(self, end: int) -> None:
        self.phase = _Phase.CHUNKS
        came = bytes(self.head_view[end : self.head_filled])
        self.head_filled = 0
        self._chunks_came(came)

    def _chunks_came(self, content: bytes) -> None:
        assert self.parser is not None
        before = self.parser.chunked_bytes
        try:
            self.parser.feed(content)
            if self.parser.chunked_bytes > self.limits.max_body:
                raise self._too_large("chunks")
        except Refusal as refusal:
            self._refuse(refusal)
            return
        self._count_body(self.parser.chunked_bytes - before)
        if self.phase is not _Phase.CHUNKS or not self.parser.complete:
            return
        whole = b"".join(self.parser.chunks)
        self.parser.chunks.clear()
        self._reserve(len(whole))
        self.body[:] = whole
        self._answer()

    def _reserve(self, size: int) -> None:
        """Make room for a body, such that its tensors are aligned; what has come of it stays."""
        space = np.empty(size + ALIGNMENT, np.uint8)
        first = aligned_offset(space.__array_interface__["data"][0], self.lead)
        body = memoryview(space.data)[first : first + size]
        body[: self.body_filled] = self.body[: self.body_filled]
        self.body = body

    def _body_grew(self) -> None:
        assert self.request is not None
        assert self.request.content_length is not None
        if self.body_filled == self.request.content_length:
            self._answer()
        elif self.body_filled == len(self.body):
            self._reserve(min(self.request.content_length, 4 * len(self.body)))

    def _count_body(self, count: int) -> None:
        """Count bytes against the budget of all bodies; refuse this one where it is used up."""
        self.body_counted += count
        self.server.body_bytes += count
        if self.server.body_bytes > self.limits.body_budget:
            self._refuse(self._over_budget())

    @staticmethod
    def _over_budget() -> Refusal:
        return Refusal(Status.TOO_MANY_REQUESTS, "too many large requests at once; retry in 1 s", 1)

    def _drop_body(self) -> None:
        self.server.body_bytes -= self.body_counted
        self.body_counted = self.body_filled = 0
        self.body = self.head_view[:0]
        self.parser = None

    def _too_large(self, what: str) -> Refusal:
        return Refusal(
            Status.CONTENT_TOO_LARGE, f"a body of {what}, more than {self.limits.max_body:,}; send it in parts"
        )

    # Its answer

    def _answer(self) -> None:
        assert self.request is not None
        self.phase, self.deadline = _Phase.ANSWER, float("inf")
        self.request.body = self.body
        self.received_at = self.loop.time()
        self.task = self.loop.create_task(self._run(self.request, self.server.application.answer))

    async def _run(self, request: HttpRequest, answer: Callable[[HttpRequest], Awaitable[HttpResponse]]) -> None:
        self.server.in_flight += 1
        received = self.body_counted
        try:
            try:
                if request.body and request.encoding != "identity":
                    request.body = await self._decompress(request)
                response = await answer(request)
            except Refusal as refusal:
                response = refusal_response(refusal)
            except Exception as error:  # a bug: this request is told so, the others go on
                log.error("a request failed", exc_info=error, extra={"fields": {"request_id": request.id}})
                message = f"internal error; the server's log has it under request id {request.id}"
                response = refusal_response(Refusal(Status.INTERNAL_ERROR, message))
        finally:
            self.server.in_flight -= 1
            request.body = memoryview(b"")
            self._drop_body()
            self.task = None
        self._write(request, response, received, close=not request.keep_alive)
        self.phase = _Phase.WRITE
        if self.writing_paused:
            self.deadline = self.loop.time() + self.limits.write_seconds
        else:
            self._next()

    async def _decompress(self, request: HttpRequest) -> memoryview:
        """The body as it was before it was compressed, counted against the limits like any other."""
        pieces: list[bytes] = []
        size = 0
        for piece in decompressed(request.body, request.encoding):
            pieces.append(piece)
            size += len(piece)
            self.body_counted += len(piece)
            self.server.body_bytes += len(piece)
            if size > self.limits.max_body:
                raise self._too_large(f"{request.encoding} data")
            if self.server.body_bytes > self.limits.body_budget:
                raise self._over_budget()
            await asyncio.sleep(0)
        self.body_filled = 0
        self._reserve(size)
        at = 0
        for piece in pieces:
            self.body[at : at + len(piece)] = piece
            at += len(piece)
        return self.body

    def _write(self, request: HttpRequest | None, response: HttpResponse, received: int, close: bool) -> None:
        self.close_after = close or self.server.draining
        seconds = self.loop.time() - self.received_at if self.received_at else 0.0
        self.server.application.answered(request, response, received, seconds)
        if self.transport.is_closing():
            return
        request_id = request.id if request is not None else self.server.next_id()
        head = format_head(
            response, request_id, self.server.date, not self.close_after, request is not None and request.http_1_0
        )
        if request is not None and not request.wants_body:
            self.transport.write(head)
        elif response.body_bytes < 1 << 16:
            self.transport.write(b"".join([head, *response.parts]))
        else:
            self.transport.write(head)
            for part in response.parts:
                self.transport.write(part)

    def _next(self) -> None:
        """Close the connection, or go on with its next request."""
        self.request = None
        if self.close_after or (self.ended and not self.head_filled):
            self.transport.close()
            return
        self.phase = _Phase.HEAD
        self.received_at = 0.0
        self.deadline = self.loop.time() + self.limits.idle_seconds
        if self.head_filled:
            full = self.head_filled == len(self.head)
            self._head_grew()
            if self.ended and self.phase in (_Phase.HEAD, _Phase.BODY, _Phase.CHUNKS):
                self.transport.close()  # half a request, and no more will come
            elif full:
                self.transport.resume_reading()

    def _refuse(self, refusal: Refusal) -> None:
        """Answer before the request has wholly come; the rest of it is read and thrown away."""
        received = self.body_counted
        self._drop_body()
        self._write(self.request, refusal_response(refusal), received, close=True)
        self.request = None
        self.phase = _Phase.DISCARD
        self.head_filled = 0
        self.deadline = self.loop.time() + DISCARD_SECONDS
        if self.transport.can_write_eof() and not self.transport.is_closing():
            self.transport.write_eof()
        elif not self.transport.is_closing():
            self.loop.call_later(0.5, self.transport.close)
        self.transport.resume_reading()
