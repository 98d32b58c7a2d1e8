"""State of NVIDIA's GPUs, as ``nvidia-smi`` reports it."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from epilstm.runtime.telemetry.names import METRICS

QUERY = "index,utilization.gpu,memory.used,memory.total"
#: Seconds that an answer is good for, and that it is waited for.
FRESH, PATIENCE = 2.0, 2.0


@dataclass(frozen=True)
class Gpu:
    """One GPU: its number, the share of time in which it computes, bytes of memory."""

    index: str
    utilization: float
    memory_used: float
    memory_size: float


def parse(table: str) -> list[Gpu]:
    """GPUs in what ``nvidia-smi --query-gpu`` prints (percent, MiB); lines with what it does not know are left out."""
    gpus = []
    for line in table.splitlines():
        try:
            index, utilization, used, size = (word.strip() for word in line.split(","))
            gpus.append(Gpu(index, float(utilization) / 100, float(used) * 2**20, float(size) * 2**20))
        except ValueError:
            continue
    return gpus


class Gpus(Collector):
    """The GPUs of this machine; none where there is no ``nvidia-smi``.

    Parameters
    ----------
    common : mapping of str to str
        Labels that every series gets.
    """

    def __init__(self, common: Mapping[str, str]) -> None:
        self.common = common
        self.program = shutil.which("nvidia-smi")
        self._found: list[Gpu] = []
        self._looked = -FRESH

    def register(self, registry: CollectorRegistry) -> None:
        """Report the GPUs in a registry, where there are any."""
        if self.program is not None:
            registry.register(self)

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """All series, for Prometheus."""
        gpus = self._look()
        for name, attribute in (
            ("epilstm_gpu_utilization_ratio", "utilization"),
            ("epilstm_gpu_memory_used_bytes", "memory_used"),
            ("epilstm_gpu_memory_size_bytes", "memory_size"),
        ):
            family = GaugeMetricFamily(name, METRICS[name].text, labels=[*self.common, "gpu"])
            for gpu in gpus:
                family.add_metric([*self.common.values(), gpu.index], getattr(gpu, attribute))
            yield family

    def _look(self) -> list[Gpu]:
        if self.program is not None and time.monotonic() - self._looked >= FRESH:
            line = [self.program, f"--query-gpu={QUERY}", "--format=csv,noheader,nounits"]
            try:
                output = subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE, check=True).stdout
            except (OSError, subprocess.SubprocessError):
                output = ""
            self._found, self._looked = parse(output), time.monotonic()
        return self._found
