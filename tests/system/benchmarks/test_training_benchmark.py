"""The training benchmark from its command line."""

import json
import os
import subprocess
import sys

from benchmarks.table import as_json
from support.paths import PROJECT

ROOT = PROJECT


MACHINE = {"cpu": "a CPU", "cores": 2, "memory": 8e9, "system": "Linux", "versions": {"python": "3.11"}}


CEILINGS = {"cpu": {"operations": 1e11, "bandwidth": 1e10}, "storage": {"read": 1e9, "written": 1e9}}


def table(*rows):
    return as_json("full", MACHINE, CEILINGS, rows, {}) | {"threads": 2}


def test_training_is_measured_from_the_command_line(tmp_path):
    command = [sys.executable, "-m", "benchmarks", "train", "--quick", "--device=cpu", "--repeats=1", "--threads=1"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "components")}
    subprocess.run([*command, f"--results={tmp_path}"], cwd=ROOT, env=environment, check=True, capture_output=True)
    (row,) = json.loads((tmp_path / "table.json").read_text())["rows"]
    assert row["stage"] == "train"
    assert row["bins_per_second"] > 0
    assert row["ratio"] > 0
    assert row["peak_memory"] > 10**7
    assert "published" in (tmp_path / "table.md").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["table.json", "table.md"], "no data are left behind"
