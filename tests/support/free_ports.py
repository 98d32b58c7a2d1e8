"""Ports for servers that a test starts as a process of its own."""

from __future__ import annotations

import itertools
import os
import socket

#: Below the ports that systems give to outgoing connections: none of those can take one between its choice and its use.
FIRST, LAST = 20_000, 31_999
#: Ports that each process of the tests has for itself, so that no two choose the same.
OWN = 1_000

_started = itertools.count(os.getpid())


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = FIRST + worker * OWN % (LAST + 1 - FIRST)
    for _ in range(OWN):
        port = first + next(_started) % OWN
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise AssertionError(f"no free port from {first} to {first + OWN - 1}")
