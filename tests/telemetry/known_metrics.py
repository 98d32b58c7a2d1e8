"""Every metric of the project as its code declares it, to hold documents, rules and dashboards against."""

from __future__ import annotations

from typing import NamedTuple

from prometheus_client import CollectorRegistry

from epilstm.pipelines.submit.alert_webhook import ReceiverMetrics
from epilstm.runtime.telemetry.names import METRICS
from epilstm.serving.server.input_statistics import InputStatistics
from epilstm.serving.server.metrics import ServerMetrics


class Known(NamedTuple):
    """Kind, labels of its own and meaning."""

    kind: str
    labels: tuple[str, ...]
    text: str


def steps() -> dict[str, Known]:
    return {name: Known(metric.kind, metric.labels, metric.text) for name, metric in METRICS.items()}


def server() -> dict[str, Known]:
    metrics = ServerMetrics()
    registry = CollectorRegistry()
    registry.register(InputStatistics(["track"]))
    labels = {
        name: tuple(metric._labelnames)
        for metric, names in metrics.registry._collector_to_names.items()
        if hasattr(metric, "_labelnames")
        for name in names
    }
    found = {}
    for family in (*metrics.registry.collect(), *registry.collect()):
        if family.name.startswith("epilstm_"):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            own = labels.get(family.name, ("track",))
            found[name] = Known(family.type, own, family.documentation)
    return found


def receiver() -> dict[str, Known]:
    own = {"epilstm_alert_receiver_notifications_total": ("outcome",)}
    found = {}
    for family in ReceiverMetrics().registry.collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found[name] = Known(family.type, own.get(name, ()), family.documentation)
    return found


def everything() -> dict[str, Known]:
    return {**steps(), **server(), **receiver()}
