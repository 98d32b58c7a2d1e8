"""Imported tracks under DVC."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from epilstm.store.track_import import put_under_dvc
from support.store.fixtures import Files


@pytest.fixture
def sheet(files: Files, tmp_path: Path) -> Path:
    files.content = {"/a.bigwig": b"signal of a", "/b.bigwig": b"signal of b"}
    path = tmp_path / "remote.csv"
    path.write_text(f"cell_type,assay,uri\nE1,DNase,{files.url}/a.bigwig\nE1,H3K4me3,{files.url}/b.bigwig\n")
    return path


def test_imported_tracks_are_put_under_dvc(sheet: Path, tmp_path: Path):
    assert not put_under_dvc(tmp_path / "tracks")
    project = tmp_path / "project"
    project.mkdir()
    for command in (["git", "init", "-q"], [sys.executable, "-m", "dvc", "init", "-q"]):
        subprocess.run(command, cwd=project, check=True)
    output = subprocess.run(
        [sys.executable, "-m", "epilstm", "data", "import", str(sheet)],
        cwd=project,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert output == "tracks: 2 tracks new or changed, 0 unchanged; tracked by tracks.dvc\n"
    assert "tracks" in (project / ".gitignore").read_text()
    assert json.loads((project / "tracks" / "sources.json").read_text())["order"] == ["E1-DNase", "E1-H3K4me3"]
