"""Runs of the preprocess step."""

from __future__ import annotations

import json
from pathlib import Path

from epilstm.runtime.runner import StepResult, run_step
from epilstm.runtime.step_table import STEPS


def run(folder: Path, output: str = "matrix", **params: object) -> StepResult:
    content = {"split": {"validation": ["chr2"], "test": ["chr3"]}, "frame_bins": 100, "workers": 1} | params
    (folder / "params.yaml").write_text(json.dumps({"preprocess": content}))
    paths = {"signal": folder / "signal", "matrix": folder / output}
    return run_step(STEPS["preprocess"], folder / "params.yaml", paths, frozenset())


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
