"""kfp's local DockerRunner with processes of this machine in place of containers: the compiled lines, for real."""

from __future__ import annotations

import builtins
import contextlib
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import docker
import pytest
from kfp import components, local
from kfp.local import docker_task_handler, executor_input_utils
from kfp.local.orchestrator import enhanced_dag_orchestrator as loops
from kfp.local.orchestrator import task_executor

from support.pipelines.strict_docker_runner import with_task_outputs


@dataclass
class HostRuns:
    """Processes that a pipeline started, by the name of their task.

    Parameters
    ----------
    environment : mapping of str to str
        Variables besides this process's.
    """

    environment: Mapping[str, str]
    folders: list[Path] = field(default_factory=list)
    finished: list[tuple[str, int, str]] = field(default_factory=list)

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks that ran, parts included."""
        return [name for name, _, _ in self.finished]

    def log(self, task: str) -> str:
        """What a task wrote."""
        return "".join(text for name, _, text in self.finished if name == task)

    def task_root(self, pipeline_root: str, pipeline_resource_name: str, task_resource_name: str) -> str:
        """A folder for each task; several of one component are numbered."""
        folder = Path(pipeline_root, pipeline_resource_name, task_resource_name)
        while folder in self.folders:
            folder = folder.with_name(f"{task_resource_name}-{len(self.folders)}")
        self.folders.append(folder)
        return str(folder)

    def run(self, client: Any, image: str, command: Sequence[str], volumes: Any, **arguments: Any) -> int:
        """What `kfp.local.docker_task_handler.run_docker_container` does, without a container."""
        program, *words = command
        line = [sys.executable, *(("-m", "epilstm") if program == "epilstm" else ()), *words]
        done = subprocess.run(
            line, cwd="/", env={**os.environ, **self.environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        text = done.stdout.decode(errors="replace")
        print(text)
        self.finished.append((_task(command), done.returncode, text))
        return done.returncode


def _task(command: Sequence[str]) -> str:
    words = list(command)
    if words[0] == "python":  # python -m epilstm.pipelines.lifecycle TASK
        return words[3]
    if words[2] == "plan":
        return "plan"
    line = words[words.index("--") + 1 :]
    return f"{line[1]}-part" if "--part" in line else line[1]


def run_pipeline(
    compiled: Path, pipeline_root: Path, arguments: Mapping[str, Any], environment: Mapping[str, str]
) -> HostRuns:
    """Run a compiled pipeline to its end; RuntimeError where a task fails."""
    runs = HostRuns(environment)
    with _on_this_machine(runs, pipeline_root):
        components.load_component_from_file(str(compiled))(**arguments)
    return runs


@contextlib.contextmanager
def _on_this_machine(runs: HostRuns, pipeline_root: Path) -> Iterator[None]:
    try:
        with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # kfp indents what tasks print, and leaves print so where tasks that run at once end in another order.
            patch.setattr(builtins, "print", builtins.print)
            engine = SimpleNamespace(info=lambda: {}, close=lambda: None)
            patch.setattr(docker, "from_env", lambda: engine)
            patch.setattr(docker_task_handler, "run_docker_container", runs.run)
            patch.setattr(loops, "_run_parallel_for_task", with_task_outputs(loops._run_parallel_for_task))
            patch.setattr(task_executor, "time", SimpleNamespace(sleep=lambda seconds: None))
            patch.setattr(executor_input_utils, "construct_local_task_root", runs.task_root)
            local.init(local.DockerRunner(), pipeline_root=str(pipeline_root))
            yield
    finally:
        local.config.LocalExecutionConfig.instance = None
