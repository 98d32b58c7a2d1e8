"""What the server counts and measures, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from epilstm.serving.server.input_statistics import InputStatistics

SECONDS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SEQUENCES = (1, 2, 4, 8, 16, 32, 64, 128)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True)
class ModelSeries:
    """Series of one model, looked up once: looking labels up is most of what an observation costs."""

    queue_seconds: Histogram
    compute_seconds: Histogram
    batch_sequences: Histogram
    call_seconds: Counter
    bins: Counter


@dataclass(frozen=True)
class AnswerSeries:
    """Series of answers of one kind, looked up once; no time is kept of those that are about no model."""

    requests: Counter
    request_seconds: Histogram | None
    received_bytes: Counter
    sent_bytes: Counter


class ServerMetrics:
    """All series of the server, in a registry of their own; names start with ``epilstm_serve_``.

    Parameters
    ----------
    queue_length : callable
        Requests that wait for a worker.
    """

    def __init__(self, queue_length: Callable[[], int] = lambda: 0) -> None:
        disable_created_metrics()
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)

        def counter(name: str, text: str, labels: Sequence[str] = ()) -> Counter:
            return Counter(f"epilstm_serve_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, labels: Sequence[str] = ()) -> Gauge:
            return Gauge(f"epilstm_serve_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, labels: Sequence[str], buckets: Sequence[float]) -> Histogram:
            return Histogram(f"epilstm_serve_{name}", text, labels, buckets=buckets, registry=registry)

        self.requests = counter("requests", "Requests answered", ["model", "protocol", "code"])
        self.request_seconds = histogram(
            "request_seconds", "Time from a whole request to its answer", ["model", "protocol"], SECONDS
        )
        self.queue_seconds = histogram("queue_seconds", "Time that requests waited for a worker", ["model"], SECONDS)
        self.compute_seconds = histogram(
            "compute_seconds", "Time from a request's first call of the encoder to its last", ["model"], SECONDS
        )
        self.batch_sequences = histogram("batch_sequences", "Sequences per call of the encoder", ["model"], SEQUENCES)
        self.call_seconds = counter("call_seconds", "Time spent in calls of the encoder", ["model"])
        self.bins = counter("bins", "Bins embedded", ["model"])
        self.received_bytes = counter("received_bytes", "Bytes of request bodies", ["protocol"])
        self.sent_bytes = counter("sent_bytes", "Bytes of response bodies", ["protocol"])
        self.in_flight = gauge("in_flight_requests", "Requests being answered, those that wait included", ["protocol"])
        self.connections = gauge("open_connections", "Open HTTP connections")
        self.ready = gauge("ready", "1 when requests are answered")
        self.model_info = gauge(
            "model_info", "The model being served; always 1", ["model", "version", "provider", "runtime"]
        )
        self.model_loaded = gauge("model_loaded_timestamp_seconds", "When the model being served was loaded")
        self.reloads = counter("model_reloads", "New models taken or refused", ["result"])
        for result in ("taken", "refused"):
            self.reloads.labels(result)
        gauge("queue_length", "Requests that wait for a worker").set_function(queue_length)
        self.inputs: InputStatistics | None = None

    def of_model(self, model: str) -> ModelSeries:
        """Series of a model."""
        return ModelSeries(
            self.queue_seconds.labels(model),
            self.compute_seconds.labels(model),
            self.batch_sequences.labels(model),
            self.call_seconds.labels(model),
            self.bins.labels(model),
        )

    def of_answers(self, model: str, protocol: str, code: str) -> AnswerSeries:
        """Series of answers; `model` is empty where they are about none."""
        return AnswerSeries(
            self.requests.labels(model, protocol, code),
            self.request_seconds.labels(model, protocol) if model else None,
            self.received_bytes.labels(protocol),
            self.sent_bytes.labels(protocol),
        )

    def watch_inputs(self, tracks: Sequence[str]) -> None:
        """Start over with the statistics of the signals of a model."""
        if self.inputs is not None and self.inputs.tracks == list(tracks):
            return
        if self.inputs is not None:
            self.registry.unregister(self.inputs)
        self.inputs = InputStatistics(tracks)
        self.registry.register(self.inputs)

    def text(self) -> bytes:
        """All series as Prometheus reads them."""
        return generate_latest(self.registry)
