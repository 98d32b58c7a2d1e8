"""What the machine can do at most: arithmetic, memory and storage, measured."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: Bytes of the file and of the array that bandwidths are measured on: far larger than any cache.
BANDWIDTH_BYTES, QUICK_BYTES = 256 << 20, 16 << 20

REPEATS = 12


def measure_ceilings(folder: Path, threads: int, quick: bool = False) -> dict[str, Any]:
    """All ceilings; those of a GPU where there is one.

    Parameters
    ----------
    folder : Path
        On the disk whose speed is measured.
    threads : int
        CPU threads.
    quick : bool
        Measure on arrays that are too small, where only the form of the answer matters.

    Returns
    -------
    dict
        ``cpu`` (and ``cuda``): ``operations`` (floating-point operations per second of a matrix product, float32 on the
        CPU, bfloat16 on the GPU) and ``bandwidth`` (bytes per second of a copy, read and written); on ``cuda`` also
        ``from_host`` (bytes per second from pinned memory); ``storage``: bytes per second ``written`` (synced) and
        ``read`` (not from the cache).
    """
    import torch

    torch.set_num_threads(threads)
    size = QUICK_BYTES if quick else BANDWIDTH_BYTES
    found: dict[str, Any] = {"cpu": _cpu(size), "storage": _storage(folder, size)}
    if torch.cuda.is_available():
        found["cuda"] = _cuda(size)
    return found


def _best(function: Callable[[], object], repeats: int = REPEATS) -> float:
    """Shortest time of several calls, in seconds: a ceiling is what is reached when nothing disturbs."""
    function()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def _cpu(size: int) -> dict[str, float]:
    import torch

    operations = 0.0
    for n in (1024, 2048):
        a, b, out = torch.randn(n, n), torch.randn(n, n), torch.empty(n, n)
        operations = max(operations, 2 * n**3 / _best(lambda a=a, b=b, out=out: torch.mm(a, b, out=out)))  # type: ignore[misc]
    source, target = torch.ones(size // 4), torch.empty(size // 4)
    return {"operations": operations, "bandwidth": 2 * size / _best(lambda: target.copy_(source))}


def _cuda(size: int) -> dict[str, Any]:
    import torch

    def synced(function: Callable[[], object]) -> Callable[[], None]:
        def call() -> None:
            function()
            torch.cuda.synchronize()

        return call

    n = 8192
    a, b = (torch.randn(n, n, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    source = torch.ones(8 * size // 4, device="cuda")
    target = torch.empty_like(source)
    pinned = torch.ones(size, dtype=torch.uint8).pin_memory()
    there = torch.empty(size, dtype=torch.uint8, device="cuda")
    return {
        "name": torch.cuda.get_device_name(),
        "memory": torch.cuda.get_device_properties(0).total_memory,
        "operations": 2 * n**3 / _best(synced(lambda: a @ b)),
        "bandwidth": 2 * 8 * size / _best(synced(lambda: target.copy_(source))),
        "from_host": size / _best(synced(lambda: there.copy_(pinned, non_blocking=True))),
    }


def _storage(folder: Path, size: int) -> dict[str, float]:
    path = folder / "storage-speed"
    content = os.urandom(size)

    def write() -> None:
        with open(path, "wb") as stream:
            stream.write(content)
            os.fsync(stream.fileno())

    def read() -> None:
        with open(path, "rb", buffering=0) as stream:
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            while stream.read(8 << 20):
                pass

    written = size / _best(write, 2)
    found = {"written": written, "read": size / _best(read, 2)}
    path.unlink()
    return found
