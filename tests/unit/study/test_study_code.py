"""Whether the code of an experiment is that which would run now, as its commit's ``dvc.lock`` says."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from epilstm.registry.repository import Repository
from epilstm.runtime.step_fingerprints import fingerprint_text, fingerprints_in, md5_of
from epilstm.study.experiments import Kept, difference
from epilstm.study.plan import Experiment, effective_params
from support.study.tiny_study import PARAMS


def lock(texts: dict[str, str]) -> str:
    """What DVC writes of a pipeline in which report depends on evaluate, and evaluate on train."""
    deps = {step: {"path": f"data/fingerprints/{step}.json", "md5": md5_of(text)} for step, text in texts.items()}
    stages = {
        "fingerprint": {"cmd": "epilstm fingerprint --params params.yaml", "outs": [{"path": "data/fingerprints"}]},
        "train": {"cmd": "epilstm train", "deps": [deps["train"]], "outs": [{"path": "model"}]},
        "evaluate": {
            "cmd": "epilstm evaluate",
            "deps": [{"path": "model", "md5": "0"}, deps["evaluate"]],
            "outs": [{"path": "evaluation"}],
        },
        "report": {"cmd": "epilstm report", "deps": [{"path": "evaluation", "md5": "0"}, deps["report"]]},
    }
    return yaml.safe_dump({"schema": "2.0", "stages": stages})


def commit(folder: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    for words in (["add", "-A"], [*identity, "commit", "-q", "--allow-empty", "-m", "One"]):
        subprocess.run(["git", *words], cwd=folder, check=True)
    return subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "-q", "-b", "main", str(tmp_path)], check=True)
    commit(tmp_path, {"params.yaml": yaml.safe_dump(PARAMS)})
    return tmp_path


def found(folder: Path, texts: dict[str, str], experiment: Experiment | None = None) -> str | None:
    experiment = experiment or Experiment("layers", "one", 1, "layers-one-1", ())
    return difference(
        Repository(folder), experiment, Kept("layers-one-1", commit(folder, {"dvc.lock": lock(texts)}), "")
    )


def texts_of(folder: Path) -> dict[str, str]:
    params = effective_params(folder, (), "here")
    return {step: fingerprint_text(step, params.get(step, {})) for step in ("train", "evaluate", "report")}


def test_the_fingerprints_of_a_stage_and_of_those_before_it_are_found():
    written = lock({"train": "a", "evaluate": "b", "report": "c"})
    assert fingerprints_in(written, "evaluate") == {"train": md5_of("a"), "evaluate": md5_of("b")}
    assert fingerprints_in(written, "elsewhere") == fingerprints_in("", "evaluate") == {}


def test_what_ran_the_code_of_now_is_the_same_whatever_the_report_s_code(folder: Path):
    assert found(folder, texts_of(folder) | {"report": "other"}) is None


@pytest.mark.parametrize("step", ["train", "evaluate"])
def test_what_ran_other_code_is_not(folder: Path, step: str):
    assert found(folder, texts_of(folder) | {step: "other"}) == "other code"
