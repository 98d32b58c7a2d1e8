"""Fixtures of the registry's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from epilstm.registry.repository import Repository
from support.made_once import made_once
from support.registry import finished_project


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small project on which the pipeline has run once; to be copied."""
    return made_once(tmp_path_factory, "template", lambda folder: finished_project.make(folder / "project")) / "project"


@pytest.fixture(autouse=True)
def identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name and address for commits, and the commands of this Python."""
    for name, value in finished_project.environment().items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def place(template: Path, tmp_path: Path) -> finished_project.Place:
    """A clone with a finished run, its origin and its DVC remote."""
    return finished_project.lay_out(template, tmp_path)


@pytest.fixture
def repository(place: finished_project.Place) -> Repository:
    return Repository(place.root)
