"""``epilstm pipeline retrain-on-alert``: alerts that ask for retraining start runs, once each, and not too many."""

import http.client
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_kfp_server import FakeKfpServer

from epilstm.errors import PipelineError
from epilstm.files.outputs import sha256_file
from epilstm.pipelines.submit.alert_webhook import MEMORY, Notification, Receiver, listen
from monitoring_stack import Alertmanager, get
from watching import wait_until

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


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "journal.json")


def test_an_alert_starts_one_run_however_often_it_is_sent(bench: Bench) -> None:
    assert bench.notify(alert()) == "started"
    bench.now += 30 * HOUR
    assert bench.notify(alert()) == "duplicate"
    assert len(bench.started) == 1


def test_the_same_alert_on_another_day_starts_another_run(bench: Bench) -> None:
    bench.notify(alert())
    bench.now += 30 * HOUR
    assert bench.notify(alert(begun="2026-01-02T06:00:00Z")) == "started"
    assert len(set(bench.started)) == 2


def test_alerts_sent_together_start_one_run(bench: Bench) -> None:
    assert bench.notify(alert("aa"), alert("bb")) == "started"
    bench.now += 2 * HOUR
    assert bench.notify(alert("bb")) == "duplicate"
    assert len(bench.started) == 1


def test_an_alert_within_the_cooldown_waits_for_its_end(bench: Bench) -> None:
    bench.notify(alert("aa"))
    bench.now += 0.9 * HOUR
    assert bench.notify(alert("bb")) == "cooling_down"
    bench.now += 0.2 * HOUR
    assert bench.notify(alert("bb")) == "started"


@pytest.mark.parametrize(
    "result", [alert(action="page"), alert(status="resolved")], ids=["asks for nothing", "is over"]
)
def test_an_alert_is_ignored_that(bench: Bench, result: dict[str, Any]) -> None:
    assert bench.notify(result) == "ignored"
    assert bench.started == []


def test_a_run_that_could_not_be_started_is_tried_again_when_sent_again(bench: Bench) -> None:
    bench.broken = True
    assert bench.notify(alert()) == "failed"
    bench.broken = False
    assert bench.notify(alert()) == "started"


def test_what_was_started_is_remembered_over_a_restart(tmp_path: Path) -> None:
    before = Bench(tmp_path / "journal.json")
    before.notify(alert("aa"))
    after = Bench(tmp_path / "journal.json")
    assert after.notify(alert("bb")) == "cooling_down"
    after.now += 2 * HOUR
    assert after.notify(alert("aa")) == "duplicate"


def test_a_receiver_that_died_before_it_noted_the_run_asks_for_the_same_name(tmp_path: Path) -> None:
    one, other = Bench(tmp_path / "one.json"), Bench(tmp_path / "other.json")
    one.notify(alert())
    other.notify(alert())
    assert one.started == other.started


def test_what_is_long_over_is_forgotten(bench: Bench) -> None:
    bench.notify(alert("aa"))
    bench.now += MEMORY + 1
    bench.notify(alert("bb"))
    assert list(bench.receiver.journal.handled) == [
        Notification.model_validate(notification(alert("bb"))).alerts[0].occurrence
    ]


def test_a_journal_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "journal.json").write_text('{"format": "something else"}')
    with pytest.raises(PipelineError, match=r"journal\.json: is not the journal"):
        Bench(tmp_path / "journal.json")


def test_a_journal_that_cannot_be_written_is_reported_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PipelineError, match="cannot be written"):
        Bench(tmp_path / "file" / "journal.json")


# Over HTTP


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


@pytest.fixture
def caller(bench: Bench) -> Iterator[Caller]:
    server = listen(bench.receiver, "127.0.0.1", 0, lambda: TOKEN)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield Caller(server.server_port)
    server.shutdown()
    server.server_close()


def test_a_notification_is_answered_with_what_became_of_it(caller: Caller, bench: Bench) -> None:
    assert caller.post(notification(alert())) == (200, {"outcome": "started"})
    assert caller.post(notification(alert())) == (200, {"outcome": "duplicate"})


def test_alertmanager_is_asked_to_send_again_what_failed(caller: Caller, bench: Bench) -> None:
    bench.broken = True
    assert caller.post(notification(alert()))[0] == 503


@pytest.mark.parametrize("token", [None, "", "opensesam", "öpensesame"])
def test_without_the_token_nothing_is_started(caller: Caller, bench: Bench, token: str | None) -> None:
    given = None if token is None else token.encode().decode("latin-1")
    assert caller.post(notification(alert()), given)[0] == 401
    assert bench.started == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        {"version": "3", "alerts": []},
        {"version": "4"},
        {"version": "4", "alerts": [{}]},
        notification({**alert(), "fingerprint": ""}),
        notification({**alert(), "labels": {"action": ["retrain"]}}),
    ],
)
def test_what_is_no_notification_is_refused(caller: Caller, bench: Bench, content: Any) -> None:
    assert caller.post(content)[0] == 400
    assert bench.started == []


