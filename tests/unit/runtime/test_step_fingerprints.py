"""The files that DVC's stages depend on: code, resolved params, and files that these name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from epilstm.cli import main
from epilstm.errors import ParamsError
from epilstm.runtime.code_fingerprint import step_fingerprint
from epilstm.runtime.step_fingerprints import write_fingerprints
from epilstm.runtime.step_table import STEPS


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    set_params({"train": {"epochs": 3}})
    assert write_fingerprints(Path("params.yaml"), Path("out")) == list(STEPS)
    return tmp_path


def set_params(sections: dict[str, dict[str, object]]) -> None:
    Path("params.yaml").write_text(yaml.safe_dump(sections))


def again() -> list[str]:
    """Steps that something has changed for."""
    return write_fingerprints(Path("params.yaml"), Path("out"))


def content(step: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(Path(f"out/{step}.json").read_text())
    return found


def test_a_file_has_the_code_and_every_default(project: Path):
    found = content("train")
    assert found["code"] == step_fingerprint("train").sha256
    params = found["params"]
    assert isinstance(params, dict)
    assert (params["epochs"], params["clip_norm"]) == (3, 1.0)
    assert again() == []


def test_only_the_file_of_the_step_changes_and_a_default_that_is_written_out_changes_none(project: Path):
    set_params({"train": {"epochs": 4}})
    assert again() == ["train"]
    set_params({"train": {"epochs": 4, "clip_norm": 1.0}})
    assert again() == []


def test_a_file_that_params_name_counts_by_its_content(project: Path):
    Path("own.sizes").write_text("chr1\t100000\n")
    set_params({"ingest": {"assembly": "own.sizes"}, "train": {"epochs": 3}})
    assert again() == ["ingest"]
    assert again() == []
    Path("own.sizes").write_text("chr1\t200000\n")
    assert again() == ["ingest"]
    Path("other").mkdir()
    Path("other/manifest.json").write_text("{}")
    set_params({"ingest": {"assembly": "own.sizes"}, "train": {"epochs": 3}, "evaluate": {"also": {"mine": "other"}}})
    assert again() == ["evaluate"]
    Path("other/manifest.json").write_text('{"another": 1}')
    assert again() == ["evaluate"]


def test_what_a_stage_makes_is_left_to_that_stage(project: Path):
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": {"simulate": {"outs": ["data/simulated"]}}}))
    set_params({"ingest": {"assembly": "data/simulated/chrom.sizes"}, "train": {"epochs": 3}})
    assert again() == ["ingest"]
    Path("data/simulated").mkdir(parents=True)
    Path("data/simulated/chrom.sizes").write_text("chr1\t100000\n")
    assert again() == []


def test_unusable_params_are_one_line_and_leave_what_is_there(project: Path, capsys: pytest.CaptureFixture[str]):
    before = content("train")
    set_params({"train": {"epochs": 0}})
    with pytest.raises(ParamsError, match=r"params.yaml: train.epochs"):
        again()
    with pytest.raises(SystemExit) as ended:
        main(["fingerprint", "--params", "params.yaml", "--fingerprints", "out"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("error: params.yaml: train.epochs: ")
    assert content("train") == before


def test_the_command_says_what_has_changed(project: Path, capsys: pytest.CaptureFixture[str]):
    set_params({"train": {"epochs": 5}})
    main(["fingerprint", "--params", "params.yaml", "--fingerprints", "out"])
    assert capsys.readouterr().err == "changed: train\n"
    main(["fingerprint", "--params", "params.yaml", "--fingerprints", "out"])
    assert capsys.readouterr().err == "nothing has changed\n"
    main(["fingerprint"])
    assert capsys.readouterr().out.splitlines()[3].split()[:2] == ["train", step_fingerprint("train").sha256]


def test_a_folder_that_cannot_be_written_is_one_line(project: Path, capsys: pytest.CaptureFixture[str]):
    Path("file").write_text("")
    with pytest.raises(SystemExit) as ended:
        main(["fingerprint", "--fingerprints", "file"])
    assert ended.value.code == 1
    assert capsys.readouterr().err.startswith("error: file/simulate.json: cannot be written: ")
