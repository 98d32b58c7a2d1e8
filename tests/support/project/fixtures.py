"""A small epigenome that stands in for a user's data."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from epilstm.runtime.runner import run_step
from epilstm.runtime.step_table import STEPS
from support.project.own_data import QUICK, SIMULATE


@pytest.fixture(scope="session")
def epigenome(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a samplesheet of three tracks, their bigWigs, chromosome sizes, tasks and labels."""
    folder = tmp_path_factory.mktemp("epigenome")
    (folder / "params.yaml").write_text(yaml.safe_dump({"simulate": SIMULATE}))
    run_step(STEPS["simulate"], folder / "params.yaml", {"simulated": folder / "data"}, frozenset())
    (folder / "quick.yaml").write_text(yaml.safe_dump(QUICK))
    return folder
