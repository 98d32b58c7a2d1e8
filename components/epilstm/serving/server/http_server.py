"""The HTTP server: uvicorn's connections, with the limits that uvicorn leaves to a proxy in front of it.

A client that sends slowly, reads slowly, or opens many connections cannot block the others: every state of a connection
has a deadline, a head has a largest size, and there is a largest number of connections. Limits of a request whose head
has arrived are in `epilstm.serving.server.asgi`.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, cast

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from epilstm.console import log
from epilstm.serving.server.asgi import DISCARD_SECONDS, LAST_SECONDS, Application, AsgiApplication, Body, HttpLimits
from epilstm.serving.server.http_message import MAX_HEAD_BYTES, refusal_response
from epilstm.serving.server.refusal import Refusal, Status, bad_request

#: Connections that may wait to be accepted.
BACKLOG = 1024

#: Seconds for a client to confirm that its TLS connection is closed; idle clients never do.
TLS_CLOSE_SECONDS = 1.0

#: Requests of a connection that may wait for the answer to the one before.
MAX_PIPELINED = 64


class HttpServer:
    """Listens, and closes connections when it stops."""

    def __init__(self, application: Application, limits: HttpLimits) -> None:
        self.application, self.limits = AsgiApplication(application, limits), limits
        self._state = ServerState()
        self._config = uvicorn.Config(
            self.application,
            http=_Connection,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=cast(int, limits.idle_seconds),
        )
        self._config.load()
        self._tls: ssl.SSLContext | None = None
        self._socket: socket.socket
        self._listener: asyncio.Server | None = None
        self._clock: asyncio.Task[None] | None = None

    @property
    def open_connections(self) -> int:
        """Number of open connections."""
        return len(self._state.connections)

    @property
    def in_flight(self) -> int:
        """Number of requests that have arrived and are not answered."""
        return self.application.in_flight

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Listen.

        Returns
        -------
        int
            The port.

        Raises
        ------
        OSError
            The address is taken or not one of this machine.
        """
        for handler in log.handlers:
            logging.getLogger("uvicorn.error").addHandler(handler)
        # Made for TCP by name: asyncio then sends small packets without delay (TCP_NODELAY).
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.setblocking(False)
        self._socket.bind((host, port))
        self._tls = tls
        self._clock = asyncio.create_task(self._update_date())
        self._listener = await asyncio.get_running_loop().create_server(
            self._connection, sock=self._socket, backlog=BACKLOG, **self._tls_options
        )
        return cast(int, self._socket.getsockname()[1])

    async def stop(self, linger: float, patience: float) -> None:
        """Stop without losing a request.

        For `linger` seconds requests are still accepted, but each answer closes its connection. Then no new connection
        is accepted, and requests that have begun are answered, for at most `patience` seconds.
        """
        self.application.draining = True
        await asyncio.sleep(linger)
        await self._stop_listening()
        await asyncio.sleep(LAST_SECONDS)
        for connection in list(self._state.connections):
            connection.shutdown()
        until = time.monotonic() + patience
        while self._state.connections and time.monotonic() < until:
            await asyncio.sleep(0.02)
        for connection in list(self._state.connections):
            cast(_Connection, connection).transport.abort()
        if self._clock is not None:
            self._clock.cancel()

    def _connection(self) -> _Connection:
        return _Connection(self._config, self._state, {})

    @property
    def _tls_options(self) -> dict[str, Any]:
        if self._tls is None:
            return {}
        return {
            "ssl": self._tls,
            "ssl_handshake_timeout": self.limits.head_seconds,
            "ssl_shutdown_timeout": TLS_CLOSE_SECONDS,
        }

    async def _stop_listening(self) -> None:
        """Accept the clients that have already connected, for closing the socket would reset them; then close it."""
        if self._listener is None:
            return
        accepted = []
        while True:
            try:
                accepted.append(self._socket.accept()[0])
            except OSError:
                break
        self._listener.close()
        for each in accepted:
            each.setblocking(False)
            try:
                await asyncio.get_running_loop().connect_accepted_socket(self._connection, each, **self._tls_options)
            except OSError:  # the client has gone, or its TLS handshake failed
                continue

    async def _update_date(self) -> None:
        while True:
            self._state.default_headers = [(b"date", formatdate(usegmt=True).encode())]
            await asyncio.sleep(1)


#: What a read from a socket goes into, for all connections: it is parsed at once.
_RECEIVED = memoryview(bytearray(256 << 10))


