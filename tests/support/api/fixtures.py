"""A small project that the pipeline was run on."""

from __future__ import annotations

from pathlib import Path

import pytest

import epilstm
from support.api.tiny_project import run_pipeline
from support.made_once import made_once


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every step's outputs, with a context level in the model."""
    return made_once(tmp_path_factory, "project", lambda folder: run_pipeline(folder, context_size=1))


@pytest.fixture(scope="session")
def model(project: Path) -> epilstm.Model:
    """The project's model."""
    return epilstm.load(project / "models/autoencoder")
