"""What a record says of the code and of where it ran."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from epilstm.errors import DataError
from epilstm.runtime import records
from epilstm.runtime.records import code_tree, package_versions, parse_record, project_tree, work_tree

RECORD: dict[str, Any] = {
    "step": "train",
    "params": {"epochs": 1},
    "inputs": {"matrix": {"path": "data/matrix", "fingerprint": "ab"}},
    "outputs": {"model": {"path": "model", "fingerprint": "cd"}},
    "version": "0.1.0",
    "python": "3.11.7",
    "code": {"fingerprint": "ef"},
    "packages": {"numpy": "2.0.0"},
    "device": "cpu",
    "threads": 2,
    "started": "2026-01-01T00:00:00+00:00",
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository in which DVC has run a stage, and what that wrote is committed."""
    (tmp_path / "metrics").mkdir()
    lock = {"stages": {"train": {"cmd": "epilstm train", "outs": [{"path": "metrics/train.json"}]}}}
    files = {"params.yaml": "{}", "metrics/train.json": "{}", "code.py": "", "dvc.lock": yaml.safe_dump(lock)}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    for words in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "One"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_the_pipeline_writes_and_what_the_record_holds_are_no_changes(project: Path):
    for name in ("params.yaml", "metrics/train.json"):
        (project / name).write_text('{"changed": 1}')
    with open(project / "dvc.lock", "a") as lock:
        lock.write("# changed\n")
    (project / "untracked").write_text("")
    tree = project_tree([Path("params.yaml")])
    assert tree.changed == ()
    assert tree.described == tree.revision
    assert project_tree().changed == ("params.yaml",)


def test_changed_files_are_named(project: Path):
    (project / "code.py").write_text("x = 1")
    tree = project_tree()
    assert tree.changed == ("code.py",)
    assert tree.described == f"{tree.revision}-dirty"


def test_outside_a_repository_there_is_no_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert (project_tree().revision, project_tree().described) == (None, None)


def test_of_an_installed_package_the_image_says_the_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(records, "__file__", str(tmp_path / "records.py"))
    monkeypatch.delenv("EPILSTM_GIT_REVISION", raising=False)
    assert code_tree().revision is None
    monkeypatch.setenv("EPILSTM_GIT_REVISION", "abc")
    assert code_tree().revision == "abc"
    monkeypatch.setenv("EPILSTM_GIT_REVISION", "unknown")
    assert code_tree().revision is None


def test_a_record_made_where_no_repository_is_names_the_revision_of_the_image(tmp_path: Path):
    packages = tmp_path / "packages"
    shutil.copytree(
        Path(records.__file__).parents[1], packages / "epilstm", ignore=shutil.ignore_patterns("__pycache__")
    )
    (tmp_path / "params.yaml").write_text("simulate: {chromosomes: {chr1: 100000}, cell_types: 1, assays: [DNase]}\n")
    environment = {**os.environ, "PYTHONPATH": str(packages), "EPILSTM_GIT_REVISION": "0123abc"}
    line = [sys.executable, "-P", "-m", "epilstm", "simulate", "--params", "params.yaml", "--simulated", "simulated"]
    completed = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert completed.returncode == 0, completed.stderr
    record = json.loads((tmp_path / "simulated.record.json").read_text())
    assert (record["git_revision"], record["code"]["git_revision"]) == (None, "0123abc")


def test_files_that_git_does_not_know_yet_make_sources_dirty_where_they_count(project: Path):
    (project / "metrics" / "new.py").write_text("")
    assert work_tree(project, ["code.py"]).changed == ()
    assert work_tree(project, ["code.py", "metrics"]).changed == ("metrics/new.py",)
    assert str(work_tree(project, ["metrics"]).described).endswith("-dirty")


def test_versions_are_read_without_importing():
    found = package_versions()
    assert found["numpy"] == version("numpy")
    assert set(found) <= set(records.PACKAGES)
    assert not set(found) & {"pytest", "dvc"}
    code = "import sys, epilstm.runtime.records as r; r.package_versions(); print('torch' in sys.modules)"
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert completed.stdout == "False\n"


def test_a_record_is_read_as_it_lies_on_disk_and_as_a_cluster_carries_it():
    record = parse_record(RECORD, "here")
    assert (record.inputs, record.outputs) == ({"matrix": "ab"}, {"model": "cd"})
    assert parse_record({**RECORD, "inputs": {"matrix": "ab"}, "outputs": {"model": "cd"}}, "here") == record


def test_a_record_that_says_less_is_refused_with_what_it_lacks():
    with pytest.raises(DataError, match=r"here: device: field required; an earlier version of epilstm wrote it"):
        parse_record({key: value for key, value in RECORD.items() if key != "device"}, "here")


def test_the_package_s_own_repository_is_distinguished_from_the_project_s(project: Path):
    tree = code_tree()
    assert tree.revision != project_tree().revision
    assert all("code.py" not in name for name in tree.changed)
