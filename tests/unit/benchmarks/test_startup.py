"""The benchmark of starting up: what it measures, and its table."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import pytest

from benchmarks.startup import COMMANDS, PROGRAMS, as_markdown, cpu_seconds
from epilstm.runtime.step_table import STEPS
from support.paths import PROJECT


def test_every_step_is_measured():
    assert set(COMMANDS) == {"--help", *STEPS}


def test_the_table_has_medians_and_the_ratio_of_the_last_tree_to_the_first():
    runs = {
        "new": [dict.fromkeys((*COMMANDS, *PROGRAMS), seconds) for seconds in (1.0, 2.0, 9.0)],
        "old": [dict.fromkeys((*COMMANDS, *PROGRAMS), 5.0)],
    }
    lines = as_markdown(runs).splitlines()
    assert lines[0] == "| CPU, s | new | old | last over first |"
    assert "| ingest | 2.0 | 5.0 | 2.5 |" in lines
    assert len(lines) == 2 + len(COMMANDS) + len(PROGRAMS)


def test_the_cpu_time_of_a_program_counts_and_a_failure_is_an_error(tmp_path: Path):
    busy = "import time\nwhile time.process_time() < 0.3: pass"
    assert cpu_seconds([sys.executable, "-c", busy], tmp_path, PROJECT) >= 0.3
    with pytest.raises(click.ClickException, match="no such thing"):
        cpu_seconds([sys.executable, "-c", "raise SystemExit('no such thing')"], tmp_path, PROJECT)
