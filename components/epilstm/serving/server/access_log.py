"""One JSON line per request, written by a thread of its own: a log that is not read holds no request up."""

from __future__ import annotations

import os
import threading
from collections import deque
from datetime import UTC, datetime
from typing import Any

import orjson

#: Lines that may wait to be written; beyond, the newest are lost and the loss is logged.
MAX_WAITING = 20_000

WRITE_SECONDS = 0.2


class AccessLog:
    """Writes to a file descriptor."""

    def __init__(self, descriptor: int = 1) -> None:
        self.descriptor = descriptor
        self._lines: deque[dict[str, Any]] = deque()
        self._lost = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write, name="access-log", daemon=True)

    def start(self) -> None:
        """Start writing."""
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, as far as it is read within a second, and end."""
        self._stop.set()
        self._thread.join(timeout=1)

    def add(self, line: dict[str, Any]) -> None:
        """Add a line; the time is put before it."""
        if len(self._lines) >= MAX_WAITING:
            self._lost += 1
            return
        self._lines.append({"time": datetime.now(UTC), **line})

    def _write(self) -> None:
        while True:
            stopping = self._stop.wait(WRITE_SECONDS)
            lines = [self._lines.popleft() for _ in range(len(self._lines))]
            if self._lost:
                lines.append({"time": datetime.now(UTC), "lost_lines": self._lost})
                self._lost = 0
            content = memoryview(b"".join(map(_format, lines)))
            try:
                while content:
                    content = content[os.write(self.descriptor, content) :]
            except OSError:  # the reader has closed it
                return
            if stopping:
                return


def _format(line: dict[str, Any]) -> bytes:
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z)
