"""``dvc.yaml`` is the step table: the same command lines, and dependencies that follow from them."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from epilstm.genome.assembly import load_assembly, read_blacklist, read_regions
from epilstm.params import SECTIONS, load_section
from epilstm.runtime.step_table import STEPS
from support.nonempty import nonempty
from support.paths import PROJECT

#: The gate compares with the champion of the registry, and the monitor compares new data: neither is a file of the
#: repository that a stage could depend on.
STAGED = [name for name in STEPS if name not in ("promote", "monitor")]

#: It writes what the others depend on, and runs every time.
FINGERPRINT = "fingerprint"

Stages = dict[str, Any]


def expand(folder: Path, *overrides: str) -> Stages:
    """The stages as DVC sees them, by name, with params set as ``dvc exp run --set-param`` sets them."""
    from dvc.repo import Repo
    from dvc.utils.hydra import apply_overrides

    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(PROJECT / name, folder)
    apply_overrides(folder / "params.yaml", list(overrides))
    with Repo.init(str(folder), no_scm=True) as repo:
        return {stage.name: stage for stage in repo.index.stages}


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Stages:
    """The stages as the project ships them: on simulated data."""
    return expand(tmp_path_factory.mktemp("simulated"))


def arguments(stage: Any) -> tuple[dict[str, str], tuple[str, ...]]:
    """Paths by port and flags of a stage's command line."""
    words = shlex.split(stage.cmd)[2:]
    flags = {name for name, _ in STEPS[stage.name].flags}
    paths = {}
    while words:
        name = words.pop(0).removeprefix("--")
        if name not in flags:
            paths[name] = words.pop(0)
    return paths, tuple(flag for flag in flags if f"--{flag}" in shlex.split(stage.cmd))


def paths_of(outputs_or_dependencies: list[Any]) -> set[str]:
    return {item.def_path for item in outputs_or_dependencies}


def test_there_is_a_stage_for_each_step_in_the_order_data_flows(stages):
    assert list(stages) == [FINGERPRINT, *STAGED]


def test_dvc_does_not_look_at_the_pipeline_that_a_new_project_gets(tmp_path):
    from dvc.repo import Repo

    template = Path("components/epilstm/project/template")
    (tmp_path / template).mkdir(parents=True)
    for path in (template / "dvc.yaml", Path("dvc.yaml"), Path("params.yaml"), Path(".dvcignore")):
        shutil.copy(PROJECT / path, tmp_path / path)
    with Repo.init(str(tmp_path), no_scm=True) as repo:
        assert {Path(stage.path).parent for stage in repo.index.stages} == {tmp_path}


@pytest.mark.parametrize("name", STAGED)
def test_the_command_of_a_stage_is_the_command_line_of_its_step(stages, name):
    stage = stages[name]
    paths, flags = arguments(stage)
    paths.pop("params")
    assert shlex.split(stage.cmd) == STEPS[name].argv("params.yaml", paths, flags)


@pytest.mark.parametrize("name", STAGED)
def test_a_stage_gives_every_port_of_its_step(stages, name):
    step = STEPS[name]
    ports = {port.name for port in (*step.inputs, *step.outputs, *step.work)}
    if name == "preprocess":
        ports.remove("encoder")  # of an earlier run, over new data; here the scaler is fitted
    assert set(arguments(stages[name])[0]) == ports | {"params"}


@pytest.mark.parametrize("name", STAGED)
def test_a_stage_depends_on_its_inputs_its_params_and_the_fingerprint_of_its_code(stages, name):
    from dvc.dependency import ParamsDependency

    stage = stages[name]
    paths, _ = arguments(stage)
    params = [dependency for dependency in stage.deps if isinstance(dependency, ParamsDependency)]
    others = [dependency for dependency in stage.deps if not isinstance(dependency, ParamsDependency)]
    assert [dependency.params for dependency in params] == [[name]]
    inputs = {paths[port.name] for port in STEPS[name].inputs if port.name in paths}
    assert paths_of(others) == {*inputs, f"data/fingerprints/{name}.json"}


def test_no_stage_needs_the_sources_so_that_the_pipeline_runs_outside_of_the_clone(stages):
    assert not [path for stage in stages.values() for path in paths_of(stage.deps) if path.startswith("components")]


def test_the_fingerprints_are_written_before_every_run(stages):
    stage = stages[FINGERPRINT]
    assert stage.always_changed
    assert shlex.split(stage.cmd) == [
        "epilstm", "fingerprint", "--params", "params.yaml", "--fingerprints", "data/fingerprints",
    ]  # fmt: skip
    assert paths_of(stage.outs) == {"data/fingerprints"}


