"""The compiled pipelines, task by task in real containers, against ``dvc repro`` on this machine."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from epilstm.errors import PipelineError
from epilstm.files.outputs import fingerprint
from epilstm.pipelines.graphs.defaults import default_parameters
from epilstm.pipelines.local.engines import ContainerEngine
from epilstm.pipelines.task.executor import flat_numbers
from images.build import source_revision
from support.engine import let_others_through
from support.paths import PROJECT
from support.pipelines.local_runs import Ran, run_pipeline

COMPILED = PROJECT / "pipelines" / "compiled"

pytestmark = [pytest.mark.timeout(1800)]

#: Small, and with the threads said: sums depend on how many make them.
TINY: dict[str, dict[str, Any]] = {
    "simulate": {
        "chromosomes": {"chr1": 400_000, "chr2": 200_000, "chr3": 200_000, "chr4": 200_000},
        "cell_types": 2,
        "assays": ["DNase", "H3K4me3"],
    },
    "train": {
        "embedding_size": 3,
        "context_size": 1,
        "context_epochs": 2,
        "hidden_size": 4,
        "epochs": 2,
        "streams": 4,
        "threads": 1,
    },
    "embed": {"threads": 1},
    "evaluate": {"bootstrap": 10, "folds": {"count": 2}, "classifier": {"trees": 5}, "threads": 1},
}

#: Where dvc.yaml puts what the pipeline keeps as datasets under the data root, and as artifacts of kfp.
DATASETS = {"signal": "data/signal", "matrix": "data/matrix", "embeddings": "data/embeddings"}
ARTIFACTS = {
    "train/model": "models/autoencoder",
    "train/history": "metrics/history.csv",
    "export/encoder": "models/encoder",
    "evaluate/evaluation": "evaluation",
    "report/report": "report/report.html",
}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project on which ``dvc repro`` has run."""
    folder = tmp_path_factory.mktemp("repository")
    for name in ("dvc.yaml", ".dvcignore"):
        shutil.copy(PROJECT / name, folder)
    shutil.copytree(PROJECT / "regions", folder / "regions")
    leave_out = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(PROJECT / "components", folder / "components", ignore=leave_out)
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    for section, values in TINY.items():
        params[section] |= values
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}
    for words in (("init", "--no-scm", "--quiet"), ("repro", "--quiet")):
        subprocess.run([sys.executable, "-m", "dvc", *words], cwd=folder, env=environment, check=True)
    return folder


@dataclass(frozen=True)
class Cluster:
    """What stands in for one: a folder as volume, and a place for artifacts."""

    data_root: Path
    runs: Path

    def run(self, pipeline: str, **arguments: Any) -> Ran:
        """Run a compiled pipeline to its end."""
        tasks = self.runs / "tasks"
        tasks.mkdir(parents=True, exist_ok=True)
        engine = ContainerEngine("docker", self.data_root, tasks)
        given = {**arguments, "data_root": "/data"}
        threads = {"OMP_NUM_THREADS": "1"}
        return run_pipeline(COMPILED / f"{pipeline}-cpu.yaml", self.runs, given, threads, engine=engine)


