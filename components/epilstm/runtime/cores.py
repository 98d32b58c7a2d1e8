"""CPU cores that may be used."""

from __future__ import annotations

import os
from pathlib import Path


def available_cores() -> int:
    """CPU cores that this process may use: its affinity, cut by a cgroup quota where there is one.

    Returns
    -------
    int
        At least 1.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota_file = Path("/sys/fs/cgroup/cpu.max")
    if quota_file.is_file():
        quota, _, period = quota_file.read_text().partition(" ")
        if quota.isdigit():
            cores = min(cores, max(1, round(int(quota) / int(period))))
    return cores
