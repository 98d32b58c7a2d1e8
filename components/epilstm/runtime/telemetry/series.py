"""Values of metrics, and their text as Prometheus reads it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from threading import Lock

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from epilstm.runtime.telemetry.names import METRICS


class Series(Collector):
    """Values of metrics of `METRICS`; may be written and read by different threads.

    Parameters
    ----------
    common : mapping of str to str
        Labels that every series gets, before its own.
    """

    def __init__(self, common: Mapping[str, str]) -> None:
        self.common = dict(common)
        self.registry = CollectorRegistry()
        self.registry.register(self)
        self._values: dict[str, dict[tuple[str, ...], float]] = {}
        self._lock = Lock()

    def set(self, name: str, value: float | None, **labels: str) -> None:
        """Set a value; None sets nothing."""
        if value is not None:
            with self._lock:
                self._values.setdefault(name, {})[_key(name, labels)] = float(value)

    def add(self, name: str, amount: float, **labels: str) -> None:
        """Add to a value."""
        with self._lock:
            values = self._values.setdefault(name, {})
            key = _key(name, labels)
            values[key] = values.get(key, 0.0) + amount

    def collect(self) -> Iterable[GaugeMetricFamily | CounterMetricFamily]:
        """All series, for Prometheus."""
        with self._lock:
            values = {name: dict(each) for name, each in self._values.items()}
        for name, metric in METRICS.items():
            if name not in values:
                continue
            kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            family = kind(name, metric.text, labels=[*self.common, *metric.labels])
            for key, value in sorted(values[name].items()):
                family.add_metric([*self.common.values(), *key], value)
            yield family

    def text(self) -> bytes:
        """As Prometheus reads it."""
        return generate_latest(self.registry)


def _key(name: str, labels: Mapping[str, str]) -> tuple[str, ...]:
    metric = METRICS[name]
    if set(labels) != set(metric.labels):
        raise ValueError(f"{name} has the labels {metric.labels}, not {tuple(labels)}")
    return tuple(labels[label] for label in metric.labels)


def finite(value: object) -> float | None:
    """A finite number; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