class _Connection(HttpToolsProtocol, asyncio.BufferedProtocol):
    """One connection of uvicorn's, with deadlines."""

    def __init__(self, config: uvicorn.Config, server_state: ServerState, app_state: dict[str, Any]) -> None:
        super().__init__(config, server_state, app_state)
        self.application = cast(AsgiApplication, config.app)
        self.limits = self.application.limits
        #: Bytes that arrived after the last of a body; a head, the trailers of chunks, or what a parser never ends.
        self.head_bytes = 0
        self.head_timer: asyncio.TimerHandle | None = None
        self.write_timer: asyncio.TimerHandle | None = None
        self.answering: asyncio.Task[None] | None = None
        self.answered: RequestResponseCycle | None = None
        self.body: Body
        self.refused = False

    # What asyncio calls

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            self._refuse(Refusal(Status.UNAVAILABLE, "too many connections; retry later", 1))
        else:
            self._await_head()

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        for cycle in (self.answered, self.cycle, *(cycle for cycle, _ in self.pipeline)):
            if cycle is not None:
                cycle.disconnected = True
                cycle.scope["state"]["body"].close()
        for each in (self.head_timer, self.write_timer, self.answering):
            if each is not None:
                each.cancel()

    def get_buffer(self, hint: int) -> memoryview:
        return _RECEIVED

    def buffer_updated(self, count: int) -> None:
        self.data_received(_RECEIVED[:count])

    def data_received(self, data: bytes | memoryview) -> None:
        if self.refused:
            return
        self._unset_keepalive_if_required()
        self.head_bytes += len(data)
        try:
            self._parse(memoryview(data))
        except httptools.HttpParserError as error:
            self._refuse(bad_request(f"not an HTTP request: {error}"))
            return
        except Refusal as refusal:
            self._refuse(refusal)
            return
        if self.head_bytes > MAX_HEAD_BYTES and (self._reading_head or self.cycle.more_body):
            self._refuse(Refusal(Status.HEADERS_TOO_LARGE, f"headers of more than {MAX_HEAD_BYTES:,} bytes"))
        elif self._reading_head:
            self._await_head()
        elif self.head_timer is not None:
            self.head_timer.cancel()
            self.head_timer = None

    def eof_received(self) -> bool:  # type: ignore[override]
        # A client may close its side and still wait for the answer.
        if self.refused or self._reading_head:
            return False
        self.cycle.keep_alive = False
        return not self.cycle.more_body or bool(self.pipeline)

    def pause_writing(self) -> None:
        super().pause_writing()
        self.write_timer = self.loop.call_later(self.limits.write_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.write_timer is not None:
            self.write_timer.cancel()

    # What the parser calls

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        if len(self.pipeline) >= MAX_PIPELINED:
            raise ValueError(f"more than {MAX_PIPELINED} requests sent without waiting for an answer")
        self.body = self.scope["state"]["body"] = Body(self.application, self.headers)
        super().on_headers_complete()

    def on_body(self, piece: bytes) -> None:
        self.head_bytes = 0
        if self.body.feed(piece):
            self.cycle.message_event.set()

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            self.head_bytes = 0
            self.body.complete = True
            super().on_message_complete()

    # What the server calls

    def shutdown(self) -> None:
        if not (self._reading_head and self.head_bytes):
            super().shutdown()

    @property
    def _reading_head(self) -> bool:
        """Whether the next bytes belong to the head of a request."""
        return self.cycle is None or self.cycle.response_complete

    def _await_head(self) -> None:
        if self.head_timer is None:
            self.head_timer = self.loop.call_later(self.limits.head_seconds, self._head_expired)

    def _head_expired(self) -> None:
        if self.head_bytes:
            self._refuse(Refusal(Status.REQUEST_TIMEOUT, "the request did not arrive in time"))
        else:
            self.transport.close()

    def _parse(self, data: memoryview) -> None:
        """Parse data; where a head offers another protocol, ignore the offer.

        Java's client and curl offer h2c. The parser takes what follows such a head for the other protocol.
        """
        while data:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as offer:
                data = data[offer.args[0] :]
            head = self._head_without_offer()
            self.parser = httptools.HttpRequestParser(self)
            self.parser.feed_data(head)

    def _head_without_offer(self) -> bytes:
        method = self.parser.get_method()
        if method == b"CONNECT":
            raise Refusal(Status.NOT_IMPLEMENTED, "CONNECT is not supported; this server is no proxy")
        lines = [b"%b %b HTTP/%b" % (method, self.url, self.parser.get_http_version().encode())]
        lines += [b"%b: %b" % (name, value) for name, value in self.headers if name != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Start answering a request; a client that leaves cancels it."""
        self.answered = cycle
        self.answering = self.loop.create_task(self._run(cycle, app))
        self.answering.add_done_callback(self.tasks.discard)
        self.tasks.add(self.answering)

    @staticmethod
    async def _run(cycle: RequestResponseCycle, app: Any) -> None:
        # A task that is cancelled before it has begun ends here: the cycle would log that as an error.
        await cycle.run_asgi(app)

    def _refuse(self, refusal: Refusal) -> None:
        """Answer what is no request, then close; what still arrives is discarded, so that the answer is read."""
        self.refused = True
        if self.head_timer is not None:
            self.head_timer.cancel()
        if not self._reading_head:
            if not self.cycle.more_body or self.pipeline:
                self.cycle.keep_alive = False  # the requests before it are answered, then the connection is closed
                return
            if self.cycle.response_started:
                self.transport.close()
                return
            self.cycle.disconnected = True
            if self.answering is not None:
                self.answering.cancel()
        response = refusal_response(refusal)
        self.application.application.answered(None, response, 0, 0.0)
        headers = {
            "content-type": response.content_type,
            "content-length": response.body_bytes,
            "x-request-id": self.application.next_id(),
            "connection": "close",
            **response.headers,
        }
        lines = [f"HTTP/1.1 {refusal.status.value} {HTTPStatus(refusal.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.transport.write("\r\n".join([*lines, "", ""]).encode() + b"".join(response.parts))
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self.loop.call_later(DISCARD_SECONDS, self.transport.abort)
        else:
            self.loop.call_later(0.5, self.transport.close)
