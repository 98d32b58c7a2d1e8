"""A step whose process was interrupted or killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

#: The same step for processes of their own; it waits for a signal when `text` says so.
PROGRAM = """
import sys, time
from types import ModuleType
from epilstm import cli, params
from epilstm.runtime import runner, step_table
from epilstm.runtime.step_table import METRICS, Port, Step

def run(_, context):
    text = context.inputs["text"].read_text()
    context.outputs["copy"].mkdir()
    (context.outputs["copy"] / "half").write_text(text)
    if text == "wait":
        print("half-way", flush=True)
        time.sleep(60)
    (context.outputs["copy"] / "manifest.json").write_text("{}")
    return runner.StepResult("copied")

module = ModuleType("epilstm.steps.toy.command")
module.run = run
sys.modules[module.__name__] = module
params.SECTIONS["toy"] = params.Section
step = Step("toy", "Copy.", "train", (Port("text", "file", "in"),), (Port("copy", "matrix", "out"), METRICS))
step_table.STEPS["toy"] = step
cli.main(sys.argv[1:])
"""


def start(folder: Path, text: str) -> subprocess.Popen[str]:
    (folder / "text").write_text(text)
    line = [sys.executable, "-c", PROGRAM, "toy", "--text", "text", "--copy", "copy"]
    return subprocess.Popen(line, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_an_interrupted_process_exits_with_130_and_one_line(tmp_path, number):
    process = start(tmp_path, "wait")
    assert process.stdout is not None
    assert process.stdout.readline() == "half-way\n"
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "error: toy: interrupted; nothing half-written is left, run it again to resume\n"
    assert os.listdir(tmp_path) == ["text"]


def test_a_run_after_a_killed_one_is_as_if_it_had_never_been(tmp_path):
    process = start(tmp_path, "wait")
    assert process.stdout is not None
    assert process.stdout.readline() == "half-way\n"
    process.kill()
    process.communicate(timeout=60)
    assert not (tmp_path / "copy").exists()
    again = start(tmp_path, "go")
    again.communicate(timeout=60)
    assert again.returncode == 0
    assert sorted(os.listdir(tmp_path)) == ["copy", "copy.record.json", "text"]
    assert (tmp_path / "copy" / "half").read_text() == "go"
