"""A webhook receiver and what calls it."""

import http.client
import json
from pathlib import Path
from typing import Any

from epilstm.errors import PipelineError
from epilstm.pipelines.submit.alert_webhook import Notification, Receiver

TOKEN = "opensesame"


HOUR = 3600.0


def alert(
    fingerprint: str = "aa", begun: str = "2026-01-01T00:00:00Z", status: str = "firing", **labels: str
) -> dict[str, Any]:
    return {
        "status": status,
        "labels": {"alertname": "EpilstmDrift", "action": "retrain", **labels},
        "annotations": {},
        "startsAt": begun,
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "",
        "fingerprint": fingerprint,
    }


def notification(*alerts: dict[str, Any]) -> dict[str, Any]:
    return {"version": "4", "groupKey": "{}", "status": "firing", "receiver": "retrain", "alerts": list(alerts)}


class Bench:
    """A receiver whose clock and runs the test holds in its hands."""

    def __init__(self, journal: Path, cooldown: float = HOUR) -> None:
        self.now, self.started, self.broken = 1e9, [], False  # type: ignore[var-annotated]
        self.receiver = Receiver(self.start, journal, cooldown, lambda: self.now)

    def start(self, name: str) -> str:
        if self.broken:
            raise PipelineError("no server")
        self.started.append(name)
        return f"id of {name}"

    def notify(self, *alerts: dict[str, Any]) -> str:
        return self.receiver.receive(Notification.model_validate(notification(*alerts)))


class Caller:
    def __init__(self, port: int) -> None:
        self.port = port

    def post(self, content: Any, token: str | None = TOKEN, path: str = "/alerts") -> tuple[int, dict[str, Any]]:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        connection.request("POST", path, body, headers)
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        return response.status, json.loads(answer)