def test_a_body_too_large_is_refused_before_it_is_sent(caller: Caller) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", caller.port, timeout=10)
    connection.putrequest("POST", "/alerts")
    connection.putheader("Authorization", f"Bearer {TOKEN}")
    connection.putheader("Content-Length", str((1 << 20) + 1))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


def test_metrics_count_the_outcomes_of_notifications(caller: Caller) -> None:
    caller.post(notification(alert()))
    caller.post(notification(alert()))
    text = get(f"http://127.0.0.1:{caller.port}/metrics")[1].decode()
    assert 'epilstm_alert_receiver_notifications_total{outcome="started"} 1.0' in text
    assert 'epilstm_alert_receiver_notifications_total{outcome="duplicate"} 1.0' in text
    assert 'epilstm_alert_receiver_notifications_total{outcome="failed"} 0.0' in text
    assert "epilstm_alert_receiver_last_run_timestamp_seconds 1e+09" in text


@pytest.mark.parametrize("path", ["/", "/alert", "/alerts/../secret"])
def test_other_paths_are_not_there(caller: Caller, path: str) -> None:
    assert caller.post(notification(alert()), path=path)[0] == 404
    assert get(f"http://127.0.0.1:{caller.port}{path}")[0] == 404


# As a process, between a real Alertmanager and a Kubeflow Pipelines server

StartReceiver = Callable[..., tuple[subprocess.Popen[bytes], Caller]]


@pytest.fixture
def start_receiver(kfp_server: FakeKfpServer, package: Path, tmp_path: Path) -> Iterator[StartReceiver]:
    token_file = tmp_path / "token"
    token_file.write_text(f"{TOKEN}\n")
    processes: list[subprocess.Popen[bytes]] = []

    def start(*options: str) -> tuple[subprocess.Popen[bytes], Caller]:
        errors = tmp_path / f"receiver-{len(processes)}.txt"
        command = [sys.executable, "-m", "epilstm", "pipeline", "retrain-on-alert", "--port", "0"]
        command += ["--webhook-token-file", str(token_file), "--journal", str(tmp_path / "journal.json")]
        command += ["--host", kfp_server.url, "--package", str(package), "-P", "data_root=/data", *options]
        with open(errors, "w") as stream:
            process = subprocess.Popen(command, stderr=stream, cwd=tmp_path)
        processes.append(process)
        wait_until(lambda: process.poll() is not None or "waiting for alerts" in errors.read_text(), 60)
        assert process.poll() is None, errors.read_text()
        return process, Caller(json.loads(errors.read_text().splitlines()[-1])["port"])

    yield start
    for process in processes:
        process.kill()
        process.wait()


@pytest.mark.integration
def test_a_run_is_started_once_even_by_a_receiver_that_lost_its_journal(
    start_receiver: StartReceiver, kfp_server: FakeKfpServer, tmp_path: Path
) -> None:
    process, caller = start_receiver()
    assert caller.post(notification(alert())) == (200, {"outcome": "started"})
    [run] = kfp_server.runs.values()
    assert run["display_name"].startswith("retraining-")
    assert run["runtime_config"]["parameters"]["data_root"] == "/data"
    assert run["runtime_config"]["parameters"]["ir_sha256"] == sha256_file(tmp_path / "small.yaml")
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0

    (tmp_path / "journal.json").unlink()
    _, caller = start_receiver()
    assert caller.post(notification(alert())) == (200, {"outcome": "started"})
    assert len(kfp_server.runs) == 1


@pytest.mark.integration
def test_alertmanager_repeats_an_alert_until_a_run_is_started(
    start_receiver: StartReceiver, kfp_server: FakeKfpServer, programs: dict[str, str], tmp_path: Path
) -> None:
    kfp_server.fail("POST /runs", times=40, status=400)
    _, caller = start_receiver()
    configuration = {
        "route": {"receiver": "retrain", "group_wait": "0s", "group_interval": "1s", "repeat_interval": "1s"},
        "receivers": [
            {
                "name": "retrain",
                "webhook_configs": [
                    {
                        "url": f"http://127.0.0.1:{caller.port}/alerts",
                        "send_resolved": False,
                        "http_config": {"authorization": {"credentials": TOKEN}},
                    }
                ],
            }
        ],
    }

    def outcomes() -> dict[str, float]:
        lines = get(f"http://127.0.0.1:{caller.port}/metrics")[1].decode().splitlines()
        result = [
            line.rpartition(" ") for line in lines if line.startswith("epilstm_alert_receiver_notifications_total")
        ]
        return {name.split('"')[1]: float(value) for name, _, value in result}

    with Alertmanager(programs, tmp_path / "alertmanager", configuration) as alertmanager:
        amtool = [programs["amtool"], "alert", "add", f"--alertmanager.url={alertmanager.url}"]
        subprocess.run([*amtool, "EpilstmDrift", "action=retrain", "pipeline=training"], check=True, timeout=30)
        wait_until(lambda: outcomes()["failed"] > 0, 30)
        kfp_server.faults.clear()
        wait_until(lambda: outcomes()["started"] == 1, 60)
        wait_until(lambda: outcomes()["duplicate"] > 1, 60)
    assert len(kfp_server.runs) == 1
