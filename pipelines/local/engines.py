"""What runs a task: a process of this machine, or a container as strict as a pod of the compiled pipelines."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from epilstm.errors import PipelineError

#: User and group of the images, taken where this process has none of its own.
IMAGE_USER = "10001:10001"

#: Where containers see the data root, as pods do.
DATA_PATH = "/data"


class Engine(Protocol):
    """Turns a task's command line into one of this machine."""

    def data_root(self, folder: Path) -> str:
        """The data root as tasks see it."""

    def line(
        self, image: str, words: Sequence[str], variables: Mapping[str, str], folder: Path, name: str
    ) -> list[str]:
        """The command to start; `folder` is the task's own."""

    def environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        """Variables of that command."""

    def stop_line(self, name: str) -> list[str] | None:
        """A command that stops the task of a name; None where a signal to the process does."""


@dataclass(frozen=True)
class ProcessEngine:
    """The command line of each task in the environment that is installed."""

    def data_root(self, folder: Path) -> str:
        """The folder itself."""
        return str(folder)

    def line(
        self, image: str, words: Sequence[str], variables: Mapping[str, str], folder: Path, name: str
    ) -> list[str]:
        """The same line, with this Python."""
        program, *others = words
        if program == "epilstm":
            return [sys.executable, "-m", "epilstm", *others]
        return [sys.executable if program in ("python", "python3") else program, *others]

    def environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        """Those of this process, and the pipeline's."""
        return {**os.environ, **variables}

    def stop_line(self, name: str) -> list[str] | None:
        """The process handles signals."""
        return None


@dataclass(frozen=True)
class ContainerEngine:
    """Each task in a container of its image: read-only, without capabilities, and without network unless asked.

    Parameters
    ----------
    program : str
        docker or podman.
    data : Path
        The data root's folder.
    tasks : Path
        Folder of all tasks, whose artifacts they read.
    passed : tuple of str
        Variables of this process that a cluster takes from secrets; those that are set are handed on.
    """

    program: str
    data: Path
    tasks: Path
    network: bool = False
    passed: tuple[str, ...] = ()

    def data_root(self, folder: Path) -> str:
        """Where pods have it."""
        return DATA_PATH

    def line(
        self, image: str, words: Sequence[str], variables: Mapping[str, str], folder: Path, name: str
    ) -> list[str]:
        """``docker run`` of it; only the task's own folder and the data root can be written."""
        strict = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
        network = [] if self.network else ["--network", "none"]
        mounts = [f"{self.data}:{DATA_PATH}", f"{self.tasks}:{self.tasks}:ro", f"{folder}:{folder}"]
        names = [*variables, *(each for each in self.passed if each in os.environ and each not in variables)]
        return [
            *(self.program, "run", "--rm", "--pull", "never", "--name", name, *self._user(), *strict, *network),
            *(word for mount in mounts for word in ("--volume", mount)),
            *(word for each in names for word in ("--env", each)),  # by name: values stay out of the process list
            *("--entrypoint", words[0], image, *words[1:]),
        ]

    def environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        """Those of this process, which the program finds its engine by, and the pipeline's."""
        return {**os.environ, **variables}

    def stop_line(self, name: str) -> list[str] | None:
        """``docker stop``: the container's first process may ignore a signal."""
        return [self.program, "stop", "--time", "30", name]

    def check_images(self, images: Iterable[str]) -> None:
        """Make sure that images are here.

        Raises
        ------
        PipelineError
            The engine does not answer, or an image is not here.
        """
        for image in sorted(set(images)):
            found = subprocess.run(
                [self.program, "image", "inspect", image], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
            )
            if found.returncode:
                reason = (found.stderr.strip().splitlines() or ["it gives no reason"])[-1]
                raise PipelineError(
                    f"image {image}: {self.program} does not have it ({reason}); build it with make images, or "
                    "compile the pipeline with --registry and --tag for images that are here"
                )

    def _user(self) -> list[str]:
        """The user of this process, whose the files then are; a root user becomes that of the images."""
        if os.getuid() == 0:
            return ["--user", IMAGE_USER]
        own = ["--user", f"{os.getuid()}:{os.getgid()}"]
        return ["--userns", "keep-id", *own] if Path(self.program).name == "podman" else own


def container_program(named: str | None = None) -> str:
    """The program of a container engine: docker, else podman.

    Raises
    ------
    PipelineError
        There is none.
    """
    for name in [named] if named else ["docker", "podman"]:
        if shutil.which(name):
            return name
    raise PipelineError("--engine container: neither docker nor podman is installed; --engine process needs none")
