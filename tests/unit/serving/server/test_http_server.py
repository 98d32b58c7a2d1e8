"""The HTTP server in this process, with limits so small that a test reaches them."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
import uvloop

from epilstm.serving.server.asgi import HttpLimits
from epilstm.serving.server.credentials import tls_context
from epilstm.serving.server.http_message import HttpRequest, HttpResponse, json_response
from epilstm.serving.server.http_server import MAX_PIPELINED, HttpServer
from support.serve.server_process import make_certificate

LIMITS = HttpLimits(max_body=1 << 20, body_budget=2 << 20, head_seconds=0.3, body_seconds=0.3, write_seconds=0.3)


class Echo:
    """Answers with the size of the body, or as many bytes as the query asks for; `/later` and `/slow` wait."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.cancelled = 0

    def admit(self, request: HttpRequest) -> None:
        """Admit everything."""

    async def answer(self, request: HttpRequest) -> HttpResponse:
        if request.path == "/later":
            await asyncio.sleep(0.3)
        if request.path == "/slow":
            try:
                await asyncio.sleep(20)
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        if "bytes" in request.query:
            return HttpResponse(200, [bytes(int(request.query["bytes"]))])
        return json_response({"path": request.path, "received": len(request.body)})

    def answered(self, request: HttpRequest | None, response: HttpResponse, received: int, seconds: float) -> None:
        self.statuses.append(response.status)


Exchange = Callable[[asyncio.StreamReader, asyncio.StreamWriter, HttpServer, Echo], Awaitable[None]]


