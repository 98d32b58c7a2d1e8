"""A forward proxy: plain requests are passed on, tunnels opened, and what came through is kept."""

from __future__ import annotations

import http.client
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@contextmanager
def forward_proxy(address_of_every_host: tuple[str, int]) -> Iterator[tuple[int, list[dict[str, str]]]]:
    """A proxy's port and the requests it was sent; every host is at one address, whatever its name."""
    seen: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_CONNECT(self) -> None:
            self.keep()
            with socket.create_connection(address_of_every_host) as server:
                self.send_response(200)
                self.end_headers()
                pair = {self.connection: server, server: self.connection}
                while True:
                    for ready in select.select(list(pair), [], [], 30)[0]:
                        content = ready.recv(65536)
                        if not content:
                            return
                        pair[ready].sendall(content)

        def do_GET(self) -> None:
            self.keep()
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            server = http.client.HTTPConnection(*address_of_every_host)
            server.request(self.command, urlsplit(self.path).path, body, dict(self.headers))
            answer = server.getresponse()
            content = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("connection", "date", "server"):
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)
            server.close()

        do_POST = do_GET

        def keep(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            seen.append({"method": self.command, "target": self.path, **headers})

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield server.server_port, seen
    finally:
        server.shutdown()
        server.server_close()
