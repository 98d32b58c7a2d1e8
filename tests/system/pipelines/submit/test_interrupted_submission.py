"""Ctrl-C while a run is submitted, in a process of its own."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.pipelines.command_outcome import Command
from support.pipelines.fake_kfp_server import FakeKfpServer, tasks

ROOT = ("-P", "data_root=/data")


@pytest.fixture
def submit(epilstm_pipeline: Command, kfp_server: FakeKfpServer, package: Path) -> Command:
    def run(*arguments: str) -> Any:
        return epilstm_pipeline("submit", "--host", kfp_server.url, "--package", package, *ROOT, *arguments)

    return run


def only_run(server: FakeKfpServer) -> dict[str, Any]:
    (run,) = server.runs.values()
    return run


def test_ctrl_c_in_a_process_of_its_own(kfp_server: FakeKfpServer, package: Path) -> None:
    kfp_server.script = [tasks("RUNNING", train="RUNNING")]
    arguments = ["submit", "--host", kfp_server.url, "--package", str(package), *ROOT, "--wait", "--poll", "0.1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "epilstm", "pipeline", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stderr is not None
    assert "RUNNING" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "continues" in err
    assert json.loads(out)["run_id"] == only_run(kfp_server)["run_id"]
