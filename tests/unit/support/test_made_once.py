from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from support.made_once import made_once


@pytest.fixture(params=["one process", "several"])
def base(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A run of tests, in whose folder each process has one: what gives the folder of a process by number."""
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    if request.param == "several":
        monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")

    def factory(worker: int = 0) -> Any:
        folder = tmp_path / f"popen-gw{worker}" if request.param == "several" else tmp_path
        folder.mkdir(exist_ok=True)
        return SimpleNamespace(getbasetemp=lambda: folder)

    factory.workers = 2 if request.param == "several" else 1  # type: ignore[attr-defined]
    return factory


def test_a_folder_is_made_once_for_all_processes_of_a_run(base: Any) -> None:
    made, start = [], threading.Barrier(4)

    def make(folder: Path) -> None:
        made.append(folder)
        (folder / "file").write_text("content")

    def take(number: int) -> Path:
        start.wait()
        return made_once(base(number % base.workers), "shared", make)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(take, range(4)))
    assert len(made) == 1
    assert [(folder / "file").read_text() for folder in found] == ["content"] * 4


def test_what_could_not_be_made_is_made_anew_by_the_next(base: Any) -> None:
    def broken(folder: Path) -> None:
        (folder / "half").touch()
        raise OSError("no more space")

    with pytest.raises(OSError, match="no more space"):
        made_once(base(), "shared", broken)
    folder = made_once(base(base.workers - 1), "shared", lambda folder: (folder / "whole").touch())
    assert os.listdir(folder) == ["whole"]
