"""Params and runs of the train step."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import torch

from epilstm.cli import main
from epilstm.model.folder import load_model
from epilstm.runtime.step_table import STEPS
from epilstm.steps.train import checkpoint

CONTEXT = {
    "embedding_size": 5, "context_size": 2, "context_hidden": 6, "context_epochs": 60,
    "context_surroundings_bp": [5_000], "epochs": 2,
}  # fmt: skip


PARAMS = {
    "embedding_size": 3, "hidden_size": 12, "streams": 4, "epochs": 4, "threads": 2, "warmup_steps": 3,
    "checkpoint_steps": 2, "learning_rate": 0.01, "context_size": 0, "frames_per_step": 2, "track_dropout": 0.0,
    "schedule": "cosine",
}  # fmt: skip


def write_params(folder, **changes):
    path = folder / f"params-{abs(hash(str(changes)))}.yaml"
    path.write_text(json.dumps({"train": PARAMS | changes}))
    return path


def command(matrix, folder, params, *flags):
    paths = {"matrix": matrix, "model": folder / "model", "history": folder / "history.csv",
             "metrics": folder / "metrics.json", "checkpoint": folder / "work"}  # fmt: skip
    return STEPS["train"].argv(str(params), {name: str(path) for name, path in paths.items()}, flags)[1:]


def train(matrix, folder, *flags, **changes):
    folder.mkdir(exist_ok=True)
    main([*command(matrix, folder, write_params(folder, **changes), *flags), "-q"])
    return load_model(folder / "model")


def weights(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def interrupt(matrix: Path, folder: Path, number: int, **changes: object) -> int | None:
    """Start a run, send it a signal once it has a checkpoint, and return its exit code."""
    folder.mkdir()
    params = write_params(folder, **changes)
    process = subprocess.Popen([sys.executable, "-m", "epilstm", *command(matrix, folder, params, "resume")])
    deadline = time.monotonic() + 600
    while not (folder / "work" / checkpoint.CHECKPOINT).is_file():
        assert process.poll() is None, "ended before its first checkpoint"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, number)
    code = process.wait(300)
    assert code in (130, -number), "was interrupted, did not end by itself"
    return code
