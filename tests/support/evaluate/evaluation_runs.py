"""Runs of the evaluate step, and inputs with one thing changed."""

import json
import shutil
from pathlib import Path

import yaml

from epilstm.runtime.runner import StepResult, run_step
from epilstm.runtime.step_table import STEPS
from support.evaluate.tiny_evaluation import TASKS, TinyEvaluation

PARAMS = {"folds": {"by": "chromosome", "count": 4}, "bootstrap": 50, "classifier": {"trees": 20}, "threads": 1}


def evaluate(tiny: TinyEvaluation, out: Path, params: dict, **inputs: Path) -> StepResult:
    out.mkdir(exist_ok=True)
    (out / "params.yaml").write_text(yaml.safe_dump({"evaluate": PARAMS | params}))
    paths = tiny.inputs | inputs | {"evaluation": out / "evaluation", "metrics": out / "metrics.json"}
    return run_step(STEPS["evaluate"], out / "params.yaml", paths, frozenset())


def changed(folder: Path, copy: Path, key: str, value: object) -> Path:
    """A copy of a dataset or model folder with another value in its manifest."""
    shutil.copytree(folder, copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    assert key in manifest
    (copy / "manifest.json").write_text(json.dumps(manifest | {key: value}))
    return copy


def chosen_tasks(folder: Path, *names: str) -> Path:
    """A tasks file with some of the tiny tasks."""
    folder.mkdir(exist_ok=True)
    tasks = [task for task in yaml.safe_load(TASKS)["tasks"] if task["name"] in names]
    (folder / "tasks.yaml").write_text(yaml.safe_dump({"tasks": tasks}))
    return folder / "tasks.yaml"
