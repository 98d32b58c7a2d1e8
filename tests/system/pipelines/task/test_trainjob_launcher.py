"""The launcher of a TrainJob, against an API server: started, followed, fetched, result, deleted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from epilstm.runtime.step_table import STEPS
from support.pipelines.fake_trainer import COMPLETE, FAILED, JOBS, FakeTrainer, active
from support.pipelines.kubeconfig import kubeconfig
from support.watching import wait_until

RUNNING = active(2)


@pytest.fixture
def trainer() -> Iterator[Callable[..., FakeTrainer]]:
    started: list[FakeTrainer] = []

    def start(*arguments: Any) -> FakeTrainer:
        started.append(FakeTrainer(*arguments))
        return started[-1]

    yield start
    for each in started:
        each.close()


class Launcher:
    """The launcher as a process, in a data root."""

    def __init__(self, folder: Path, url: str, token: str = "letmein") -> None:
        self.root, self.kfp = folder / "root", folder / "kfp"
        self.root.mkdir(exist_ok=True)
        (folder / "params.yaml").write_text("train: {epochs: 1}\n")
        paths = {name: str(self.kfp / name) for name in ("model", "history", "metrics")}
        paths |= {"matrix": "datasets/matrix/0123", "checkpoint": "cache/train"}
        line = STEPS["train"].argv(str(folder / "params.yaml"), paths, ("resume",))
        options = ["--image=train:1", "--data-claim=data", f"--data-path={self.root}", "--poll-seconds=0.02"]
        environment = {**os.environ, "KUBECONFIG": str(kubeconfig(folder, url, token))}
        environment |= {"POD_NAME": "launcher", "POD_UID": "1234"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "epilstm.pipelines.task.trainjob", *options, "--", *line],
            cwd=self.root,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self) -> tuple[int, str]:
        """Exit code and the last line on standard error."""
        _, err = self.process.communicate(timeout=300)
        return self.process.returncode, err.splitlines()[-1] if err else ""


def train(job: dict[str, Any]) -> None:
    """What the first node leaves: outputs and records where its line says."""
    words = job["spec"]["trainer"]["args"][3:]
    paths = {key: Path(value) for key, value in zip(words[:-1:2], words[1:-1:2], strict=True)}
    assert yaml.safe_load(paths["--params"].read_text()) == {"train": {"epochs": 1}}
    paths["--model"].mkdir(parents=True)
    (paths["--model"] / "model.json").write_text("{}")
    for name in ("--history", "--metrics"):
        paths[name].write_text(name)
    for name in ("--model", "--history"):
        paths[name].with_name(f"{paths[name].name}.record.json").write_text(json.dumps({"of": name}))


def test_outputs_and_records_come_to_lie_where_the_line_says_and_the_job_is_gone(trainer, tmp_path):
    server = trainer([{}, RUNNING, COMPLETE], train)
    launcher = Launcher(tmp_path, server.url)
    assert launcher.end()[0] == 0
    assert (launcher.kfp / "model" / "model.json").read_text() == "{}"
    assert (launcher.kfp / "metrics").read_text() == "--metrics"
    assert json.loads((launcher.kfp / "history.record.json").read_text()) == {"of": "--history"}
    assert server.jobs == {}
    assert list((launcher.root / "trainjobs").iterdir()) == []


def test_the_job_belongs_to_the_pod_of_the_launcher(trainer, tmp_path):
    seen = []
    server = trainer([COMPLETE], lambda job: (seen.append(job), train(job)))
    assert Launcher(tmp_path, server.url).end()[0] == 0
    assert seen[0]["metadata"]["ownerReferences"][0]["name"] == "launcher"


def test_the_last_error_line_of_the_pod_that_failed_is_repeated(trainer, tmp_path):
    server = trainer([RUNNING, FAILED])
    server.logs = {
        "job-node-0-0": ("Running", "epoch 1\nerror: broken pipe\n"),
        "job-node-0-1": ("Failed", "error: an old one\nepoch 1\nerror: matrix/0123: no such folder\nbye\n"),
    }
    code, last = Launcher(tmp_path, server.url).end()
    assert code == 1
    assert last.startswith("error: train job epilstm-train-")
    assert last.endswith(" failed: matrix/0123: no such folder")
    assert server.jobs == {}


def test_without_any_output_the_reason_of_the_trainer_is_reported(trainer, tmp_path):
    server = trainer([FAILED])
    assert Launcher(tmp_path, server.url).end()[1].endswith("failed: jobset failed due to one or more job failures")


def test_the_job_is_deleted_when_the_launcher_is_stopped(trainer, tmp_path):
    server = trainer([RUNNING])
    launcher = Launcher(tmp_path, server.url)
    wait_until(lambda: bool(server.jobs))
    launcher.process.send_signal(signal.SIGTERM)
    code, last = launcher.end()
    assert code == 130
    assert "stopped and deleted" in last
    assert server.jobs == {}


def test_a_second_attempt_takes_over_the_job_of_a_killed_one(trainer, tmp_path):
    server = trainer([RUNNING, RUNNING, RUNNING, RUNNING, COMPLETE], train)
    first = Launcher(tmp_path, server.url)
    wait_until(lambda: bool(server.jobs))
    first.process.kill()
    first.end()
    assert len(server.jobs) == 1
    server.reads = dict.fromkeys(server.reads, 0)
    assert Launcher(tmp_path, server.url).end()[0] == 0
    assert server.requests.count(f"POST {JOBS}") == 1


def test_a_second_attempt_replaces_the_job_of_a_first_that_failed(trainer, tmp_path):
    server = trainer([FAILED])
    first = Launcher(tmp_path, server.url)
    server.faults = [("DELETE", 403, "forbidden")]
    assert first.end()[0] == 1
    assert len(server.jobs) == 1
    server.next_script, server.work = [RUNNING, COMPLETE], train
    assert Launcher(tmp_path, server.url).end()[0] == 0
    assert server.requests.count(f"POST {JOBS}") == 2


def test_a_server_that_falters_is_asked_again(trainer, tmp_path):
    server = trainer([RUNNING, COMPLETE], train)
    server.faults = [("GET", 503, "try later"), ("GET", 500, "oops"), ("GET", 429, "too many")]
    assert Launcher(tmp_path, server.url).end()[0] == 0


@pytest.mark.parametrize(
    ("fault", "result"),
    [
        (("POST", 403, "trainjobs is forbidden: User cannot create"), "cannot be started: 403: trainjobs is forbidden"),
        (("POST", 404, "the server could not find the requested resource"), "cannot be started: 404: the server could"),
        (("GET", 403, "User cannot get"), "cannot be read: 403: User cannot get"),
    ],
)
def test_a_refusal_is_one_line(fault, result, trainer, tmp_path):
    server = trainer([RUNNING])
    server.faults = [fault]
    code, last = Launcher(tmp_path, server.url).end()
    assert code == 1
    assert result in last
    assert server.jobs == {}


def test_a_refused_token_is_one_line(trainer, tmp_path):
    server = trainer([RUNNING])
    code, last = Launcher(tmp_path, server.url, token="stolen").end()
    assert code == 1
    assert "401: Unauthorized" in last


def test_a_server_that_is_not_there_is_one_line(trainer, tmp_path):
    server = trainer([RUNNING])
    url = server.url
    server.close()
    code, last = Launcher(tmp_path, url).end()
    assert code == 1
    assert "the Kubernetes API does not answer" in last


def test_a_job_that_somebody_deletes_is_reported(trainer, tmp_path):
    server = trainer([RUNNING])
    launcher = Launcher(tmp_path, server.url)
    wait_until(lambda: bool(server.jobs))
    server.jobs.clear()
    assert "was deleted while it ran" in launcher.end()[1]


def test_a_complete_job_without_outputs_is_an_error(trainer, tmp_path):
    code, last = Launcher(tmp_path, trainer([COMPLETE]).url).end()
    assert code == 1
    assert "complete, but it left no" in last


def test_a_data_root_off_the_volume_is_refused(tmp_path):
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "epilstm.pipelines.task.trainjob",
            "--image=i:1",
            "--data-claim=c",
            "--",
            "epilstm",
            "train",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert result.stderr == f"error: data root {tmp_path}: not on the volume at /data, which the nodes share\n"
