"""Workers whose parent was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.paths import PROJECT
from support.watching import alive, wait_until

#: Run as a process of its own: two workers that write their id and sleep.
PARENT = """
import os, sys, time
from pathlib import Path
from epilstm.runtime.processes import outcomes
from support.worker_functions import sleep_after_reporting

if __name__ == "__main__":
    with outcomes(sleep_after_reporting, [sys.argv[1]] * 2, 2) as done:
        list(done)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_their_parent(tmp_path: Path, number: signal.Signals) -> None:
    program, workers = tmp_path / "parent.py", tmp_path / "workers"
    program.write_text(PARENT)
    workers.mkdir()
    environment = os.environ | {"PYTHONPATH": str(PROJECT / "tests")}
    parent = subprocess.Popen([sys.executable, str(program), str(workers)], env=environment, stderr=subprocess.DEVNULL)
    wait_until(lambda: len(list(workers.iterdir())) == 2)
    parent.send_signal(number)
    parent.wait(timeout=60)
    wait_until(lambda: not any(alive(int(path.name)) for path in workers.iterdir()))
