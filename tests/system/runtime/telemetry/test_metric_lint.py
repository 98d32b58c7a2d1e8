"""All metrics, checked by promtool."""

from __future__ import annotations

import subprocess

import pytest

from epilstm.runtime.telemetry.names import COMMON_LABELS, METRICS
from epilstm.runtime.telemetry.series import Series
from epilstm.serving.server.metrics import ServerMetrics


def all_series() -> Series:
    series = Series(dict.fromkeys(COMMON_LABELS, "x"))
    for name, metric in METRICS.items():
        series.set(name, 1, **dict.fromkeys(metric.labels, "x"))
    return series


@pytest.mark.parametrize("text", [all_series().text(), ServerMetrics().text()], ids=["steps", "server"])
def test_promtool_finds_no_fault_with_the_metrics(programs, text):
    own = b"".join(line for line in text.splitlines(keepends=True) if b"epilstm_" in line)
    done = subprocess.run([programs["promtool"], "check", "metrics"], input=own, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