def with_server(exchange: Exchange, limits: HttpLimits = LIMITS) -> Echo:
    """Run one exchange over one connection."""
    echo = Echo()

    async def run() -> None:
        server = HttpServer(echo, limits)
        port = await server.start("127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        async with asyncio.timeout(20):
            await exchange(reader, writer, server, echo)
        writer.close()
        await server.stop(0, 5)
        assert server.application.body_bytes == 0

    uvloop.run(run())
    return echo


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


def reset(writer: asyncio.StreamWriter) -> None:
    """Reset the connection."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def response(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.rstrip().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return int(first.split()[1]), headers, await reader.readexactly(int(headers["content-length"]))


CHUNKS = b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
LONG = b"name: " + b"v" * (20 << 10)

#: What arrives in turn, and what is answered.
REFUSED = {
    "a head that is not finished": ([b"GET /x HTTP/1.1\r\nHost: x\r\n"], 408, "the request did not arrive in time"),
    "a body that is not finished": ([b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n1"], 408, "the body did not arrive"),
    "a head without end": ([b"GET /x HTTP/1.1\r\n" + LONG], 431, "headers of more than 16,384 bytes"),
    "trailers without end": ([CHUNKS + b"1\r\nx\r\n", b"0\r\n" + LONG], 431, "headers of more than 16,384 bytes"),
    "no HTTP": ([b"\x16\x03\x01\x02\x00\x01\x00"], 400, "not an HTTP request"),
    "malformed chunks": ([CHUNKS + b"zz\r\n"], 400, "not an HTTP request"),
    "malformed chunks later": ([CHUNKS, b"1\r\nx\r\nzz\r\n"], 400, "not an HTTP request"),
    "chunks that grow too large": ([CHUNKS, (b"40000\r\n" + bytes(1 << 18) + b"\r\n") * 5], 413, "a body of chunks"),
    "a proxy's request": ([b"CONNECT x:1 HTTP/1.1\r\n\r\n"], 501, "CONNECT is not supported"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_breaks_a_limit_is_refused_and_the_connection_closed(case):
    pieces, status, message = REFUSED[case]

    async def exchange(reader, writer, server, echo):
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0.05)
        found, headers, body = await response(reader)
        assert (found, headers["connection"]) == (status, "close")
        assert message in json.loads(body)["error"]
        writer.close()
        await until(lambda: server.open_connections == 0)

    assert with_server(exchange).statuses == [status]


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"GET /x HTTP/1.1\r\n" + LONG + b"\r\n\r\n", 431),
        (b"GET /%ff HTTP/1.1\r\n\r\n", 400),
        (b"POST /x HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    ],
)
def test_a_whole_request_that_is_refused_keeps_its_connection(content, status):
    async def exchange(reader, writer, server, echo):
        writer.write(content)
        assert (await response(reader))[0] == status
        writer.write(b"GET /a HTTP/1.1\r\n\r\n")
        assert (await response(reader))[0] == 200

    assert with_server(exchange).statuses == [status, 200]


def test_a_connection_that_sends_nothing_is_closed_without_an_answer():
    async def exchange(reader, writer, server, echo):
        assert await reader.read() == b""

    assert with_server(exchange).statuses == []


def test_an_idle_connection_is_closed_after_its_own_time():
    async def exchange(reader, writer, server, echo):
        for _ in range(2):
            writer.write(b"GET /x HTTP/1.1\r\n\r\n")
            assert (await response(reader))[0] == 200
        assert await reader.read() == b""

    assert with_server(exchange, replace(LIMITS, idle_seconds=0.1)).statuses == [200, 200]


def test_a_client_that_does_not_read_is_cut_off():
    async def exchange(reader, writer, server, echo):
        writer.transport.pause_reading()
        writer.write(b"GET /x?bytes=50000000 HTTP/1.1\r\n\r\n")
        await until(lambda: echo.statuses == [200])
        await until(lambda: server.open_connections == 0)

    with_server(exchange)


def test_the_work_for_a_client_that_has_gone_is_cancelled():
    async def exchange(reader, writer, server, echo):
        writer.write(b"GET /slow HTTP/1.1\r\n\r\n")
        await until(lambda: server.in_flight == 1)
        reset(writer)
        await until(lambda: echo.cancelled == 1)
        assert server.in_flight == 0

    assert with_server(exchange).statuses == []


@pytest.mark.parametrize("before", [b"", b"GET /later HTTP/1.1\r\n\r\n"])
def test_a_body_whose_client_has_gone_returns_to_the_budget(before):
    async def exchange(reader, writer, server, echo):
        writer.write(before + b"POST /x HTTP/1.1\r\nContent-Length: 1000\r\n\r\n" + bytes(999))
        await until(lambda: server.application.body_bytes == 999)
        reset(writer)
        await until(lambda: server.application.body_bytes == 0)

    with_server(exchange, replace(LIMITS, body_seconds=20))


def test_a_client_that_closes_its_side_gets_every_answer():
    async def exchange(reader, writer, server, echo):
        writer.write(b"GET /a HTTP/1.1\r\n\r\n" * 3 + b"POST /b HTTP/1.1\r\nContent-Length: 2\r\n\r\nab")
        writer.write_eof()
        answered = await reader.read()
        assert answered.count(b"HTTP/1.1 200 OK\r\n") == 4
        assert b'{"path":"/b","received":2}' in answered

    assert with_server(exchange).statuses == [200] * 4


def test_garbage_after_a_request_does_not_cost_its_answer():
    async def exchange(reader, writer, server, echo):
        writer.write(b"GET /a HTTP/1.1\r\n\r\n\x00\x01garbage")
        assert (await response(reader))[0] == 200
        assert await reader.read() == b""

    assert with_server(exchange).statuses == [200]


def test_requests_that_wait_on_one_connection_are_few():
    async def exchange(reader, writer, server, echo):
        writer.write(b"GET /a HTTP/1.1\r\n\r\n" * 5000)
        answered = await reader.read()
        assert answered.count(b"HTTP/1.1 200 OK\r\n") == MAX_PIPELINED + 1

    with_server(exchange)


def test_a_begun_head_is_waited_for_when_the_server_stops():
    async def exchange(reader, writer, server, echo):
        writer.write(b"GET /a HTTP/1.1\r\n")
        await asyncio.sleep(0.05)
        stopping = asyncio.create_task(server.stop(0, 5))
        await asyncio.sleep(0.5)
        writer.write(b"\r\n")
        status, headers, _ = await response(reader)
        assert (status, headers["connection"]) == (200, "close")
        await stopping

    with_server(exchange, replace(LIMITS, head_seconds=5))


def test_an_idle_client_over_tls_does_not_delay_the_end(tmp_path):
    certificate, key = make_certificate(tmp_path)

    async def run() -> None:
        server = HttpServer(Echo(), LIMITS)
        port = await server.start("127.0.0.1", 0, tls_context(certificate, key))
        with socket.create_connection(("127.0.0.1", port)) as plain:
            trust = ssl.create_default_context(cafile=certificate)
            client = await asyncio.to_thread(trust.wrap_socket, plain, server_hostname="localhost")
            stopping = asyncio.create_task(server.stop(0, 20))
            await until(lambda: server.open_connections == 0 and stopping.done())
            client.close()

    async def limited() -> None:
        async with asyncio.timeout(10):  # the peer's confirmation is waited for 30 s otherwise
            await run()

    uvloop.run(limited())


def test_many_offers_of_another_protocol_are_ignored():
    offer = b"GET /a HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"

    async def exchange(reader, writer, server, echo):
        writer.write(offer * 50)
        for _ in range(50):
            assert (await response(reader))[0] == 200

    with_server(exchange)
