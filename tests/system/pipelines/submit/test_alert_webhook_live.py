"""The webhook between a real Alertmanager and a server of pipelines."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from epilstm.files.outputs import sha256_file
from epilstm.pipelines.submit.alert_webhook import listen
from support.monitoring_stack import Alertmanager, get
from support.pipelines.fake_kfp_server import FakeKfpServer
from support.pipelines.webhook_bench import TOKEN, Bench, Caller, alert, notification
from support.watching import wait_until


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "journal.json")


@pytest.fixture
def caller(bench: Bench) -> Iterator[Caller]:
    server = listen(bench.receiver, "127.0.0.1", 0, lambda: TOKEN)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield Caller(server.server_port)
    server.shutdown()
    server.server_close()


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
        wait_until(lambda: process.poll() is not None or "waiting for alerts" in errors.read_text())
        assert process.poll() is None, errors.read_text()
        return process, Caller(json.loads(errors.read_text().splitlines()[-1])["port"])

    yield start
    for process in processes:
        process.kill()
        process.wait()


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
        wait_until(lambda: outcomes()["failed"] > 0)
        kfp_server.faults.clear()
        wait_until(lambda: outcomes()["started"] == 1)
        wait_until(lambda: outcomes()["duplicate"] > 1)
    assert len(kfp_server.runs) == 1
