"""Publishing and rolling out, in process: races, retries, what is refused, what is result."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from epilstm.errors import PipelineError, RegistryError
from epilstm.pipelines.lifecycle import clone
from epilstm.pipelines.lifecycle.provenance import code_of_steps, run_sections
from epilstm.pipelines.lifecycle.publishing import known_sha256, records_of
from epilstm.registry.repository import RefsTaken
from support.pipelines.registry_places import IDENTITY, Registry, make_registry, run


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return make_registry(tmp_path_factory.mktemp("registry"))


def task(folder: Path, *words: str, outputs: dict[str, Any] | None = None) -> tuple[int, str]:
    """Exit code and last line of error of a task."""
    result = {"outputs": {"outputFile": str(folder / "executor_output.json"), **(outputs or {})}}
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "epilstm.pipelines.lifecycle",
            words[0],
            "--executor-input",
            json.dumps(result),
            *words[1:],
        ],
        env={**os.environ, **IDENTITY},
        capture_output=True,
        text=True,
    )
    return done.returncode, (done.stderr.strip().splitlines() or [""])[-1]


def test_a_registry_without_a_champion_gives_an_empty_folder(registry, tmp_path):
    assert task(tmp_path, "champion", "--registry", registry.url, "--champion", str(tmp_path / "champion"))[0] == 0
    assert list((tmp_path / "champion").iterdir()) == []


def test_no_registry_gives_an_empty_folder_too(tmp_path):
    assert task(tmp_path, "champion", "--registry", "", "--champion", str(tmp_path / "champion"))[0] == 0
    assert list((tmp_path / "champion").iterdir()) == []


def test_a_registry_that_is_not_there_is_one_line(tmp_path):
    code, said = task(tmp_path, "rollout", "--registry", str(tmp_path / "none"), "--branch", "b", "--data-root", "/tmp")
    assert code == 1
    assert said.startswith(f"error: registry {tmp_path / 'none'}: cannot be cloned: git clone: ")


def test_a_password_in_a_url_is_refused_and_not_repeated(tmp_path):
    url = "https://me:hunter2@git.example.org/epilstm.git"
    code, said = task(tmp_path, "champion", "--registry", url, "--champion", str(tmp_path / "champion"))
    assert code == 1
    assert "leave user and password out of the URL" in said
    assert "hunter2" not in said


def test_nothing_is_rolled_out_where_there_is_no_champion(registry, tmp_path):
    before = registry.git("for-each-ref")
    options = ("--registry", registry.url, "--branch", "retraining", "--data-root", str(tmp_path))
    code, said = task(tmp_path, "rollout", *options)
    assert code == 1
    assert "no version is champion" in said
    assert registry.git("for-each-ref") == before


def test_a_clone_stands_on_the_branch_that_is_committed_to(registry):
    main = registry.git("rev-parse", "main").strip()
    with clone.fresh_clone(registry.url, "retraining") as repository:
        assert repository.head() == main
    work = registry.clone("work", "main")
    run(work, "git", "checkout", "-q", "-b", "ahead")
    run(work, "git", "commit", "-q", "--allow-empty", "-m", "More")
    run(work, "git", "push", "-q", "origin", "ahead")
    with clone.fresh_clone(registry.url, "ahead") as repository:
        assert (repository.branch(), repository.head()) == ("ahead", registry.git("rev-parse", "ahead").strip())


def test_who_was_beaten_starts_again_in_a_new_clone():
    attempts = []

    def attempt() -> str:
        attempts.append(1)
        if len(attempts) < clone.ATTEMPTS:
            raise RefsTaken("another publisher was faster")
        return "v1.0.0"

    assert clone.in_new_clones("publishing", attempt) == "v1.0.0"


def test_who_is_beaten_every_time_says_so():
    def attempt() -> None:
        raise RefsTaken("another publisher was faster")

    with pytest.raises(RegistryError, match="publishing: another publisher was faster; 3 times in a row"):
        clone.in_new_clones("publishing", attempt)


def test_the_secret_reaches_git_by_its_environment_alone(monkeypatch):
    for name in ("GIT_CONFIG_COUNT", "GIT_CONFIG_KEY_0", "GIT_CONFIG_VALUE_0"):
        monkeypatch.delenv(name, raising=False)
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("GIT_USERNAME", "bot")
    monkeypatch.setenv("GIT_PASSWORD", "hunter2")
    with monkeypatch.context() as patch:
        patch.setattr(os, "environ", dict(os.environ))
        clone.prepare_environment()
        result = subprocess.run(
            ["git", "credential", "fill"],
            input="protocol=https\nhost=git.example.org\n\n",
            env=os.environ,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert "hunter2" not in os.environ["GIT_CONFIG_VALUE_0"]
    assert {"username=bot", "password=hunter2"} <= set(result.split())


def test_the_hash_of_a_pipeline_is_one_or_is_not_known():
    assert known_sha256("ab" * 32) == "ab" * 32
    assert known_sha256("") is None
    for text in ("abc", "AB" * 32, "ab" * 32 + "\n", "<SHA-256>"):
        with pytest.raises(PipelineError, match="not a SHA-256, 64 hexadecimal digits"):
            known_sha256(text)


def test_what_the_plan_reports_of_the_code_is_a_fingerprint_by_step():
    assert code_of_steps('{"train": "ab"}') == {"train": "ab"}
    for text in ("", "[]", '{"train": 1}'):
        with pytest.raises(PipelineError, match="not what the plan reports, a JSON object of fingerprints by step"):
            code_of_steps(text)


def test_records_come_with_the_artifacts_whole_numbers_as_integers():
    carried = {name: {"record": {"step": name, "threads": 2.0}} for name in ("model", "encoder", "evaluation")}
    carried |= {f"{name}_manifest": {"record": {"threads": 1.0}} for name in ("signal", "matrix", "embeddings")}
    found = records_of(carried)
    assert list(found) == ["signal", "matrix", "model", "encoder", "embeddings", "evaluation"]
    assert found["model"] == {"step": "model", "threads": 2}
    assert isinstance(found["model"]["threads"], int)
    with pytest.raises(PipelineError, match=r"artifact encoder: its metadata hold no record"):
        records_of(carried | {"encoder": {}})


def test_paths_of_a_run_hold_outside_of_the_data_root():
    files = {"samplesheet": "tracks/sheet.csv", "regions": "", "blacklist": "/elsewhere/black.bed", "tasks": "t.yaml"}
    sections = {"ingest": '{"assembly": "tracks/chrom.sizes", "workers": 2.0}', "evaluate": "{}"}
    found = run_sections("s3://bucket/epilstm", sections, files)
    assert found["ingest"]["samplesheet"] == "s3://bucket/epilstm/tracks/sheet.csv"
    assert found["ingest"]["regions"] == "regions/whole-genome.bed"
    assert found["ingest"]["blacklist"] == "/elsewhere/black.bed"
    assert found["ingest"]["assembly"] == "s3://bucket/epilstm/tracks/chrom.sizes"
    assert found["ingest"]["workers"] == 2
    assert found["evaluate"]["tasks"] == "s3://bucket/epilstm/t.yaml"
