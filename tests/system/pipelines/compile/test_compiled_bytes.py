"""Compiled pipelines have the same bytes in every process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from support.paths import PROJECT

COMPILED = PROJECT / "pipelines" / "compiled"


def compile_in_a_process(folder: Path, seed: int) -> dict[str, bytes]:
    """Every compiled pipeline as a fresh process writes it, by file name."""
    command = [sys.executable, "-m", "epilstm", "pipeline", "compile", "--output", str(folder)]
    # What a developer may have set must not show.
    changed = {"PYTHONHASHSEED": str(seed), "KFP_DISABLE_EXECUTION_CACHING_BY_DEFAULT": "true" if seed else ""}
    subprocess.run(command, cwd=PROJECT, env={**os.environ, **changed}, check=True, capture_output=True)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_two_processes_write_the_same_bytes_and_they_are_the_committed_ones(tmp_path: Path) -> None:
    first, second = (compile_in_a_process(tmp_path / str(seed), seed) for seed in (0, 12345))
    assert first == second
    assert first == {path.name: path.read_bytes() for path in sorted(COMPILED.iterdir())}, "run `make pipelines`"
