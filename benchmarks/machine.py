"""What the numbers were measured on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from epilstm.store.arrays import available_cores

#: Packages whose version matters for speed.
PACKAGES = ("torch", "numpy", "zarr", "isal", "onnxruntime", "onnxruntime-gpu", "xgboost-cpu")


def describe_machine() -> dict[str, Any]:
    """Processor, cores, memory and versions; the GPU is described by the ceilings."""
    return {
        "cpu": _cpu_model(),
        "cores": available_cores(),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": platform.platform(),
        "versions": {"python": platform.python_version()} | _versions(),
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
