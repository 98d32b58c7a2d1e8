"""A real HTTP server for tests that breaks off, forgets ranges or stalls on request."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Files:
    """What is served, and how badly.

    Parameters
    ----------
    content : dict of str to bytes
        By path, which begins with a slash.
    etag : str or None
        Of every file.
    ranges : bool
        Whether Range is honoured.
    break_after : list of int
        The next answers end after so many bytes of their body.
    statuses : list of int
        The next GETs are answered with these instead.
    redirects : dict of str to str
        Path -> what the answer's Location says.
    stalled : set of str
        Paths whose GET waits for `go`.
    """

    content: dict[str, bytes]
    etag: str | None = '"1"'
    ranges: bool = True
    break_after: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    redirects: dict[str, str] = field(default_factory=dict)
    stalled: set[str] = field(default_factory=set)
    go: threading.Event = field(default_factory=threading.Event)
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)

    @property
    def gets(self) -> list[str | None]:
        """Range header of each GET so far."""
        return [asked for method, _, asked in self.requests if method == "GET"]


class _Handler(BaseHTTPRequestHandler):
    files: Files

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        files, asked = self.files, self.headers.get("Range")
        files.requests.append((self.command, self.path, asked))
        if body and files.statuses:
            self.send_error(files.statuses.pop(0))
            return
        if self.path in files.redirects:
            self.send_response(302)
            self.send_header("Location", files.redirects[self.path])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self.path not in files.content:
            self.send_error(404)
            return
        if body and self.path in files.stalled:
            files.go.wait(60)
        content, first = files.content[self.path], 0
        unchanged = self.headers.get("If-Range") in (None, files.etag)
        if body and asked and files.ranges and unchanged:
            first = int(asked.removeprefix("bytes=").partition("-")[0])
            if first >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content) - first))
        if files.etag:
            self.send_header("ETag", files.etag)
        self.end_headers()
        if body:
            end = first + files.break_after.pop(0) if files.break_after else len(content)
            self.wfile.write(content[first:end])

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@contextmanager
def serve(files: Files) -> Iterator[str]:
    """Serve; gives the base URL."""
    handler = type("Handler", (_Handler,), {"files": files})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            files.go.set()
            server.shutdown()
            thread.join()
