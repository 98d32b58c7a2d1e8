"""A project whose pipeline takes no time: a stage that makes up scores from the params."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

PARAMS = {"train": {"layers": 1, "seed": 1, "dropout": 0.0}}

STUDIES = {
    "bases": {
        "real": {"about": "Real data", "data": "real", "set": ["ingest.samplesheet={data}/sheet.csv"]},
    },
    "studies": {
        "layers": {
            "about": "Stacked layers",
            "seeds": [1, 2],
            "set": ["train.dropout=0.1"],
            "variants": {"one": {"set": ["train.layers=1"]}, "two": {"set": ["train.layers=2"]}},
        },
        "cells": {
            "about": "A cell type less",
            "variants": {"all": {}, "without-b": {"leave_out": ["B"]}},
        },
    },
}

#: Scores follow from the params; a seed of 13 fails, and every run leaves a line in the file that RUNS names.
STAGE = """
import json, os, pathlib, sys, yaml
params = yaml.safe_load(open("params.yaml"))["train"]
with open(os.environ["RUNS"], "a") as runs:
    print(params["layers"], params["seed"], file=runs)
if params["seed"] == 13:
    sys.exit("unlucky")
scores = json.load(open("scores.json"))
precision = 0.5 + 0.1 * params["layers"] + 0.01 * params["seed"]
scores["tasks"]["t"]["summary"]["embedding"] = {
    "average_precision": precision, "average_precision_ci": {"low": precision - 0.2, "high": precision + 0.1}
}
scores["tasks"]["t"]["differences"] = [
    {"baseline": "raw", "delta": precision - 0.5, "ci": {"low": 0.01, "high": 0.4}, "verdict": "beats"}
]
scores["reconstruction"]["models"]["model"]["r2"] = 0.3 * params["layers"] + 0.001 * params["seed"]
pathlib.Path("evaluation").mkdir()
json.dump(scores, open("evaluation/scores.json", "w"))
"""


def scores() -> dict[str, Any]:
    """An evaluation of one task without cell types."""
    fit = {"r2": 0.0, "mse": 0.0, "track_r2": {}}
    task = {"name": "t", "kind": "region", "windows": [], "label_format": "bed", "cell_types": {}}
    return {
        "embedding_size": 2,
        "representation_sizes": {},
        "pooling": ["mean"],
        "folds": {"by": "chromosome", "count": 2, "leaky": False},
        "confidence": 0.95,
        "bootstrap": 10,
        "task_order": ["t"],
        "tasks": {"t": {**task, "summary": {}, "differences": [], "sentence": ""}},
        "reconstruction": {"chromosomes": [], "bins": 1, "size": 2, "models": {"model": fit}, "pca_curve": []},
    }


def make_project(folder: Path) -> Path:
    """The project, in git and DVC."""
    stage = {"cmd": "python stage.py", "params": ["train"], "deps": ["stage.py"], "outs": ["evaluation"]}
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"evaluate": stage}}))
    (folder / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    (folder / "studies.yaml").write_text(yaml.safe_dump(STUDIES, sort_keys=False))
    (folder / "stage.py").write_text(STAGE)
    (folder / "scores.json").write_text(json.dumps(scores()))
    for command in (
        "git init -q -b main",
        f"{sys.executable} -m dvc init -q",
        f"{sys.executable} -m dvc config core.analytics false",
        "git add -A",
        "git -c user.name=Ada -c user.email=ada@example.org commit -qm Start",
    ):
        subprocess.run(command.split(), cwd=folder, check=True)
    return folder


def environment(folder: Path) -> dict[str, str]:
    """One in which git knows nobody's name, and the project's code is the one that is installed."""
    paths = filter(None, [str(folder / "components"), os.environ.get("PYTHONPATH")])
    found = {
        **os.environ,
        "RUNS": str(folder.parent / "runs.txt"),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "PYTHONPATH": os.pathsep.join(paths),
    }
    for role in ("AUTHOR", "COMMITTER"):
        found.pop(f"GIT_{role}_NAME", None)
        found.pop(f"GIT_{role}_EMAIL", None)
    return found


def study(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """What ``epilstm study`` says."""
    line = [sys.executable, "-m", "epilstm", "study", *words]
    return subprocess.run(line, cwd=folder, env=environment(folder), capture_output=True, text=True)


def runs(folder: Path) -> list[str]:
    """Layers and seed of each run of the stage, in order."""
    path = folder.parent / "runs.txt"
    return path.read_text().splitlines() if path.exists() else []