@pytest.fixture(scope="module")
def cluster(images: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """A cluster that has nothing but the images."""
    folder = tmp_path_factory.mktemp("cluster")
    let_others_through(folder)
    (folder / "data").mkdir()
    (folder / "data").chmod(0o777)
    return Cluster(folder / "data", folder / "runs")


@pytest.fixture(scope="module")
def arguments(repository: Path) -> dict[str, Any]:
    """Arguments of the pipelines that say what the repository's params say."""
    return default_parameters(repository / "params.yaml")


def compiled(pipeline: str) -> dict[str, Any]:
    """A compiled pipeline."""
    return next(yaml.safe_load_all((COMPILED / f"{pipeline}-cpu.yaml").read_text()))


def executors(pipeline: str) -> list[str]:
    """Names of the components that run in containers."""
    return [label.removeprefix("exec-") for label in compiled(pipeline)["deploymentSpec"]["executors"]]


def taken_by(pipeline: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Those of the arguments that a compiled pipeline has."""
    names = compiled(pipeline)["root"]["inputDefinitions"]["parameters"]
    return {name: value for name, value in arguments.items() if name in names}


@pytest.fixture(scope="module")
def simulated(cluster: Cluster, arguments: dict[str, Any]) -> Ran:
    """The simulation pipeline's run."""
    return cluster.run("simulation", **taken_by("simulation", arguments))


@pytest.fixture(scope="module")
def trained(simulated: Ran, cluster: Cluster, arguments: dict[str, Any]) -> Ran:
    """The training pipeline's run on what the simulation pipeline made."""
    return cluster.run("training", **taken_by("training", arguments))


def metadata(ran: Ran, task: str, artifact: str) -> Mapping[str, Any]:
    """What a task reported about an artifact."""
    [found] = ran.outputs(task).artifacts[artifact]
    return found.metadata


def dataset(cluster: Cluster, kind: str) -> Path:
    """The one dataset of its kind under the data root."""
    [folder] = (path for path in (cluster.data_root / "datasets" / kind).iterdir() if path.is_dir())
    return folder


def test_the_simulation_pipeline_makes_what_the_step_makes_on_this_machine(simulated, cluster, repository):
    assert fingerprint(cluster.data_root / "data" / "simulated") == fingerprint(repository / "data" / "simulated")


def test_the_training_pipeline_runs_every_task_and_no_parts_of_little_data(trained):
    ran = Counter(trained.tasks)
    # Without a registry nothing is published; tests/unit/pipelines/graphs/test_parts_loops.py has loops over parts.
    once = dict.fromkeys([name for name in executors("training") if name != "publish" and "-part" not in name], 1)
    assert set(once) >= {"plan", "ingest", "preprocess", "train", "export", "embed", "evaluate", "promote", "report"}
    assert ran == once


@pytest.mark.parametrize("kind", DATASETS)
def test_a_dataset_of_the_pipeline_equals_that_of_dvc_repro(trained, cluster, repository, kind):
    assert files(dataset(cluster, kind)) == files(repository / DATASETS[kind])


@pytest.mark.parametrize("artifact", ARTIFACTS)
def test_an_artifact_of_the_pipeline_equals_that_of_dvc_repro(trained, repository, artifact):
    task, name = artifact.split("/")
    [made] = trained.outputs(task).artifacts[name]
    assert files(Path(made.uri)) == files(repository / ARTIFACTS[artifact])


@pytest.mark.parametrize("step", ["ingest", "preprocess", "train", "export", "embed", "evaluate"])
def test_a_task_reports_to_kfp_the_metrics_that_dvc_has(trained, repository, step):
    expected = json.loads((repository / "metrics" / f"{step}.json").read_text())
    reported = metadata(trained, step, "metrics")
    how = re.compile(
        "second|bytes|tracks_read|tracks_reused"
    )  # the parts read the tracks, ingest finds them in the cache
    numbers = {name: value for name, value in flat_numbers(expected).items() if not how.search(name)}
    assert numbers
    assert {name: reported[name] for name in numbers} == numbers


def test_models_carry_their_fingerprint_and_record(trained, repository):
    found = metadata(trained, "train", "model")
    assert found["fingerprint"] == fingerprint(repository / "models" / "autoencoder")
    assert found["record"]["params"]["hidden_size"] == TINY["train"]["hidden_size"]
    assert found["record"]["code"]["git_revision"] == source_revision()


def test_the_evaluation_comes_with_a_curve_for_the_user_interface(trained):
    points = metadata(trained, "evaluate", "classification")["confidenceMetrics"]
    assert {"confidenceThreshold", "recall", "falsePositiveRate"} <= points[0].keys()
    assert [point["recall"] for point in points] == sorted(point["recall"] for point in points)


def test_a_second_run_takes_the_datasets_that_are_there(trained, cluster, arguments):
    before = {path: path.stat().st_mtime_ns for path in cluster.data_root.glob("datasets/*/*/manifest.json")}
    elsewhere = Cluster(cluster.data_root, cluster.runs.with_name("again"))
    again = elsewhere.run("training", **taken_by("training", arguments))
    assert {path: path.stat().st_mtime_ns for path in cluster.data_root.glob("datasets/*/*/manifest.json")} == before
    assert metadata(again, "embed", "metrics") == metadata(trained, "embed", "metrics")


def test_a_step_that_fails_names_itself_and_its_last_error(simulated, cluster, arguments):
    wrong = taken_by("training", arguments)
    wrong["preprocess"] = {**wrong["preprocess"], "split": {"validation": ["chr3"], "test": ["chr21"]}}
    failing = Cluster(cluster.data_root, cluster.runs.with_name("failing"))
    with pytest.raises(PipelineError, match=r"task Preprocess failed: step preprocess: .*chr21"):
        failing.run("training", **wrong)
    assert not (failing.runs / "tasks" / "train").exists()


def files(path: Path) -> dict[str, str]:
    """Digest of each file that an output consists of; of one file, under no name."""
    if path.is_file():
        return {"": fingerprint(path)}
    return {str(file.relative_to(path)): fingerprint(file) for file in sorted(path.rglob("*")) if file.is_file()}
