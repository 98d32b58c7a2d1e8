"""`epilstm run` from a samplesheet to the report."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from epilstm.project.freshness import Done
from epilstm.project.plan import ORDER, Plan, Request, make_plan
from epilstm.project.running import what_is_kept
from support.project.own_data import QUICK, epilstm
from support.project.requests import line, request
from support.watching import wait_until


@pytest.fixture(scope="module")
def finished(epigenome: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, list[dict[str, Any]]]:
    """Folder of a run, what it printed, and the lines that it logged."""
    folder = tmp_path_factory.mktemp("run") / "results"
    completed = epilstm(folder.parent, *line(request(epigenome, folder)))
    assert completed.returncode == 0, completed.stderr
    return folder, completed.stdout, [json.loads(text) for text in completed.stderr.splitlines()]


@pytest.fixture
def copied(epigenome: Path, finished: Any, tmp_path: Path) -> Plan:
    """The plan of the same run in a copy of its folder."""
    shutil.copytree(finished[0], tmp_path / "results")
    plan = make_plan(request(epigenome, tmp_path / "results"))
    plan.write()
    return plan


def kept(plan: Plan) -> list[str]:
    return what_is_kept(Done(plan))


@contextmanager
def changed_params(plan: Plan, **sections: Any) -> Iterator[Plan]:
    path = plan.folder.parent / "changed.yaml"
    path.write_text(yaml.safe_dump({**QUICK, **sections}))
    changed = make_plan(Request(**{**vars(plan.request), "params": path}))
    changed.write()
    yield changed


def test_a_run_ends_with_the_paths_of_what_matters(finished):
    folder, printed, _ = finished
    for place in ("report.html", "embeddings", "encoder/encoder.onnx", "model", "params.yaml", "run.log"):
        assert f"results/{place}\n" in printed
        assert (folder / place).exists()
    assert "next:\n  epilstm export-tracks" in printed
    assert "<html" in (folder / "report.html").read_text()


def test_each_step_is_announced_with_its_number_in_structured_lines(finished):
    _, _, lines = finished
    begun = [
        (each["number"], each["of"], each["run_step"])
        for each in lines
        if each["message"].endswith(each.get("run_step", "?"))
    ]
    assert begun == [(number, 7, step) for number, step in enumerate(ORDER, 1)]
    assert {each["trace_id"] for each in lines} == {lines[0]["trace_id"]}


def test_the_params_of_a_run_say_what_was_chosen_and_every_step_was_given_them(finished):
    folder, _, _ = finished
    params = yaml.safe_load((folder / "params.yaml").read_text())
    assert params["preprocess"]["split"] == {"validation": ["chr4"], "test": ["chr3"]}
    assert (folder / "regions.bed").read_text().splitlines()[0] == "chr1\t0\t250000"
    record = json.loads((folder / "model.record.json").read_text())
    assert record["params"]["hidden_size"] == 8
    assert record["chosen"] == {"embedding_size": 2, "context_size": 1}


def test_a_second_run_keeps_everything(epigenome, finished):
    folder, _, _ = finished
    before = (folder / "report.html").stat().st_mtime_ns
    completed = epilstm(folder.parent, *line(request(epigenome, folder)))
    assert completed.returncode == 0, completed.stderr
    assert completed.stdout.startswith("done: nothing has changed\n")
    assert (folder / "report.html").stat().st_mtime_ns == before


def test_a_changed_param_keeps_the_steps_before_it(copied):
    assert kept(copied) == list(ORDER)
    with changed_params(copied, train={**QUICK["train"], "epochs": 2}) as plan:
        assert kept(plan) == ["ingest", "preprocess"]
    with changed_params(copied, report={"title": "Mine"}) as plan:
        assert kept(plan) == list(ORDER[:-1])


def test_a_changed_track_is_read_again_though_the_samplesheet_is_the_same(copied, epigenome):
    track = epigenome / "data/bigwig/C01-DNase.bigwig"
    before = track.stat()
    try:
        os.utime(track, ns=(before.st_atime_ns, before.st_mtime_ns + 1_000))
        assert kept(copied) == []
    finally:
        os.utime(track, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert kept(copied) == list(ORDER)


def test_changed_code_of_a_step_runs_it_again(copied, monkeypatch):
    from epilstm.runtime.code_fingerprint import CodeFingerprint, step_fingerprint

    def changed(step: str) -> CodeFingerprint:
        return CodeFingerprint({"x": "1"}) if step == "export" else step_fingerprint(step)

    monkeypatch.setattr("epilstm.project.freshness.step_fingerprint", changed)
    assert kept(copied) == ["ingest", "preprocess", "train"]


@pytest.mark.parametrize(
    ("place", "before"),
    [("matrix/manifest.json", ["ingest"]), ("metrics/history.csv", ["ingest", "preprocess"]), ("work/steps.json", [])],
)
def test_an_output_that_was_changed_or_removed_is_made_again(copied, place, before):
    path = copied.folder / place
    path.write_text(path.read_text()[:-10])
    assert kept(copied) == before
    path.unlink()
    assert kept(copied) == before


def test_an_interrupted_run_resumes_where_it_stopped(epigenome, tmp_path):
    (tmp_path / "long.yaml").write_text(yaml.safe_dump({**QUICK, "train": {**QUICK["train"], "epochs": 4_000}}))
    given = request(epigenome, tmp_path / "results", params=tmp_path / "long.yaml")
    command = [sys.executable, "-m", "epilstm", *line(given)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        wait_until(lambda: (tmp_path / "results/work/train/checkpoint.pt").exists())
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130
    assert err.splitlines()[-1] == (
        "error: interrupted in train; nothing half-written is left, give the same command again to resume"
    )
    assert not (tmp_path / "results/model").exists()
    plan = make_plan(given)
    assert kept(plan) == ["ingest", "preprocess"]
    lines = [json.loads(text) for text in err.splitlines()[:-1]]
    assert not [each for each in lines if each["level"] == "error"]


def test_a_step_that_fails_is_one_line_with_its_name_and_the_steps_before_it_are_kept(epigenome, tmp_path, capsys):
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump({**QUICK, "train": {**QUICK["train"], "streams": 100_000}}))
    given = request(epigenome, tmp_path / "results", params=tmp_path / "wrong.yaml")
    completed = epilstm(tmp_path, *line(given, "-q"))
    assert completed.returncode == 1
    [text] = completed.stderr.splitlines()
    assert text.startswith("error: train: ")
    assert kept(make_plan(given)) == ["ingest", "preprocess"]
