"""Folders that the processes of one run of the tests share."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file; whoever comes meanwhile waits, also in another process."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def one_at_a_time(what: str) -> Iterator[None]:
    """Hold a lock of this user's for something that all processes of tests on this machine use."""
    with locked(Path(tempfile.gettempdir()) / f"epilstm-{what}-{os.getuid()}.lock"):
        yield


def made_once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that the first process that needs it makes; those that pytest-xdist runs beside it wait and take it.

    The folder is not to be changed: tests of several processes read it. `make` is given the empty folder.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, complete = shared / f"shared-{name}", shared / f"shared-{name}.complete"
    with locked(shared / f"shared-{name}.lock"):
        if not complete.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            complete.touch()
    return folder
