"""`epilstm pipeline local`: simulation, then training that is killed, interrupted and resumed."""

from __future__ import annotations

import fcntl
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from epilstm.files.outputs import COMPLETION_MARKER
from support.watching import wait_until

#: Small, for the two pipelines.
TINY = {
    "simulation": ["simulate.chromosomes={chr1: 400000, chr2: 200000, chr3: 200000, chr4: 200000}",
                   "simulate.cell_types=2", "simulate.assays=[DNase, H3K4me3]"],
    "training": ["train.embedding_size=3", "train.context_size=0", "train.hidden_size=4", "train.epochs=2",
                 "train.streams=4", "train.threads=1", "evaluate.bootstrap=10", "evaluate.folds={count: 2}",
                 "evaluate.classifier={trees: 5}", "evaluate.threads=1"],
}  # fmt: skip


def line(pipeline: str, folder: Path) -> list[str]:
    words = [word for change in TINY[pipeline] for word in ("-P", change)]
    return [sys.executable, "-m", "epilstm", "pipeline", "local", "--pipeline", pipeline, "--to", str(folder), *words]


def run(pipeline: str, folder: Path) -> dict[str, Any]:
    """The run that a command ended with."""
    done = subprocess.run(line(pipeline, folder), cwd=folder.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    content: dict[str, Any] = json.loads(done.stdout)
    return content


@contextmanager
def running_until(pipeline: str, folder: Path, task: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command whose task of a name has just begun."""
    log = folder.parent / "lines.log"
    with open(log, "wb") as stream:
        process = subprocess.Popen(line(pipeline, folder), cwd=folder.parent, stdout=stream, stderr=stream)
    try:
        wait_until(lambda: f'"{task}: RUNNING"' in log.read_text() or process.poll() is not None, seconds=300)
        yield process
    finally:
        process.kill()
        process.wait()


def tasks_ended(folder: Path) -> bool:
    """Whether no task of an earlier run is alive."""
    with open(folder / ".tasks.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


@pytest.mark.timeout(1200)
def test_a_training_that_was_killed_and_interrupted_is_resumed_to_its_end(tmp_path):
    folder = tmp_path / "run"
    run("simulation", folder)

    with running_until("training", folder, "Preprocess") as killed:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    wait_until(lambda: tasks_ended(folder), seconds=60)
    assert not list(folder.glob(f"tasks/preprocess/*/{COMPLETION_MARKER}"))

    with running_until("training", folder, "Train") as interrupted:
        interrupted.send_signal(signal.SIGTERM)
        assert interrupted.wait(120) == 130
    assert "error: interrupted; tasks that had ended are kept" in (tmp_path / "lines.log").read_text()
    assert tasks_ended(folder)
    assert not list(folder.glob(f"tasks/train/*/{COMPLETION_MARKER}"))
    assert json.loads((folder / "run.json").read_text())["state"] == "CANCELED"

    ended = run("training", folder)
    states = {task["task"]: (task["state"], task["cached"]) for task in ended["tasks"]}
    assert states["ingest"] == states["preprocess"] == ("SUCCEEDED", True)
    ran = {name for name, state in states.items() if state == ("SUCCEEDED", False)}
    assert ran == {"plan", "champion", "train", "export", "embed", "evaluate", "promote", "report"}
    outputs = {task["task"]: task["outputs"] for task in ended["tasks"]}
    report = Path(outputs["report"]["artifacts"]["report"][0]["uri"])
    assert report.read_text().startswith("<!")
    embeddings = Path(outputs["embed"]["parameters"]["embeddings"])
    assert embeddings.is_relative_to(folder / "data")
    assert (embeddings / "manifest.json").is_file()
