"""Studies as a file, and the experiments that they are."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from epilstm.errors import ParamsError
from epilstm.params import EvaluateParams, TrainParams
from epilstm.study.definition import Studies, read_studies
from epilstm.study.plan import Choice, Experiment, effective_params, plan
from epilstm.tracks.samplesheet import read_samplesheet
from support.paths import PROJECT
from support.study.tiny_study import PARAMS, STUDIES


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({**PARAMS, "ingest": {"samplesheet": "own/sheet.csv"}}))
    return tmp_path


def planned(root: Path, study: str, **choice: Any) -> list[Experiment]:
    return plan(Studies.model_validate(STUDIES), Choice(study, **choice), root)


def words_after(flag: str, command: str) -> list[str]:
    words = shlex.split(command)
    return [words[number + 1] for number, word in enumerate(words) if word == flag]


def test_an_experiment_is_a_variant_and_a_seed(root: Path) -> None:
    assert [each.name for each in planned(root, "layers")] == [
        "layers-one-1", "layers-one-2", "layers-two-1", "layers-two-2"
    ]  # fmt: skip
    assert [each.name for each in planned(root, "layers", seeds=(7,), variants=["two"])] == ["layers-two-7"]


def test_its_command_sets_what_study_and_variant_say_and_the_seed(root: Path) -> None:
    command = planned(root, "layers")[-1].command
    assert command.startswith("dvc exp run --temp --name layers-two-2 ")
    assert command.endswith(" evaluate")
    assert words_after("--set-param", command) == ["++train.dropout=0.1", "++train.layers=2", "++train.seed=2"]


def test_a_variant_s_word_is_the_last(root: Path) -> None:
    studies = {
        "studies": {"s": {"about": "", "set": ["train.layers=2"], "variants": {"v": {"set": ["train.layers=3"]}}}}
    }
    [experiment] = plan(Studies.model_validate(studies), Choice("s"), root)
    assert experiment.overrides == ("train.layers=3", "train.seed=1")


def test_on_another_data_set_names_and_params_are_its_own(root: Path) -> None:
    (root / "real").mkdir()
    experiment = planned(root, "layers", base="real")[0]
    assert experiment.name == "real-layers-one-1"
    assert experiment.overrides[0] == f"ingest.samplesheet={root}/real/sheet.csv"
    elsewhere = root / "else where"
    elsewhere.mkdir()
    experiment = planned(root, "layers", base="real", data=elsewhere)[0]
    assert words_after("--set-param", experiment.command)[0] == f"++ingest.samplesheet={elsewhere}/sheet.csv"


def test_cell_types_are_left_out_by_a_samplesheet_of_its_own_with_paths_that_hold_anywhere(root: Path) -> None:
    (root / "own").mkdir()
    (root / "own" / "sheet.csv").write_text("cell_type,assay,uri\nA,DNase,a.bw\nB,DNase,b.bw\nC,DNase,s3://b/c.bw\n")
    everything, without = planned(root, "cells")
    assert not any("samplesheet" in override for override in everything.overrides)
    [sheet] = [each.partition("=")[2] for each in without.overrides if each.startswith("ingest.samplesheet=")]
    assert [(track.cell_type, track.uri) for track in read_samplesheet(Path(sheet))] == [
        ("A", str(root / "own" / "a.bw")),
        ("C", "s3://b/c.bw"),
    ]
    before = Path(sheet).stat().st_mtime_ns
    planned(root, "cells")
    assert Path(sheet).stat().st_mtime_ns == before


def test_a_variant_can_name_sizes_and_sums_of_what_is_compared(root: Path) -> None:
    names = ["embedding", "pca:12", "pca_varimax:12", "nmf:12+context_code"]
    params = effective_params(root, [f"evaluate.representations=[{','.join(names)}]"], "here")
    assert EvaluateParams.model_validate(params["evaluate"]).model_dump()["representations"] == names


def test_params_are_those_of_the_file_with_the_overrides(root: Path) -> None:
    params = effective_params(root, ["train.layers=3", "preprocess.split.test=[chr8,chr9]"], "here")
    assert (params["train"]["layers"], params["train"]["seed"]) == (3, 1)
    assert params["preprocess"]["split"]["test"] == ["chr8", "chr9"]
    assert params["evaluate"]["classifier"]["kind"] == "xgboost"


@pytest.mark.parametrize(
    ("choice", "reason"),
    [
        ({"study": "layer"}, "study 'layer': unknown; studies are layers, cells"),
        ({"study": "layers", "variants": ["three"]}, "--only three: unknown; variants are one, two"),
        ({"study": "layers", "base": "other"}, "--on other: unknown; data sets are params, real"),
        ({"study": "layers", "base": "real"}, "real: no such folder; give it with --data"),
        ({"study": "layers", "data": Path("real")}, "--data real: say with --on which data set it is; there are real"),
        ({"study": "cells"}, "no such samplesheet, to leave B out of; run dvc repro"),
    ],
)
def test_what_is_not_there_is_reported_in_one_line(root: Path, choice: dict[str, Any], reason: str) -> None:
    with pytest.raises(ParamsError) as caught:
        planned(root, **choice)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_cell_type_that_has_no_tracks_cannot_be_left_out(root: Path) -> None:
    (root / "own").mkdir()
    (root / "own" / "sheet.csv").write_text("cell_type,assay,uri\nA,DNase,a.bw\n")
    with pytest.raises(ParamsError, match="no tracks of B to leave out; there are A"):
        planned(root, "cells")


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("train.layers=0", r"study s, variant v: train\.layers: input should be greater than or equal to 1"),
        ("train.layerz=1", r"train\.layerz: unknown key"),
        ("train.layers=[1", "study s, variant v: "),
    ],
)
def test_params_that_cannot_be_are_refused_before_anything_runs(root: Path, override: str, reason: str) -> None:
    studies = {"studies": {"s": {"about": "", "variants": {"v": {"set": [override]}}}}}
    with pytest.raises(ParamsError, match=reason) as caught:
        plan(Studies.model_validate(studies), Choice("s"), root)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("studies: {s: {about: x, variants: {}}}", "studies.s.variants"),
        ("studies: {s: {about: x, variants: {A B: {}}}}", "studies.s.variants"),
        ("studies: {s: {about: x, variants: {v: {set: [layers=2]}}}}", r"studies.s.variants.v.set"),
        ("studies: {s: {about: x, seeds: [1, 1], variants: {v: {}}}}", "one is listed twice"),
        ("studies: {s: {about: x, variants: {v: {patch: studies/x.patch}}}}", r"studies.s.variants.v.patch"),
        ("studies: {s: {about: x, seed: 1, variants: {v: {}}}}", "studies.s.seed: unknown key"),
        ("[]", "yaml"),
        ("studies: {", "not valid YAML"),
    ],
)
def test_a_file_that_makes_no_sense_is_reported_in_one_line(tmp_path: Path, content: str, reason: str) -> None:
    (tmp_path / "studies.yaml").write_text(content)
    with pytest.raises(ParamsError, match=reason) as caught:
        read_studies(tmp_path / "studies.yaml")
    assert "\n" not in str(caught.value)


# The project's own studies

OWN = read_studies(PROJECT / "studies.yaml")


@pytest.mark.parametrize("study", OWN.studies)
def test_each_study_of_the_project_can_be_run(study: str, tmp_path: Path) -> None:
    shutil.copy(PROJECT / "params.yaml", tmp_path)
    named = {cell_type for each in OWN.studies[study].variants.values() for cell_type in each.leave_out}
    lines = [f"{cell_type},DNase,{cell_type}.bw\n" for cell_type in [*named, "left"]]
    (tmp_path / "samplesheet.csv").write_text("cell_type,assay,uri\n" + "".join(lines))
    experiments = plan(OWN, Choice(study, "pilot", tmp_path), tmp_path)
    assert len({each.name for each in experiments}) == len(experiments)
    assert len({each.overrides for each in experiments}) == len(experiments)


def test_the_published_figure_s_sizes_are_studied() -> None:
    sizes = {int(name.removeprefix("h")) for name in OWN.studies["hidden-size"].variants}
    assert sizes == {6, 12, 24, 36, 48, 60, 96, 110}


def test_the_pilot_is_that_of_make_pilot() -> None:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    line = ["make", "--dry-run", "--old-file=env", "pilot", "DATA={data}"]
    output = subprocess.run(line, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    words = shlex.split(output[output.index("epilstm run") :].replace("\\\n", " "))
    options = dict(zip(words[3::2], words[4::2], strict=True))
    preset = yaml.safe_load((PROJECT / options["--params"]).read_text())
    given = {
        "ingest.samplesheet": words[2],
        "ingest.regions": options["--regions"],
        "ingest.assembly": options["--assembly"],
        "evaluate.tasks": options["--tasks"],
        "evaluate.labels": options["--labels"],
        "preprocess.split.validation": preset["preprocess"]["split"]["validation"],
        "preprocess.split.test": preset["preprocess"]["split"]["test"],
        "train.epochs": TrainParams().epochs,
        "evaluate.folds.count": EvaluateParams().folds.count,
    }
    pilot = dict(each.split("=", 1) for each in OWN.bases["pilot"].set)
    assert {key: value if "{" in value else yaml.safe_load(value) for key, value in pilot.items()} == given
