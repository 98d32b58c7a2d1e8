"""Compiled pipelines on this machine, as `epilstm pipeline local` runs them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import yaml
from kfp import compiler

from epilstm.pipelines.compile.compilation import LOADER
from epilstm.pipelines.local.engines import Engine, ProcessEngine
from epilstm.pipelines.local.executions import Execution, TaskFolder
from epilstm.pipelines.local.resolution import Artifact, Values
from epilstm.pipelines.local.scheduler import LocalRun
from epilstm.pipelines.local.worker import ProcessWorker


class NotingWorker(ProcessWorker):
    """Notes which tasks it attempted, by what runs them, in the order in which they ended."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.attempts: list[tuple[str, Path]] = []

    async def attempt(self, execution: Execution, folder: TaskFolder) -> Values | str:
        result = await super().attempt(execution, folder)
        self.attempts.append((execution.executor, folder.log))
        return result


@dataclass
class Ran:
    """A run that ended."""

    run: LocalRun
    attempts: list[tuple[str, Path]]

    @property
    def tasks(self) -> list[str]:
        """Tasks that ran, parts included; those taken from an earlier run are left out."""
        return [name for name, _ in self.attempts]

    def log(self, task: str) -> str:
        """What a task wrote."""
        return "".join(log.read_text() for name, log in self.attempts if name == task)

    def outputs(self, task: str) -> Values:
        """Outputs of the one task that an executor ran."""
        [found] = [
            made
            for execution, _, made in self.run.executions.values()
            if execution.executor == task and made is not None
        ]
        return found


def run_pipeline(
    compiled: Path,
    folder: Path,
    arguments: Mapping[str, Any],
    environment: Mapping[str, str] | None = None,
    tasks: int = 1,
    engine: Engine | None = None,
) -> Ran:
    """Run a compiled pipeline to its end; PipelineError where a task fails."""
    spec = next(yaml.load_all(compiled.read_text(), Loader=LOADER))
    return run_spec(spec, folder, arguments, environment, tasks, engine)


def run_spec(
    spec: Mapping[str, Any],
    folder: Path,
    arguments: Mapping[str, Any],
    environment: Mapping[str, str] | None = None,
    tasks: int = 1,
    engine: Engine | None = None,
) -> Ran:
    """As `run_pipeline`, from its IR."""
    worker = NotingWorker(engine or ProcessEngine(), str(uuid4()), "pipeline", folder, environment or {})
    run = LocalRun(spec, folder, worker, tasks)
    try:
        asyncio.run(run.run(arguments))
    finally:
        LAST.run = Ran(run, worker.attempts)
    return LAST.run


@dataclass
class _Last:
    run: Ran = field(init=False)


#: The last run, also where it failed.
LAST = _Last()


def compiled_spec(pipeline: Any, folder: Path) -> dict[str, Any]:
    """The IR of a pipeline that a test wrote with kfp."""
    path = folder / "compiled.yaml"
    compiler.Compiler().compile(pipeline, str(path))
    spec: dict[str, Any] = next(yaml.load_all(path.read_text(), Loader=LOADER))
    return spec


@dataclass
class ReplayedWorker:
    """Gives each task the outputs that a recording has for it, and runs nothing."""

    rows: Mapping[str, Mapping[str, Any]]
    token: str = "replayed"
    executions: dict[str, Execution] = field(default_factory=dict)

    async def attempt(self, execution: Execution, folder: TaskFolder) -> Values | str:
        self.executions[execution.name] = execution
        row = self.rows.get(execution.name)
        if row is None:
            return "it is not in the recording"
        declared = execution.component.get("outputDefinitions", {}).get("artifacts", {})
        made = row.get("output_artifacts", {})
        artifacts = {name: [Artifact(uri, declared[name]["artifactType"], uri)] for name, uri in made.items()}
        return Values(row.get("outputs", {}), artifacts)

    def stop(self) -> None:
        """Nothing runs."""