@pytest.mark.parametrize("name", STAGED)
def test_a_stage_puts_out_what_its_step_writes_and_the_records_but_no_work_folder(stages, name):
    stage = stages[name]
    paths, _ = arguments(stage)
    metrics = {paths[port.name] for port in STEPS[name].outputs if port.kind == "metrics"}
    curves = {paths[port.name] for port in STEPS[name].outputs if port.kind == "csv"}
    rest = {paths[port.name] for port in STEPS[name].outputs} - metrics - curves
    assert {out.def_path for out in stage.outs if out.metric} == metrics
    assert {out.def_path for out in stage.outs if out.plot} == curves
    assert {out.def_path for out in stage.outs if out.use_cache} == rest | {
        f"{path}.record.json" for path in rest | curves
    }
    assert paths_of(stage.outs) == {out.def_path for out in stage.outs if out.use_cache} | metrics | curves


def test_training_continues_where_a_killed_run_stopped(stages):
    paths, flags = arguments(stages["train"])
    assert flags == ("resume",)
    assert not any(paths["checkpoint"].startswith(out) for out in paths_of(stages["train"].outs))


def test_work_folders_are_distinguished_and_are_kept_by_no_one(stages):
    work = [arguments(stages[name])[0][port.name] for name in STAGED for port in STEPS[name].work]
    assert work == ["cache/ingest", "cache/preprocess", "cache/train", "cache/embed"]


def test_params_yaml_is_valid_in_every_section():
    for name, model in SECTIONS.items():
        load_section(PROJECT / "params.yaml", name, model)


def test_params_yaml_has_every_section_in_the_order_data_flows():
    assert list(yaml.safe_load((PROJECT / "params.yaml").read_text())) == list(SECTIONS)


def test_the_simulated_data_come_from_the_simulate_stage(stages):
    used = paths_of(stages["ingest"].deps) | paths_of(stages["evaluate"].deps)
    assert {path for path in used if path.startswith("data/simulated/")} == {
        f"data/simulated/{name}" for name in ("samplesheet.csv", "regions.bed", "tasks.yaml", "labels")
    }


def pilot_command(*settings: str) -> list[str]:
    """The command line of ``make pilot``."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    completed = subprocess.run(
        ["make", "--dry-run", "--old-file=env", "pilot", "DATA=elsewhere", *settings],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    (line,) = (each for each in completed.stdout.replace("\\\n", " ").splitlines() if each.startswith("epilstm"))
    return shlex.split(line)


def test_the_pilot_is_a_run_of_its_own_that_leaves_params_yaml_as_it_is():
    words = pilot_command()
    assert words[:3] == ["epilstm", "run", "elsewhere/samplesheet.csv"]
    options = dict(zip(words[3::2], words[4::2], strict=True))
    assert options == {
        "--assembly": "hg19",
        "--regions": "elsewhere/pilot-regions.bed",
        "--params": "presets/roadmap-pilot.yaml",
        "--tasks": "tasks/roadmap-pilot.yaml",
        "--labels": "elsewhere/labels",
        "--to": "results/roadmap-pilot",
    }
    assert "presets/other.yaml" in pilot_command("PARAMS=presets/other.yaml")


def test_no_documented_command_rewrites_params_yaml_or_needs_gits_user_name():
    for page in (PROJECT / "README.md", *sorted((PROJECT / "docs").rglob("*.md")), *(PROJECT / "presets").glob("*")):
        assert "dvc exp run -S" not in page.read_text(encoding="utf-8"), page
    assert "exp run" not in (PROJECT / "Makefile").read_text(encoding="utf-8")


def test_model_and_encoder_are_registered_artifacts(stages):
    artifacts = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["artifacts"]
    outs = {out for stage in stages.values() for out in paths_of(stage.outs)}
    assert set(artifacts) == {"autoencoder", "encoder"}
    for artifact in nonempty(artifacts.values()):
        assert artifact["path"] in outs
        assert artifact["type"] == "model"
        assert artifact["desc"]
        assert artifact["labels"]


def test_the_regions_files_stand_for_the_whole_genome_and_for_no_blacklist():
    hg19 = load_assembly("hg19")
    assert read_regions(PROJECT / "regions" / "whole-genome.bed", hg19, 25) == hg19.regions()
    assert read_blacklist(PROJECT / "regions" / "no-blacklist.bed", hg19) == []
