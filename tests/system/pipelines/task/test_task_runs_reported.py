"""Runs of tasks, as processes, reach Prometheus."""

from __future__ import annotations

from pathlib import Path

from support.task.launcher import DATA, Launcher


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
