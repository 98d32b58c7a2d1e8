"""The DVC pipeline, run in a small project."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from epilstm.files.outputs import fingerprint
from epilstm.runtime.code_fingerprint import step_fingerprint
from epilstm.runtime.step_table import STEPS
from support.dvc_command import dvc
from support.nonempty import nonempty
from support.paths import PROJECT

#: The gate compares with the champion of the registry, and the monitor compares new data: neither is a file of the
#: repository that a stage could depend on.
STAGED = [name for name in STEPS if name not in ("promote", "monitor")]


#: It writes what the others depend on, and runs every time.
FINGERPRINT = "fingerprint"


Stages = dict[str, Any]


TINY = {
    "simulate": {
        "chromosomes": {"chr1": 400_000, "chr2": 200_000, "chr3": 200_000, "chr4": 200_000},
        "cell_types": 2,
        "assays": ["DNase", "H3K4me3"],
    },
    "train": {"embedding_size": 3, "context_size": 1, "context_epochs": 2, "hidden_size": 4, "epochs": 1, "streams": 4},
    "evaluate": {"bootstrap": 10, "folds": {"count": 2}, "classifier": {"trees": 5}},
}


def repro(folder: Path) -> list[str]:
    """Run ``dvc repro``; names of the stages that ran."""
    return re.findall(r"Running stage '(\w+)'", dvc(folder, "repro"))


def stages_to_run(folder: Path) -> set[str]:
    """Stages that ``dvc repro`` would run because their own dependencies changed."""
    dvc(folder, "repro", FINGERPRINT)
    found: dict[str, Any] = json.loads(dvc(folder, "status", "--json"))
    return {stage for stage, changes in found.items() if any("changed deps" in change for change in changes)}


@pytest.fixture(scope="module")
def tiny_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with a tiny simulation, on which the pipeline has run once."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("dvc.yaml", ".dvcignore"):
        shutil.copy(PROJECT / name, folder)
    shutil.copytree(PROJECT / "regions", folder / "regions")
    shutil.copytree(
        PROJECT / "components", folder / "components", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
    )
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    for section, values in TINY.items():
        params[section] |= values
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "--quiet"], cwd=folder, check=True)
    assert repro(folder) == [FINGERPRINT, *STAGED]
    return folder


def test_the_pipeline_ends_with_a_report_and_a_metrics_file_per_step(tiny_project):
    assert "<html" in (tiny_project / "report" / "report.html").read_text()
    for name in ("ingest", "preprocess", "train", "export", "embed", "evaluate"):
        assert json.loads((tiny_project / "metrics" / f"{name}.json").read_text()), name


def test_the_training_curve_has_the_columns_that_the_plot_names(tiny_project):
    [plot] = yaml.safe_load((tiny_project / "dvc.yaml").read_text())["plots"]
    with open(tiny_project / "metrics" / "history.csv", newline="") as stream:
        columns = csv.DictReader(stream).fieldnames or []
    assert {plot["Training curve"]["x"], *plot["Training curve"]["y"]["metrics/history.csv"]} <= set(columns)


def test_each_output_is_what_its_record_says(tiny_project):
    for record in nonempty(tiny_project.rglob("*.record.json")):
        for output in nonempty(json.loads(record.read_text())["outputs"].values()):
            assert fingerprint(tiny_project / output["path"]) == output["fingerprint"], record


def test_a_second_run_does_nothing(tiny_project):
    assert repro(tiny_project) == [FINGERPRINT]


@pytest.fixture
def code(tiny_project: Path) -> Iterator[Path]:
    """The project's copy of the package, to be changed; put back afterwards."""
    package = tiny_project / "components" / "epilstm"
    kept = tiny_project.parent / "kept"
    shutil.copytree(package, kept)
    yield package
    shutil.rmtree(package)
    kept.rename(package)


def test_comments_and_the_default_of_no_stage_s_step_rerun_nothing(tiny_project, code):
    for path in code.rglob("*.py"):
        path.write_text(f"# A comment.\n{path.read_text()}")
    config = code / "params.py"
    text = config.read_text()
    of_monitor = '0.05, description="share of untouched tracks'
    assert of_monitor in text
    config.write_text(text.replace(of_monitor, of_monitor.replace("0.05", "0.06")))
    assert stages_to_run(tiny_project) == set()


def test_a_default_reruns_the_stage_of_its_step_alone(tiny_project, code):
    config = code / "params.py"
    text = config.read_text()
    assert '1.0, description="largest gradient norm"' in text
    config.write_text(
        text.replace('1.0, description="largest gradient norm"', '2.0, description="largest gradient norm"')
    )
    assert stages_to_run(tiny_project) == {"train"}


def test_code_of_a_shared_module_reruns_the_stages_that_run_through_it(tiny_project, code):
    with open(code / "tracks/transforms.py", "a") as stream:
        stream.write("\nCHANGED = True\n")
    through = {step for step in STAGED if "epilstm.tracks.transforms" in step_fingerprint(step).modules}
    assert "preprocess" in through
    assert stages_to_run(tiny_project) == through != set(STAGED)


def test_a_changed_hidden_size_reruns_train_and_what_follows(tiny_project):
    path = tiny_project / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params["train"]["hidden_size"] += 1
    path.write_text(yaml.safe_dump(params))
    assert repro(tiny_project) == [FINGERPRINT, "train", "export", "embed", "evaluate", "report"]
