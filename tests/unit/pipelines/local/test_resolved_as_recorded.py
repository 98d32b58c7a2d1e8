"""What a local run resolves, compared word by word with what the real driver resolved."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

import support.pipelines.local_runs as local_runs
from epilstm.pipelines.local.scheduler import LocalRun

FOLDER = Path(local_runs.__file__).parent / "resolved"
RUNS = {"training": "training", "retraining-published": "retraining", "retraining-unchanged": "retraining"}


class Replay:
    """A recorded run, and the local run that was given its parameters and its tasks' outputs."""

    def __init__(self, name: str, folder: Path) -> None:
        rows = json.loads((FOLDER / f"{name}.json").read_text())
        self.rows: dict[str, dict[str, Any]] = {row["place"]: row for row in rows}
        self.worker = local_runs.ReplayedWorker(self.rows)
        spec = json.loads((FOLDER / f"{RUNS[name]}.ir.json").read_text())
        self.run = LocalRun(spec, folder, self.worker, tasks=1)
        asyncio.run(self.run.run(self.rows[""]["inputs"]))

    @property
    def containers(self) -> dict[str, dict[str, Any]]:
        return {place: row for place, row in self.rows.items() if row["kind"] == "container"}


@pytest.fixture(scope="module", params=list(RUNS))
def replay(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Replay:
    return Replay(request.param, tmp_path_factory.mktemp("replay"))


def test_the_same_tasks_run(replay):
    assert set(replay.worker.executions) == set(replay.containers)


def test_tasks_are_called_the_same(replay):
    named = {place: replay.run.steps[place].name for place in replay.containers}
    assert named == {place: row["display_name"] for place, row in replay.containers.items()}


def test_loops_and_conditions_are_the_same_with_the_same_inputs(replay):
    graphs = {place: row["inputs"] for place, row in replay.rows.items() if place and row["kind"] == "graph"}
    resolved = {place: values.parameters for place, values in replay.run.inputs.items() if place in graphs}
    assert graphs
    assert resolved == graphs
    assert set(replay.run.inputs) == set(replay.rows) - {""}


def test_tasks_have_the_same_inputs(replay):
    inputs = {place: execution.inputs.parameters for place, execution in replay.worker.executions.items()}
    assert inputs == {place: row["inputs"] for place, row in replay.containers.items()}


def test_tasks_read_the_same_artifacts(replay):
    read = {
        place: {name: artifact.uri for name, [artifact] in execution.inputs.artifacts.items()}
        for place, execution in replay.worker.executions.items()
    }
    assert read == {place: row.get("input_artifacts", {}) for place, row in replay.containers.items()}


def test_command_lines_are_the_same_word_by_word(replay):
    recorded = {place: row["command"] for place, row in replay.containers.items() if "command" in row}
    assert recorded
    assert {place: replay.worker.executions[place].words for place in recorded} == recorded


def test_a_condition_that_was_not_met_runs_nothing(replay):
    skipped = [place for place, row in replay.rows.items() if row.get("skipped")]
    begun = [name for name in replay.worker.executions if any(name.startswith(f"{place}/") for place in skipped)]
    assert begun == []
