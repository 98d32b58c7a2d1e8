"""Rates and memory of functions."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from types import TracebackType

from benchmarks.case import Rate

#: Seconds between looks at the memory of the process and its children.
SAMPLE_SECONDS = 0.01


def rate(bins: int, function: Callable[[], object], before: Callable[[], object] = lambda: None) -> Rate:
    """How many bins per second a function does.

    Parameters
    ----------
    bins : int
        What one call works through.
    function : callable
        Is timed.
    before : callable
        Is called before, untimed.
    """

    def measured() -> float:
        before()
        started = time.perf_counter()
        function()
        return bins / (time.perf_counter() - started)

    return measured


def in_turn(repeats: int, *measured: Rate) -> list[float]:
    """Median rates of several functions, called one after the other in every round.

    What else the machine does then weighs on all of them alike. The fast path has run before, for its memory.
    """
    rounds = [[each() for each in measured] for _ in range(repeats)]
    return [median(values) for values in zip(*rounds, strict=True)]


class PeakMemory:
    """Resident memory of this process and its children at most, while the block runs.

    Attributes
    ----------
    bytes : int
        Memory of its own of every process, and the files that the largest of them has mapped (its libraries, which
        the others share).
    """

    def __init__(self) -> None:
        self.bytes = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        self.bytes = max(self.bytes, _resident(os.getpid())["VmHWM"])

    def _watch(self) -> None:
        while not self._done.wait(SAMPLE_SECONDS):
            parts = [_resident(process) for process in _family(os.getpid())]
            own = sum(part["RssAnon"] + part["RssShmem"] for part in parts)
            self.bytes = max(self.bytes, own + max(part["RssFile"] for part in parts))


def _family(process: int) -> list[int]:
    members = [process]
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        try:
            members += [member for child in task.read_text().split() for member in _family(int(child))]
        except OSError:  # ended in between
            continue
    return members


def _resident(process: int) -> dict[str, int]:
    """Fields of the process's status that say how much memory it has, in bytes; zeros once it has ended."""
    found = dict.fromkeys(("VmHWM", "RssAnon", "RssShmem", "RssFile"), 0)
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return found
    for line in lines:
        name, _, value = line.partition(":")
        if name in found:
            found[name] = int(value.split()[0]) * 1024
    return found
