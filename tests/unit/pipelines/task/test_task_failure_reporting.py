"""Failures of tasks reach Prometheus, also of those whose step cannot report itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from epilstm.errors import DataError
from epilstm.pipelines.task.failure_reporting import failures_reported
from epilstm.pipelines.task.step_process import StepFailed


def fail(error: Exception, part: str | None = None) -> None:
    with pytest.raises(type(error)), failures_reported("train", part):
        raise error


def test_a_step_that_was_killed_is_reported(metrics: Path) -> None:
    fail(StepFailed("killed by SIGKILL", 137))
    assert 'reason="killed"' in (metrics / "epilstm-local-train.prom").read_text()


@pytest.mark.parametrize("code", [1, 2, 130], ids=["failed", "bad usage", "interrupted"])
def test_a_step_that_failed_by_itself_has_reported_it(metrics: Path, code: int) -> None:
    fail(StepFailed("it says why", code))
    assert list(metrics.iterdir()) == []


def test_a_task_that_failed_before_its_step_began_is_reported(metrics: Path) -> None:
    fail(DataError("no such bucket"), part="chr5")
    assert 'reason="data"' in (metrics / "epilstm-local-train-chr5.prom").read_text()
