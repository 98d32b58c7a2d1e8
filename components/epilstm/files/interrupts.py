"""Interrupts that wait for the end of what must not be cut short."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def deferred_interrupts() -> Iterator[None]:
    """Let SIGTERM and Ctrl-C take effect after the block, in the main thread; a signal that is ignored stays so."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught = [number for number in (signal.SIGTERM, signal.SIGINT) if signal.getsignal(number) is not signal.SIG_IGN]
    before = [(number, signal.signal(number, lambda number, _: received.append(number))) for number in caught]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)
        if received:
            signal.raise_signal(received[0])
