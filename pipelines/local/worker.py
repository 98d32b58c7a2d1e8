"""Makes attempts at tasks: starts their command lines, keeps their logs, reads what they left."""

from __future__ import annotations

import asyncio
import ctypes
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from epilstm.errors import PipelineError
from epilstm.pipelines.local.command_lines import with_paths
from epilstm.pipelines.local.engines import Engine
from epilstm.pipelines.local.executions import PARAMETERS, Execution, TaskFolder
from epilstm.pipelines.local.resolution import Values
from epilstm.pipelines.submit.log_lines import last_error_line

#: Ends the line of an error that the same task would end with again.
HOPELESS = "; a retry cannot help"

#: Bytes of the end of a log in which the last error is looked for.
LOG_TAIL = 1 << 18

#: Free bytes of a disk on which a task cannot even log its last error.
FULL = 1 << 16

#: Makes the kernel send a signal to a process whose parent has died (Linux).
_SIGNAL_OF_PARENTS_DEATH = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class Worker(Protocol):
    """Makes attempts at tasks."""

    token: str
    """Names what is of this run alone."""

    async def attempt(self, execution: Execution, folder: TaskFolder) -> Values | str:
        """Outputs of an attempt, or why it failed."""

    def stop(self) -> None:
        """Stop the attempts that are being made; later ones are stopped at once."""


@dataclass
class ProcessWorker:
    """Starts each task as a process, which may be that of a container.

    Parameters
    ----------
    run_id : str
        Identifier of the run, a UUID.
    pipeline : str
        Name of the pipeline.
    folder : Path
        Of the run.
    variables : mapping of str to str
        Environment of each task, besides what the pipeline sets.
    held : tuple of int
        File descriptors that tasks hold open as long as they live.
    """

    engine: Engine
    run_id: str
    pipeline: str
    folder: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    held: tuple[int, ...] = ()
    token: str = field(default_factory=lambda: secrets.token_hex(4))

    def __post_init__(self) -> None:
        self.stopped = False
        self.running: dict[str, asyncio.subprocess.Process] = {}

    def stop(self) -> None:
        """Have the processes end, as a cluster has pods end."""
        self.stopped = True
        for name, process in self.running.items():
            line = self.engine.stop_line(self._container_name(name))
            if line is not None:
                subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            else:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)

    async def attempt(self, execution: Execution, folder: TaskFolder) -> Values | str:
        """Outputs of an attempt, or why it failed."""
        try:
            return await self._attempt(execution, folder)
        except PipelineError as error:
            return str(error)
        except OSError as error:
            return f"{error.filename or folder.path}: {error.strerror or error}"

    async def _attempt(self, execution: Execution, folder: TaskFolder) -> Values | str:
        given = folder.begin(execution)
        for path in (folder.path, folder.path / PARAMETERS):
            path.chmod(0o777)  # the user of a container may be another one
        about = {
            "pipeline_job_uuid": self.run_id,
            "pipeline_job_name": self.pipeline,
            "pipeline_job_resource_name": self.pipeline,
            "pipeline_task_name": execution.task,
            "pipeline_task_uuid": f"{self.token}/{execution.name}",
            "pipeline_root": str(self.folder),
        }
        words = with_paths(execution.words, given, about, f"task {execution.label}")
        variables = {**self.variables, **execution.variables}
        name = self._container_name(execution.name)
        line = self.engine.line(execution.container["image"], words, variables, folder.path, name)
        with open(folder.log, "ab") as log:
            process = await asyncio.create_subprocess_exec(
                *line,
                cwd="/",  # as little as possible is found by a relative path, as in a pod
                env=self.engine.environment(variables),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=self.held,
                preexec_fn=_end_with_parent,
            )
        self.running[execution.name] = process
        if self.stopped:  # while it started
            self.stop()
        code = await process.wait()
        del self.running[execution.name]
        return _reason(folder.log, code) if code else folder.finish(execution, given)

    def _container_name(self, execution: str) -> str:
        return f"epilstm-{self.token}-{execution}".replace("/", ".").replace(" ", "")


def _reason(log: Path, code: int) -> str:
    """Why a process ended with an exit code: the last error in its log."""
    if code < 0:
        name = signal.Signals(-code).name
        memory = ", as the system does where memory runs out" if name == "SIGKILL" else ""
        return f"its process was ended by {name}{memory}"
    with open(log, "rb") as stream:
        stream.seek(max(0, stream.seek(0, os.SEEK_END) - LOG_TAIL))
        text = stream.read().decode(errors="replace")
    line = last_error_line(text)
    if not line:
        full = shutil.disk_usage(log.parent).free < FULL
        why = f"no space is left on the disk of {log.parent}" if full else "it wrote nothing"
        return f"it ended with exit code {code}; {why}"
    cut = text.rstrip().endswith(HOPELESS) and not line.endswith(HOPELESS)
    return f"{line}{HOPELESS}" if cut else line


def _end_with_parent() -> None:
    """Have this process end when the run is killed."""
    if _LIBC is not None:
        _LIBC.prctl(_SIGNAL_OF_PARENTS_DEATH, signal.SIGTERM)
