"""Failures of tasks reach Prometheus, also of those whose step cannot report itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from epilstm.errors import DataError
from epilstm.pipelines.task.failure_reporting import failures_reported
from epilstm.pipelines.task.step_process import StepFailed
from support.task.launcher import DATA, Launcher


@pytest.fixture
def metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "textfiles"
    folder.mkdir()
    monkeypatch.setenv("EPILSTM_TEXTFILE_DIR", str(folder))
    monkeypatch.delenv("EPILSTM_PIPELINE", raising=False)
    return folder


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


def test_a_step_that_need_not_run_again_ends_well(metrics: Path, volume: Launcher) -> None:
    assert volume.run("ingest", DATA).code == 0
    file = metrics / "epilstm-local-ingest.prom"
    first = file.read_text()
    assert volume.run("ingest", DATA).code == 0
    second = file.read_text()

    def line(text: str, name: str) -> str:
        [found] = [line for line in text.splitlines() if line.startswith(f"epilstm_step_{name}{{")]
        return found

    assert line(first, "duration_seconds") == line(second, "duration_seconds")
    assert line(first, "last_success_timestamp_seconds") < line(second, "last_success_timestamp_seconds")


def test_the_plan_is_reported(metrics: Path, volume: Launcher) -> None:
    assert volume.plan(DATA, 2).code == 0
    assert "epilstm_step_last_success_timestamp_seconds" in (metrics / "epilstm-local-plan.prom").read_text()
    assert volume.plan({**DATA, "samplesheet": "nowhere.csv"}, 2).code == 1
    assert "epilstm_step_failure_info" in (metrics / "epilstm-local-plan.prom").read_text()
