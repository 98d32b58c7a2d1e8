"""Containers run the very command lines that dvc.yaml runs."""

from __future__ import annotations

import shlex
from typing import Any

import click
import pytest
import yaml

from epilstm.pipelines.compile.compilation import PIPELINES
from epilstm.runtime.step_table import STEPS
from support.nonempty import nonempty
from support.paths import PROJECT
from support.pipelines.compiled_ir import CompiledPipeline, compiled, filled, step_line

STAGES = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]
del STAGES["fingerprint"]  # no step: in a pipeline the plan does it

#: Pipeline that runs each stage of dvc.yaml.
PIPELINE_OF = {name: "simulation" if name == "simulate" else "training" for name in STAGES}

#: Tasks around the registry: no steps.
LIFECYCLE = {"changed", "champion", "publish", "rollout"}

PARTS = dict.fromkeys(("ingest", "preprocess", "embed"), "3/8")


@pytest.fixture(scope="module")
def compiled_pipelines() -> dict[str, CompiledPipeline]:
    return {name: compiled(name, "cpu") for name in PIPELINES}


def step_lines(pipeline: CompiledPipeline) -> dict[str, list[str]]:
    """The steps' own lines, by task."""
    return {name: step_line(each) for name, each in pipeline.executors.items() if name not in {"plan", *LIFECYCLE}}


def dvc_words(name: str) -> list[str]:
    """Words of a stage's command, its variables filled from params.yaml."""
    command = STAGES[name]["cmd"]
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    for section, content in params.items():
        for key, value in content.items():
            command = command.replace(f"${{{section}.{key}}}", str(value))
    assert "${" not in command
    return shlex.split(command)


def dvc_paths(name: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """Paths by port and flags of a stage's command."""
    words = dvc_words(name)[2:]
    flags = tuple(flag for flag, _ in STEPS[name].flags if f"--{flag}" in words)
    rest = [word for word in words if word.removeprefix("--") not in flags]
    return {key.removeprefix("--"): value for key, value in zip(rest[::2], rest[1::2], strict=True)}, flags


@pytest.mark.parametrize("name", STAGES)
def test_a_container_runs_the_line_of_dvc_yaml(name, compiled_pipelines):
    paths, _ = dvc_paths(name)
    line = step_line(compiled_pipelines[PIPELINE_OF[name]].executors[name])
    assert filled(line, paths) == dvc_words(name)


@pytest.mark.parametrize("name", [name for name, step in STEPS.items() if step.part])
def test_a_container_of_a_part_runs_the_line_of_that_part(name, compiled_pipelines):
    paths, flags = dvc_paths(name)
    line = step_line(compiled_pipelines["training"].executors[f"{name}-part"])
    expected = STEPS[name].argv(paths["params"], paths, flags, part=PARTS[name])
    assert filled(line, {**paths, "part": PARTS[name]}) == expected


@pytest.mark.parametrize("name", ["preprocess", "embed"])
@pytest.mark.parametrize("part", [None, "chr5"], ids=["whole", "part"])
def test_the_embedding_pipeline_gives_the_encoder_by_its_path(name, part, compiled_pipelines):
    paths, flags = dvc_paths(name)
    paths |= {"encoder": "models/encoder"}
    line = step_line(compiled_pipelines["embedding"].executors[name if part is None else f"{name}-part"])
    assert "{{$.inputs.parameters['encoder']}}" in line
    assert filled(line, {**paths, "part": part or ""}) == STEPS[name].argv(paths["params"], paths, flags, part=part)


@pytest.mark.parametrize("profile", PIPELINES["training"])
def test_every_profile_runs_the_same_lines(profile, compiled_pipelines):
    other = compiled("training", profile)
    assert step_lines(other) == step_lines(compiled_pipelines["training"])


def test_each_stage_of_dvc_yaml_but_the_simulation_is_in_the_training_pipeline(compiled_pipelines):
    parts = {f"{name}-part" for name, step in STEPS.items() if step.part}
    around = {"plan", "champion", "promote", "publish"}
    assert set(compiled_pipelines["training"].executors) == {*around, *STAGES, *parts} - {"simulate"}


def test_the_wrapper_gets_the_data_root_and_what_kfp_wants(compiled_pipelines: dict[str, Any]):
    for pipeline in nonempty(compiled_pipelines.values()):
        for name, container in nonempty(pipeline.executors.items()):
            if name in LIFECYCLE:
                continue
            assert container["command"] == ["epilstm", "task", "plan" if name == "plan" else "run"]
            assert container["args"][:4] == [
                "--data-root",
                "{{$.inputs.parameters['data_root']}}",
                "--executor-input",
                "{{$}}",
            ]


def test_the_gate_is_asked_with_the_ports_of_the_step(compiled_pipelines):
    step = STEPS["promote"]
    paths = {port.name: f"<{port.name}>" for port in (*step.inputs, *step.outputs)}
    line = step_line(compiled_pipelines["training"].executors["promote"])
    assert filled(line, {**paths, "params": "params.yaml"}) == step.argv("params.yaml", paths)


def test_drift_is_a_verdict_and_no_failure_of_the_monitoring_pipeline(compiled_pipelines):
    step = STEPS["monitor"]
    paths = {
        port.name: f"<{port.name}>" for port in (*step.inputs, *step.outputs) if port.name not in ("model", "served")
    }
    line = step_line(compiled_pipelines["monitoring"].executors["monitor"])
    assert filled(line, {**paths, "params": "params.yaml"}) == step.argv("params.yaml", paths)


@pytest.mark.parametrize(
    ("pipeline", "task"),
    [("retraining", name) for name in sorted(LIFECYCLE)] + [("training", "champion"), ("rollout", "rollout")],
)
def test_a_task_of_the_registry_takes_what_its_container_gives_it(pipeline, task, compiled_pipelines):
    from epilstm.pipelines.lifecycle.__main__ import lifecycle

    container = compiled_pipelines[pipeline].executors[task]
    assert container["command"] == ["python", "-m", "epilstm.pipelines.lifecycle", task]
    numbers = {"{{$.inputs.parameters['canary_percent']}}": "10", "{{$.inputs.parameters['max_age_days']}}": "30"}
    command = lifecycle.get_command(click.Context(lifecycle), task)
    given = command.make_context(task, [numbers.get(word, word) for word in container["args"]]).params
    unset = {parameter.name for parameter in command.params if given[parameter.name] in (None, "")}
    assert unset <= {"after"}
    assert given["executor_input"] == "{{$}}"
