"""``epilstm study`` with real git and DVC, on a pipeline that takes no time."""

from __future__ import annotations

import csv
import subprocess
from pathlib import Path

import pytest
import yaml

from support.study.tiny_study import PARAMS, make_project, runs, study


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which one seed of a study has run."""
    folder = tmp_path_factory.mktemp("study") / "project"
    folder.mkdir()
    make_project(folder)
    done = study(folder, "run", "layers", "--seeds", "1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["layers-one-1: done", "layers-two-1: done"]
    return folder


def test_each_variant_ran_once_with_its_own_params_and_the_work_tree_is_as_it_was(project: Path) -> None:
    assert runs(project)[:2] == ["1 1", "2 1"]
    assert yaml.safe_load((project / "params.yaml").read_text()) == PARAMS
    completed = subprocess.run(["git", "status", "--short"], cwd=project, capture_output=True, text=True, check=True)
    assert completed.stdout == ""


def test_what_is_there_does_not_run_again(project: Path) -> None:
    before = runs(project)
    done = study(project, "run", "layers", "--seeds", "1")
    assert done.stdout.splitlines() == ["layers-one-1: there", "layers-two-1: there"]
    assert runs(project) == before


def test_results_are_shown_and_written_and_what_is_missing_is_reported(project: Path) -> None:
    done = study(project, "show", "layers", "--seeds", "1,5", "--csv", "study.csv")
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["variant", "test", "R2", "t", "(AP)"],
        ["one", "0.301", "0.610", "[0.410,", "0.710]"],
        ["two", "0.601", "+0.300", "0.710", "[0.510,", "0.810]", "+0.100"],
    ]
    assert "2 of 4 not run yet: layers-one-5, layers-two-5" in done.stderr
    with open(project / "study.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    (project / "study.csv").unlink()
    assert [(row["variant"], row["seed"], round(float(row["ap"]), 6)) for row in rows] == [
        ("one", "1", 0.61),
        ("two", "1", 0.71),
    ]


def test_differences_to_a_representation_are_shown_below(project: Path) -> None:
    plain = study(project, "show", "layers", "--seeds", "1")
    done = study(project, "show", "layers", "--seeds", "1", "--against", "raw")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(plain.stdout)
    assert [line.split() for line in done.stdout.removeprefix(plain.stdout).splitlines()] == [
        [],
        ["embedding", "-", "raw", "t", "(AP)"],
        ["one", "+0.110", "[+0.010,", "+0.400]", "*"],
        ["two", "+0.210", "[+0.010,", "+0.400]", "*"],
    ]
    refused = study(project, "show", "layers", "--seeds", "1", "--against", "pca")
    assert refused.returncode != 0
    assert refused.stderr.splitlines()[-1] == (
        "error: --against pca: no experiment shown has compared the embedding with it; there are raw "
        "(evaluate.representations)"
    )


def test_what_ran_with_other_params_is_neither_taken_nor_replaced_unasked(project: Path) -> None:
    changed = (project / "studies.yaml").read_text().replace("train.dropout=0.1", "train.dropout=0.2")
    (project / "other.yaml").write_text(changed)
    before = runs(project)
    shown = study(project, "show", "layers", "--file", "other.yaml", "--seeds", "1")
    assert "2 of 2 left out, run with other params: layers-one-1, layers-two-1" in shown.stderr
    refused = study(project, "run", "layers", "--file", "other.yaml", "--seeds", "1")
    assert refused.returncode == 1
    said = "experiment layers-one-1 (and 1 more): is there with other params; --replace runs it again"
    assert said in refused.stderr
    assert runs(project) == before
    (project / "other.yaml").unlink()


def test_an_experiment_that_fails_is_reported_and_the_others_run(project: Path) -> None:
    done = study(project, "run", "layers", "--only", "one", "--seeds", "13,2")
    assert done.stdout.splitlines() == ["layers-one-13: failed", "layers-one-2: done"]
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: failed, as dvc says above: layers-one-13; fix that")


def test_what_ran_with_other_params_is_replaced_if_asked(project: Path) -> None:
    (project / "other.yaml").write_text((project / "studies.yaml").read_text().replace("layers=1", "layers=4"))
    words = ("run", "layers", "--only", "one", "--seeds", "3")
    study(project, *words)
    replaced = study(project, *words, "--file", "other.yaml", "--replace")
    (project / "other.yaml").unlink()
    assert replaced.stdout == "layers-one-3: done\n"
    assert runs(project)[-2:] == ["1 3", "4 3"]


def test_outside_of_a_project_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "studies.yaml").write_text("studies: {s: {about: x, variants: {v: {}}}}")
    (tmp_path / "params.yaml").write_text("")
    done = study(tmp_path, "run", "s")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("no DVC project, dvc.yaml is missing; run it in the project's folder")
