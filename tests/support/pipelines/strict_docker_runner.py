"""kfp's local DockerRunner, as strict as a cluster.

kfp's own pulls what it does not find, takes a container that is gone too early for one that succeeded, and appends a
component's command to the image's ENTRYPOINT, which Kubernetes replaces. It gives all tasks of one component the same
folder, also those that run at the same time, and mistakes the outputs of tasks that a loop reads for the loop's items.
Secrets and volume claims it ignores: the data root is mounted here.
"""

from __future__ import annotations

import builtins
import contextlib
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import docker
import pytest
from docker.types import Mount
from kfp import local
from kfp.local import docker_task_handler, executor_input_utils
from kfp.local.orchestrator import enhanced_dag_orchestrator as loops
from kfp.local.orchestrator import task_executor

from support.engine import Engine

#: `engine.STRICT`, in the words of docker's Python client.
STRICT = {
    "network_mode": "none",
    "read_only": True,
    "tmpfs": {"/tmp": ""},
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
    "user": "12345:12345",
}


@dataclass(frozen=True)
class Container:
    """A container that has run."""

    image: str
    command: Sequence[str]
    exit_code: int
    log: str


@dataclass
class StrictRuns:
    """The containers that a pipeline ran, in the order they ended."""

    containers: list[Container] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)

    def task_root(self, pipeline_root: str, pipeline_resource_name: str, task_resource_name: str) -> str:
        """A folder for each task; several of one component are numbered."""
        folder = Path(pipeline_root, pipeline_resource_name, task_resource_name)
        while folder in self.folders:
            folder = folder.with_name(f"{task_resource_name}-{len(self.folders)}")
        self.folders.append(folder)
        return str(folder)

    def run(
        self, client: docker.DockerClient, image: str, command: Sequence[str], volumes: Any, **arguments: Any
    ) -> int:
        """What `kfp.local.docker_task_handler.run_docker_container` does, strictly; returns the exit code."""
        client.images.get(image)  # raises where kfp would pull
        container = client.containers.create(
            image=image, entrypoint=command[:1], command=command[1:], volumes=volumes, **arguments
        )
        try:
            container.start()
            code = container.wait()["StatusCode"]
            log = container.logs().decode(errors="replace")
        finally:
            container.remove(force=True)
        print(log)
        self.containers.append(Container(image, command, code, log))
        return code


def with_task_outputs(run_loop: Callable[..., bool]) -> Callable[..., bool]:
    """kfp's `_run_parallel_for_task`, fixed: it takes every task's output that a loop reads for the loop's items."""

    def run(*, task_spec: Any, io_store: Any, **arguments: Any) -> bool:
        resolved = type(task_spec)()
        resolved.CopyFrom(task_spec)
        for name, source in resolved.inputs.parameters.items():
            if source.HasField("task_output_parameter"):
                output = source.task_output_parameter
                value = io_store.get_task_output(output.producer_task, output.output_parameter_key)
                io_store.put_parent_input(name, value)
                source.component_input_parameter = name
        return run_loop(task_spec=resolved, io_store=io_store, **arguments)

    return run


@contextlib.contextmanager
def strict_runner(engine: Engine, pipeline_root: Path, mounts: dict[str, Path]) -> Iterator[StrictRuns]:
    """Within it, calling a pipeline runs it in containers under `STRICT`.

    Parameters
    ----------
    engine : Engine
        Where they run.
    pipeline_root : Path
        Where kfp puts artifacts.
    mounts : dict of str to Path
        Folders by where containers see them.
    """
    runs = StrictRuns()
    binds = [Mount(target, str(source), type="bind") for target, source in mounts.items()]
    umask = os.umask(0)  # the containers' user is another one, and writes where kfp has made folders
    try:
        with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            patch.setenv("DOCKER_HOST", engine.host)
            # kfp indents what tasks print, and leaves print so where tasks that run at once end in another order.
            patch.setattr(builtins, "print", builtins.print)
            patch.setattr(docker_task_handler, "run_docker_container", runs.run)
            patch.setattr(loops, "_run_parallel_for_task", with_task_outputs(loops._run_parallel_for_task))
            patch.setattr(task_executor, "time", SimpleNamespace(sleep=lambda seconds: None))  # before another attempt
            patch.setattr(executor_input_utils, "construct_local_task_root", runs.task_root)
            runner = local.DockerRunner(**STRICT, mounts=binds, environment={"OMP_NUM_THREADS": "1"})
            pipeline_root.mkdir(parents=True, exist_ok=True)
            for folder in (pipeline_root, *mounts.values()):
                folder.chmod(0o777)
            local.init(runner, pipeline_root=str(pipeline_root))
            yield runs
    finally:
        os.umask(umask)
        local.config.LocalExecutionConfig.instance = None
