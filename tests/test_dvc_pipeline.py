"""``dvc.yaml`` is the step table: the same command lines, and dependencies that follow from them."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from epilstm.files.outputs import fingerprint
from epilstm.genome.assembly import load_assembly, read_blacklist, read_regions
from epilstm.params import SECTIONS, load_section
from epilstm.runtime.code_fingerprint import step_fingerprint
from epilstm.runtime.step_table import STEPS

PROJECT = Path(__file__).resolve().parents[1]

#: The gate judges against the champion of the registry, and the monitor judges new data: neither is a file of the
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


def test_work_folders_are_told_apart_and_are_kept_by_no_one(stages):
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
    told = subprocess.run(
        ["make", "--dry-run", "--old-file=env", "pilot", "DATA=elsewhere", *settings],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    (line,) = (each for each in told.stdout.replace("\\\n", " ").splitlines() if each.startswith("epilstm"))
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
    for artifact in artifacts.values():
        assert artifact["path"] in outs
        assert artifact["type"] == "model"
        assert artifact["desc"]
        assert artifact["labels"]


def test_the_regions_files_stand_for_the_whole_genome_and_for_no_blacklist():
    hg19 = load_assembly("hg19")
    assert read_regions(PROJECT / "regions" / "whole-genome.bed", hg19, 25) == hg19.regions()
    assert read_blacklist(PROJECT / "regions" / "no-blacklist.bed", hg19) == []


TINY = {
    "simulate": {
        "chromosomes": {"chr1": 400_000, "chr2": 200_000, "chr3": 200_000, "chr4": 200_000},
        "cell_types": 2,
        "assays": ["DNase", "H3K4me3"],
    },
    "train": {"embedding_size": 3, "context_size": 1, "context_epochs": 2, "hidden_size": 4, "epochs": 1, "streams": 4},
    "evaluate": {"bootstrap": 10, "folds": {"count": 2}, "classifier": {"trees": 5}},
}


def dvc(folder: Path, *words: str) -> str:
    """What ``dvc`` prints; its stages run the project's own copy of the package."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    told = subprocess.run(
        [sys.executable, "-m", "dvc", *words],
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(folder / "components")},
        capture_output=True,
        text=True,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    return told.stdout


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


@pytest.mark.integration
def test_the_pipeline_ends_with_a_report_and_a_metrics_file_per_step(tiny_project):
    assert "<html" in (tiny_project / "report" / "report.html").read_text()
    for name in ("ingest", "preprocess", "train", "export", "embed", "evaluate"):
        assert json.loads((tiny_project / "metrics" / f"{name}.json").read_text()), name


@pytest.mark.integration
def test_the_training_curve_has_the_columns_that_the_plot_names(tiny_project):
    [plot] = yaml.safe_load((tiny_project / "dvc.yaml").read_text())["plots"]
    with open(tiny_project / "metrics" / "history.csv", newline="") as stream:
        columns = csv.DictReader(stream).fieldnames or []
    assert {plot["Training curve"]["x"], *plot["Training curve"]["y"]["metrics/history.csv"]} <= set(columns)


@pytest.mark.integration
def test_each_output_is_what_its_record_says(tiny_project):
    for record in tiny_project.rglob("*.record.json"):
        for output in json.loads(record.read_text())["outputs"].values():
            assert fingerprint(tiny_project / output["path"]) == output["fingerprint"], record


@pytest.mark.integration
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


@pytest.mark.integration
def test_comments_and_the_default_of_no_stage_s_step_rerun_nothing(tiny_project, code):
    for path in code.rglob("*.py"):
        path.write_text(f"# A comment.\n{path.read_text()}")
    config = code / "params.py"
    text = config.read_text()
    of_monitor = '0.05, description="share of untouched tracks'
    assert of_monitor in text
    config.write_text(text.replace(of_monitor, of_monitor.replace("0.05", "0.06")))
    assert stages_to_run(tiny_project) == set()


@pytest.mark.integration
def test_a_default_reruns_the_stage_of_its_step_alone(tiny_project, code):
    config = code / "params.py"
    text = config.read_text()
    assert '1.0, description="largest gradient norm"' in text
    config.write_text(
        text.replace('1.0, description="largest gradient norm"', '2.0, description="largest gradient norm"')
    )
    assert stages_to_run(tiny_project) == {"train"}


@pytest.mark.integration
def test_code_of_a_shared_module_reruns_the_stages_that_run_through_it(tiny_project, code):
    with open(code / "tracks/transforms.py", "a") as stream:
        stream.write("\nCHANGED = True\n")
    through = {step for step in STAGED if "epilstm.tracks.transforms" in step_fingerprint(step).modules}
    assert "preprocess" in through
    assert stages_to_run(tiny_project) == through != set(STAGED)


@pytest.mark.integration
def test_a_changed_hidden_size_reruns_train_and_what_follows(tiny_project):
    path = tiny_project / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params["train"]["hidden_size"] += 1
    path.write_text(yaml.safe_dump(params))
    assert repro(tiny_project) == [FINGERPRINT, "train", "export", "embed", "evaluate", "report"]
