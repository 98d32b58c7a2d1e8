"""Alertmanager's webhook: an alert that asks for retraining starts a run, once, and not too soon after another.

``POST /alerts`` takes Alertmanager's notifications (version 4), ``GET /metrics`` counts their outcomes, ``GET
/healthz`` reports that the receiver is up. An occurrence of an alert is its fingerprint and when it began: Alertmanager
repeats notifications while an alert lasts, and after each change of its group.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics, generate_latest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from epilstm.console import log
from epilstm.errors import DataError, EpilstmError, PipelineError
from epilstm.files.outputs import read_json, write_json
from epilstm.store.manifests import parse_manifest

#: An alert with this label asks for a run (manifests/monitoring/base/pipeline-rules.yaml).
LABEL, VALUE = "action", "retrain"

#: Bytes of a notification at most, and seconds that its sender may take.
MAX_BODY, PATIENCE = 1 << 20, 10.0

#: Seconds for which an occurrence is remembered; Alertmanager forgets its own notifications after five days.
MEMORY = 90 * 86400.0

Outcome = Literal["started", "ignored", "duplicate", "cooling_down", "failed"]
OUTCOMES: tuple[Outcome, ...] = ("started", "ignored", "duplicate", "cooling_down", "failed")


class Alert(BaseModel):
    """One alert of a notification; fields that are not needed are left out."""

    model_config = ConfigDict(populate_by_name=True)

    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    fingerprint: str = Field(min_length=1)
    starts_at: str = Field(alias="startsAt", min_length=1)

    @property
    def occurrence(self) -> str:
        """Identifier of this occurrence of the alert."""
        return hashlib.sha256(f"{self.fingerprint} {self.starts_at}".encode()).hexdigest()[:16]

    @property
    def asks_for_run(self) -> bool:
        """Whether it is firing and carries the label."""
        return self.status == "firing" and self.labels.get(LABEL) == VALUE


class Notification(BaseModel):
    """What Alertmanager sends."""

    version: Literal["4"]
    alerts: list[Alert]


class Journal(BaseModel):
    """What the receiver remembers: when it last started a run, and which occurrences it has answered with one.

    `handled` is occurrence -> seconds since 1970.
    """

    model_config = ConfigDict(extra="forbid")

    format: Literal["epilstm.alert-journal/1"] = "epilstm.alert-journal/1"
    last_started: float | None = None
    handled: dict[str, float] = {}


def read_journal(path: Path) -> Journal:
    """The journal in a file; an empty one where there is no file.

    Raises
    ------
    PipelineError
        It is not one.
    """
    if not path.exists():
        return Journal()
    try:
        return parse_manifest(read_json(path), Journal, path)
    except DataError as error:
        raise PipelineError(f"--journal {path}: is not the journal of a receiver; move it away") from error


class ReceiverMetrics:
    """What the receiver counts, in a registry of its own."""

    def __init__(self) -> None:
        disable_created_metrics()
        self.registry = CollectorRegistry()
        self.notifications = Counter(
            "epilstm_alert_receiver_notifications",
            "Notifications of Alertmanager, by outcome",
            ["outcome"],
            registry=self.registry,
        )
        for outcome in OUTCOMES:
            self.notifications.labels(outcome)
        self.last_run = Gauge(
            "epilstm_alert_receiver_last_run_timestamp_seconds",
            "When the last run was started; 0 if none was",
            registry=self.registry,
        )


@dataclass
class Receiver:
    """Answers notifications.

    Parameters
    ----------
    start : callable
        Starts the run of a name unless there is one of that name; returns its identifier.
    cooldown : float
        Seconds between two runs at least.
    clock : callable
        Seconds since 1970.

    Raises
    ------
    PipelineError
        The journal cannot be read, or not be written.
    """

    start: Callable[[str], str]
    journal_file: Path
    cooldown: float
    clock: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        self.journal = read_journal(self.journal_file)
        self.metrics = ReceiverMetrics()
        self.metrics.last_run.set(self.journal.last_started or 0)
        try:
            self._write_journal()
        except OSError as error:
            raise PipelineError(f"--journal {self.journal_file}: cannot be written: {error.strerror}") from error
        self._lock = threading.Lock()

    def receive(self, notification: Notification) -> Outcome:
        """Start a run if a notification asks for one that was not started yet."""
        with self._lock:
            outcome = self._receive([alert for alert in notification.alerts if alert.asks_for_run])
        self.metrics.notifications.labels(outcome).inc()
        return outcome

    def _receive(self, asking: list[Alert]) -> Outcome:
        if not asking:
            return "ignored"
        new = [alert for alert in asking if alert.occurrence not in self.journal.handled]
        names = ", ".join(sorted({alert.labels.get("alertname", "?") for alert in asking}))
        if not new:
            return "duplicate"
        now, last = self.clock(), self.journal.last_started
        if last is not None and now - last < self.cooldown:
            log.info(f"{names}: no run for {self.cooldown - (now - last):.0f} s yet, the last one was just started")
            return "cooling_down"
        # The name follows from the alert: a receiver that dies before it has noted the run finds it again.
        name = f"retraining-{new[0].occurrence}"
        try:
            run_id = self.start(name)
        except EpilstmError as error:
            log.error(f"{names}: run {name} cannot be started: {error}")
            return "failed"
        log.info(f"{names}: run {name} started", extra={"fields": {"run": name, "run_id": run_id}})
        handled = {key: when for key, when in self.journal.handled.items() if now - when < MEMORY}
        handled |= {alert.occurrence: now for alert in asking}
        self.journal = Journal(last_started=now, handled=handled)
        self.metrics.last_run.set(now)
        try:
            self._write_journal()
        except OSError as error:
            log.error(f"{self.journal_file}: cannot be written, after a restart the run may be started again: {error}")
        return "started"

    def _write_journal(self) -> None:
        write_json(self.journal_file, self.journal.model_dump(mode="json"))


def listen(receiver: Receiver, host: str, port: int, token: Callable[[], str]) -> ThreadingHTTPServer:
    """A server that has yet to be run (``serve_forever``).

    Parameters
    ----------
    port : int
        0 takes a free one.
    token : callable
        Bearer token that notifications must carry, asked for each time.

    Raises
    ------
    PipelineError
        The port is unavailable.
    """
    try:
        server = ThreadingHTTPServer((host, port), _handler(receiver, token))
    except (OSError, OverflowError) as error:
        raise PipelineError(f"--port {port}: cannot listen on {host}: {error}; choose another") from error
    server.daemon_threads = True
    return server


def _handler(receiver: Receiver, token: Callable[[], str]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = PATIENCE
        server_version, sys_version = "epilstm", ""

        def do_GET(self) -> None:
            if self.path == "/healthz":
                self._answer(200, {"up": True})
            elif self.path == "/metrics":
                self._send(200, generate_latest(receiver.metrics.registry), "text/plain; version=0.0.4; charset=utf-8")
            else:
                self._answer(404, {"error": "no such path"})

        def do_POST(self) -> None:
            if self.path != "/alerts":
                self._answer(404, {"error": "no such path"})
                return
            try:
                expected = f"Bearer {token()}"
            except EpilstmError as error:
                log.error(str(error))
                self._answer(503, {"error": "the token cannot be read"})
                return
            if not hmac.compare_digest(self.headers.get("Authorization", "").encode(), expected.encode()):
                self._answer(401, {"error": "a bearer token is needed"})
                return
            length = self.headers.get("Content-Length", "")
            if not length.isdigit() or int(length) > MAX_BODY:
                self._answer(413, {"error": f"expected a body of known length, at most {MAX_BODY} bytes"})
                return
            try:
                notification = Notification.model_validate(json.loads(self.rfile.read(int(length))))
            except (ValueError, ValidationError) as error:
                log.warning(f"not a notification of Alertmanager: {error}".splitlines()[0])
                self._answer(400, {"error": "not a notification of Alertmanager, version 4"})
                return
            outcome = receiver.receive(notification)
            # Alertmanager sends again what was answered with 5xx.
            self._answer(503 if outcome == "failed" else 200, {"outcome": outcome})

        def _answer(self, status: int, content: Mapping[str, Any]) -> None:
            self._send(status, json.dumps(content).encode(), "application/json")

        def _send(self, status: int, content: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *values: Any) -> None:
            log.debug(format % values)

    return Handler
