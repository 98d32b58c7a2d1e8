"""Answers inference requests, whichever protocol they came by."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import onnxruntime

from epilstm import __version__
from epilstm.model.encoder_folder import SIGNAL
from epilstm.serving.server.access_log import AccessLog
from epilstm.serving.server.batching import Batcher, BatchingLimits
from epilstm.serving.server.credentials import Credentials
from epilstm.serving.server.encoder import Encoder
from epilstm.serving.server.metrics import AnswerSeries, ModelSeries, ServerMetrics
from epilstm.serving.server.refusal import Refusal, Status
from epilstm.serving.server.repository import Generation, Repository
from epilstm.serving.server.tensors import Tensor, Tensors

SERVER_NAME = "epilstm"
EXTENSIONS = ("binary_tensor_data",)


@dataclass(frozen=True)
class RequestLimits:
    """What one request may ask for.

    Parameters
    ----------
    seconds : float
        Until its answer.
    bins : int
        Batch x time.
    """

    seconds: float = 30.0
    bins: int = 100_000


class InferenceService:
    """The models, the workers, and what is logged and counted of their work.

    Parameters
    ----------
    credentials : Credentials, optional
        With the token that requests must carry.
    """

    def __init__(
        self,
        repository: Repository,
        batching: BatchingLimits,
        limits: RequestLimits,
        credentials: Credentials | None = None,
        access_log: AccessLog | None = None,
    ) -> None:
        self.repository, self.limits, self.access_log = repository, limits, access_log
        self.credentials = credentials or Credentials()
        self.batcher = Batcher(batching, self._called)
        self.metrics = ServerMetrics(lambda: self.batcher.queue_length)
        self.draining = False
        repository.on_loaded = self._loaded
        repository.on_refused = self.metrics.reloads.labels("refused").inc
        self._model_series: dict[str, ModelSeries] = {}
        self._answer_series: dict[tuple[str, str, str], AnswerSeries] = {}

    @property
    def ready(self) -> bool:
        """Whether requests are answered: a model is loaded and warm, and the server is not shutting down."""
        return self.repository.current is not None and not self.draining

    def start(self) -> None:
        """Start the workers; call it from the event loop."""
        self.batcher.start()
        self.metrics.ready.set_function(lambda: float(self.ready))

    def authorize(self, authorization: str) -> None:
        """Compare a request's ``Authorization`` with the token.

        Raises
        ------
        Refusal
            There is a token and this is not it.
        """
        expected = self.credentials.authorization
        if expected is not None and not hmac.compare_digest(authorization.encode(), expected):
            raise Refusal(Status.UNAUTHORIZED, "a bearer token is needed: Authorization: Bearer TOKEN")

    async def infer(self, encoder: Encoder, inputs: Tensors, seconds: float | None = None) -> Mapping[str, Tensor]:
        """Outputs for checked inputs.

        Parameters
        ----------
        inputs : mapping of str to array
        seconds : float, optional
            That the client waits, where it says so.

        Raises
        ------
        Refusal
            Too many requests, too late, or a signal that is infinite.
        """
        loop = asyncio.get_running_loop()
        patience = self.limits.seconds if seconds is None else min(seconds, self.limits.seconds)
        outputs, timing = await self.batcher.infer(encoder, inputs, loop.time() + patience)
        signal = inputs[SIGNAL]
        series = self._series_of(encoder)
        series.queue_seconds.observe(timing.queue)
        series.compute_seconds.observe(timing.compute)
        series.bins.inc(signal.shape[0] * signal.shape[1])
        if self.metrics.inputs is not None:
            self.metrics.inputs.observe(signal, loop.time())
        return outputs

    def answered(
        self,
        protocol: str,
        method: str,
        path: str,
        model: str,
        code: str,
        request_id: str,
        received: int,
        sent: int,
        seconds: float,
    ) -> None:
        """Count and log an answer."""
        series = self._answer_series.get((model, protocol, code))
        if series is None:
            series = self.metrics.of_answers(model, protocol, code)
            self._answer_series[model, protocol, code] = series
        series.requests.inc()
        if series.request_seconds is not None:
            series.request_seconds.observe(seconds)
        series.received_bytes.inc(received)
        series.sent_bytes.inc(sent)
        if self.access_log is not None:
            self.access_log.add({
                "protocol": protocol,
                "method": method,
                "path": path,
                "model": model,
                "code": code,
                "request_id": request_id,
                "received": received,
                "sent": sent,
                "ms": round(1000 * seconds, 3),
            })  # fmt: skip

    def describe_server(self) -> dict[str, Any]:
        """Metadata of the server."""
        return {"name": SERVER_NAME, "version": __version__, "extensions": list(EXTENSIONS)}

    def _called(self, encoder: Encoder, sequences: int, seconds: float) -> None:
        series = self._series_of(encoder)
        series.batch_sequences.observe(sequences)
        series.call_seconds.inc(seconds)

    def _series_of(self, encoder: Encoder) -> ModelSeries:
        name = encoder.spec.name
        series = self._model_series.get(name)
        if series is None:
            series = self._model_series[name] = self.metrics.of_model(name)
        return series

    def _loaded(self, generation: Generation) -> None:
        metrics = self.metrics
        if self.repository.current is not None:
            metrics.reloads.labels("taken").inc()
        metrics.model_info.clear()
        for name in generation.encoders:
            metrics.model_info.labels(name, generation.version, generation.provider, onnxruntime.__version__).set(1)
        metrics.model_loaded.set(generation.loaded)
        metrics.watch_inputs(generation.tracks)
