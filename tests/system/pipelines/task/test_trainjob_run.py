"""The train task of profile gpu-distributed: the wrapper, the launcher and a node, on real data."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from epilstm.files.outputs import fingerprint
from epilstm.pipelines.compile.compilation import compile_pipeline
from support.pipelines.compiled_ir import CompiledPipeline
from support.pipelines.fake_trainer import COMPLETE, FakeTrainer, active
from support.pipelines.kubeconfig import kubeconfig
from support.task.launcher import Launcher, succeed

PARAMS: dict[str, Any] = {
    "simulate": {
        "chromosomes": dict.fromkeys(("chr1", "chr3", "chr4"), 200_000),
        "cell_types": 1,
        "assays": ["DNase", "H3K4me3"],
    },
    "ingest": {"assembly": "data/simulated/chrom.sizes", "workers": 1},
    "preprocess": {"workers": 1},
    "train": {
        "embedding_size": 2,
        "context_size": 0,
        "hidden_size": 4,
        "epochs": 1,
        "streams": 4,
        "threads": 1,
        "device": "cpu",
    },
}

DATA = "data/simulated"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with a matrix and, to compare with, a model that the plain command line trained."""
    folder = tmp_path_factory.mktemp("root")
    (folder / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    for line in (
        f"simulate --simulated {DATA}",
        f"ingest --samplesheet {DATA}/samplesheet.csv --regions {DATA}/regions.bed --signal signal",
        "preprocess --signal signal --matrix datasets/matrix/0123",
        "train --matrix datasets/matrix/0123 --model expected",
    ):
        command = [sys.executable, "-m", "epilstm", *line.split(), "--params", "params.yaml", "--quiet"]
        subprocess.run(command, cwd=folder, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return folder


def as_a_node(job: dict[str, Any]) -> None:
    """Do what the job's first node does."""
    trainer = job["spec"]["trainer"]
    assert trainer["command"] == ["torchrun"]
    subprocess.run([sys.executable, *trainer["args"]], check=True, cwd="/", capture_output=True)


def test_the_compiled_task_trains_the_same_model_and_reports_kfp(root, tmp_path):
    arguments = CompiledPipeline(compile_pipeline("training", "gpu-distributed")).executors["train"]["args"]
    command = shlex.split(arguments[arguments.index("--launcher") + 1])
    # The volume is elsewhere on this machine, and time is short.
    changed = [f"--data-path={root}" if word.startswith("--data-path=") else word for word in command[1:-1]]
    launcher = shlex.join([sys.executable, *changed, "--poll-seconds=0.02", "--"])

    server = FakeTrainer([{}, active(2), COMPLETE], as_a_node)
    try:
        environment = {"KUBECONFIG": str(kubeconfig(tmp_path, server.url))}
        tasks = Launcher(str(root), tmp_path / "tasks", PARAMS, environment)
        matrix = {"matrix": str(root / "datasets" / "matrix" / "0123")}
        done = succeed(tasks.run("train", matrix, options=("--launcher", launcher)))
    finally:
        server.close()

    model = done.artifacts["model"]
    weights = "weights.safetensors"
    assert (model / weights).read_bytes() == (root / "expected" / weights).read_bytes()
    assert done.metadata("model")["fingerprint"] == fingerprint(model)
    assert done.metadata("model")["record"]["step"] == "train"
    assert done.metadata("metrics")
    assert done.artifacts["history"].read_text().startswith("epoch,")
    assert list((root / "trainjobs").iterdir()) == []
