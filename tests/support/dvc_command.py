"""The ``dvc`` command in a copy of the project."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def dvc(folder: Path, *words: str) -> str:
    """What ``dvc`` prints; its stages run the project's own copy of the package."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    completed = subprocess.run(
        [sys.executable, "-m", "dvc", *words],
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(folder / "components")},
        capture_output=True,
        text=True,
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr
    return completed.stdout
