"""The wheel holds all that the commands need: nothing is read from the clone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.paths import PROJECT


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder that the wheel is installed into, without what it depends on."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, source)
    for name in ("components", "pipelines"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(PROJECT / name, source / name, ignore=ignored)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    wheel = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", "dist", "./source"]
    made = subprocess.run(wheel, cwd=folder, capture_output=True, text=True)
    if "No module named 'setuptools'" in made.stderr or "Cannot import 'setuptools" in made.stderr:
        pytest.skip("setuptools is not installed")
    assert made.returncode == 0, made.stderr
    (file,) = (folder / "dist").glob("epilstm-*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", folder / "installed", file], check=True)
    return folder / "installed"


def run(installed: Path, folder: Path, *words: str) -> str:
    """Run the installed package in a folder outside the clone."""
    completed = subprocess.run(
        [sys.executable, "-m", "epilstm", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
    )
    assert completed.returncode == 0, completed.stderr
    return completed.stdout


def test_the_commands_work_from_a_wheel_outside_the_clone(installed, tmp_path):
    where = subprocess.run(
        [sys.executable, "-c", "import epilstm; print(epilstm.__file__)"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
    )
    assert where.stdout.startswith(str(installed))
    assert "\n  run  " in run(installed, tmp_path, "--help")
    run(installed, tmp_path, "init", "mine", "--assembly", "mm10")
    assert (tmp_path / "mine/dvc.yaml").read_bytes() == (
        PROJECT / "components/epilstm/project/template/dvc.yaml"
    ).read_bytes()
    assert (tmp_path / "mine/regions.bed").read_text().startswith("chr1\t0\t195471971\n")
    assert "usage" in run(installed, tmp_path, "run", "--help").lower()
