"""Watching other processes in tests."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path


def alive(process: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(condition: Callable[[], bool], seconds: float = 300) -> None:
    """Look again and again until something holds; fail after so many seconds, which a slow machine need not fear.

    Half the time at most is spent on looking: what is waited for may need the processor.
    """
    deadline = time.monotonic() + seconds
    while True:
        before = time.monotonic()
        if condition():
            return
        now = time.monotonic()
        assert now < deadline, "waited in vain"
        time.sleep(max(0.002, now - before))
