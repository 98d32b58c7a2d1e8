"""Nothing that other code made is served: each work folder, with a copy of the package that is changed between runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import epilstm

CHROMOSOMES = dict.fromkeys(("chr1", "chr2", "chr3", "chr4"), 200_000)
PARAMS = {
    "simulate": {"chromosomes": CHROMOSOMES, "cell_types": 1, "assays": ["DNase", "H3K27ac"]},
    "ingest": {"assembly": "chrom.sizes", "workers": 1},
    "preprocess": {"workers": 1},
    "train": {"embedding_size": 1, "context_size": 0, "hidden_size": 4, "epochs": 1, "streams": 4, "threads": 1},
    "embed": {"threads": 1},
}  # fmt: skip

INGEST = "ingest --samplesheet {data}/samplesheet.csv --signal signal --cache cache/ingest"
PREPROCESS = "preprocess --signal signal --matrix matrix --parts cache/preprocess"
PREPROCESS_PART = "preprocess --signal signal --parts cache/preprocess --part chr1"
TRAIN = "train --matrix matrix --model model --checkpoint cache/train --resume"
EXPORT = "export --model model --encoder encoder"
EMBED_PART = "embed --matrix matrix --encoder encoder --parts cache/embed --part chr1"


class Project:
    """A folder with a copy of the package in it, which is the one that runs."""

    def __init__(self, folder: Path, data: Path) -> None:
        self.folder, self.data = folder, data
        self.package = folder / "components" / "epilstm"

    def run(self, line: str) -> str:
        """What a step logs."""
        environment = {**os.environ, "PYTHONPATH": str(self.package.parent), "OMP_NUM_THREADS": "1"}
        step, *words = line.format(data=self.data).split()
        done = subprocess.run(
            [sys.executable, "-m", "epilstm", step, "--params", "params.yaml", *words],
            cwd=self.folder, env=environment, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stderr

    def change(self, module: str) -> None:
        """Change what Python compiles, and nothing that is computed."""
        with open(self.package / module, "a", encoding="utf-8") as stream:
            stream.write("\n\nCHANGED = True\n")

    def comment(self, module: str) -> None:
        """Change nothing that Python compiles."""
        path = self.package / module
        path.write_text(f"# A comment.\n{path.read_text()}")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The steps up to the encoder, run once; their work folders are kept."""
    folder = tmp_path_factory.mktemp("made")
    project = Project(folder, folder / "data")
    shutil.copytree(Path(epilstm.__file__).parent, project.package, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    project.run("simulate --simulated {data}")
    shutil.copy(project.data / "chrom.sizes", folder)
    for line in (INGEST, PREPROCESS, TRAIN, EXPORT, PREPROCESS_PART, EMBED_PART):
        project.run(line)
    return project


@pytest.fixture
def project(made: Project, tmp_path: Path) -> Project:
    shutil.copytree(made.folder, tmp_path / "project")
    return Project(tmp_path / "project", made.data)  # a track is known by where it lies


def test_binned_tracks(project: Project):
    project.comment("tracks/binning.py")
    assert "2 tracks (0 read, 2 reused)" in project.run(INGEST)
    project.change("tracks/transforms.py")
    assert "2 tracks (2 read, 0 reused)" in project.run(INGEST)


def test_parts_of_the_matrix(project: Project):
    project.comment("tracks/transforms.py")
    assert "done before" in project.run(PREPROCESS_PART)
    project.change("tracks/transforms.py")
    assert "done before" not in project.run(PREPROCESS_PART)


def test_parts_of_the_embeddings(project: Project):
    project.comment("store/shards.py")
    assert "done before" in project.run(EMBED_PART)
    project.change("store/arrays.py")
    assert "done before" not in project.run(EMBED_PART)


def test_checkpoints(project: Project):
    project.comment("model/recurrence.py")
    assert "other params, data or code" not in project.run(TRAIN)
    project.change("store/manifests.py")
    assert "of a run with other params, data or code, training starts from the beginning" in project.run(TRAIN)


def test_a_default_of_another_step_s_params_keeps_everything(project: Project):
    config = project.package / "params.py"
    config.write_text(config.read_text().replace('"Epi-LSTM report"', '"Another title"'))
    assert "2 tracks (0 read, 2 reused)" in project.run(INGEST)
    assert "done before" in project.run(PREPROCESS_PART)
    assert "other params, data or code" not in project.run(TRAIN)


def test_the_record_says_what_made_it(project: Project):
    record = json.loads((project.folder / "model.record.json").read_text())
    assert record["params"]["clip_norm"] == 1.0  # a default, resolved
    assert record["inputs"]["matrix"]["fingerprint"]
    before = record["code"]["fingerprint"]
    assert {"numpy", "torch", "onnxruntime", "xgboost", "zarr"} <= set(record["packages"])
    assert (record["device"], record["threads"]) == ("cpu", 1)
    project.comment("steps/train/loop.py")
    project.run(TRAIN)
    assert json.loads((project.folder / "model.record.json").read_text())["code"]["fingerprint"] == before
    project.change("steps/train/loop.py")
    project.run(TRAIN)
    assert json.loads((project.folder / "model.record.json").read_text())["code"]["fingerprint"] != before
