"""The folder of local runs: one run at a time, what the last one did, and no task that outlives its run unseen."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from epilstm.console import log
from epilstm.errors import DataError
from epilstm.files.outputs import exclusive, write_json
from epilstm.pipelines.local.scheduler import LocalRun
from epilstm.pipelines.submit.answers import seconds

#: What the last run did; says that a folder is one of local runs.
RUN_FILE = "run.json"

#: Held by a run and by each of its tasks.
TASKS_LOCK = ".tasks.lock"


@contextmanager
def held(folder: Path) -> Iterator[int]:
    """Hold a folder for one run; tasks of a killed run are waited for.

    Yields
    ------
    int
        File descriptor that tasks keep open, so that a later run can wait for them.

    Raises
    ------
    DataError
        Another run is at work there, or the folder has other content.
    """
    visible = [path for path in folder.iterdir() if not path.name.startswith(".")] if folder.is_dir() else []
    if visible and not (folder / RUN_FILE).exists():
        raise DataError(f"{folder}: a folder with other content stands there; choose another --to")
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder}: a file stands there; choose another --to")
    with exclusive(folder / RUN_FILE), open(folder / TASKS_LOCK, "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info(f"{folder}: tasks of a run that was killed are still ending, waiting for them")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()


def summary(run: LocalRun, run_id: str, pipeline: str, digest: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """A run as its folder keeps it, and as it is printed."""
    tasks = []
    for step in run.steps.values():
        execution, folder, outputs = run.executions.get(step.id, (None, None, None))
        tasks.append(
            {
                "task": step.id,
                "name": step.name,
                "part": step.part or None,
                "state": step.state,
                "cached": step.cached,
                "seconds": seconds(step.started, step.ended, True),
                "error": step.error or None,
                "log": str(folder.log) if folder is not None and not step.cached else None,
                "inputs": dict(execution.inputs.parameters) if execution else None,
                "outputs": outputs.as_json() if outputs else None,
            }
        )
    about = {"pipeline": pipeline, "ir_sha256": digest, "run_id": run_id, "state": run.state}
    return {**about, "parameters": parameters, "tasks": tasks}


def write(folder: Path, content: dict[str, Any]) -> None:
    """Keep a `summary` in the folder."""
    write_json(folder / RUN_FILE, content)
