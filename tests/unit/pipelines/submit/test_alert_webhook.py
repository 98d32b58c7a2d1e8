"""``epilstm pipeline retrain-on-alert``: alerts that ask for retraining start runs, once each, and not too many."""

import http.client
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from epilstm.errors import PipelineError
from epilstm.pipelines.submit.alert_webhook import MEMORY, Notification, listen
from support.monitoring_stack import get
from support.pipelines.webhook_bench import HOUR, TOKEN, Bench, Caller, alert, notification


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
