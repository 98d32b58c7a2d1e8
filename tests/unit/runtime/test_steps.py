"""The step table: the command line of each step."""

from __future__ import annotations

import ast
import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from epilstm.runtime.step_table import METRICS, STEPS, Port, Step
from epilstm.tracks.samplesheet import COLUMNS

STEP = Step(
    "toy",
    "A step.",
    "train",
    inputs=(Port("signal", "signal", "in"), Port("mask", "file", "in", optional=True)),
    outputs=(Port("matrix", "matrix", "out"), METRICS),
    work=(Port("cache", "folder", "work", optional=True),),
    flags=(("resume", "go on"), ("fast", "hurry")),
    part="one of it",
)


def test_argv_follows_the_order_inputs_outputs_work_flags():
    paths = {"cache": "C", "metrics": "M.json", "matrix": "X", "mask": "B.bed", "signal": "S"}
    assert STEP.argv("P.yaml", paths, ("resume",)) == [
        "epilstm", "toy", "--params", "P.yaml", "--signal", "S", "--mask", "B.bed",
        "--matrix", "X", "--metrics", "M.json", "--cache", "C", "--resume",
    ]  # fmt: skip


def test_argv_leaves_out_optional_ports_without_a_path():
    assert STEP.argv("P.yaml", {"matrix": "X", "signal": "S"}) == [
        "epilstm", "toy", "--params", "P.yaml", "--signal", "S", "--matrix", "X",
    ]  # fmt: skip


def test_argv_needs_a_path_for_every_required_port():
    with pytest.raises(KeyError, match="step toy needs a path for matrix"):
        STEP.argv("P.yaml", {"signal": "S"})


def test_argv_of_a_part_has_work_folders_and_no_outputs():
    paths = {"cache": "C", "metrics": "M.json", "matrix": "X", "signal": "S"}
    assert STEP.argv("P.yaml", paths, ("resume",), part="3/8") == [
        "epilstm", "toy", "--params", "P.yaml", "--signal", "S", "--cache", "C", "--part", "3/8", "--resume",
    ]  # fmt: skip


def test_argv_of_a_part_needs_every_work_folder():
    with pytest.raises(KeyError, match="step toy needs a path for cache"):
        STEP.argv("P.yaml", {"signal": "S"}, part="3/8")


def test_argv_of_a_part_needs_a_step_that_has_parts():
    with pytest.raises(ValueError, match="step toy has no parts"):
        replace(STEP, part=None).argv("P.yaml", {"signal": "S", "cache": "C"}, part="3/8")


def test_the_help_of_ingest_names_every_column_of_a_samplesheet():
    (sheet,) = (port for port in STEPS["ingest"].inputs if port.name == "samplesheet")
    assert [column for column in COLUMNS if column not in sheet.help] == []


def test_steps_are_in_the_order_that_data_flows():
    written: set[str] = set()
    for step in STEPS.values():
        made_by_a_later_step = {
            port.name
            for later in list(STEPS.values())[list(STEPS).index(step.name) :]
            for port in later.outputs
            if port.name != "metrics"
        } - written
        # An optional one comes from an earlier run of the pipeline.
        needed = {port.name for port in step.inputs if not port.optional}
        assert not needed & made_by_a_later_step, step.name
        written |= {port.name for port in step.outputs}


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_names_within_a_step_are_unique(step):
    names = [port.name for port in (*step.inputs, *step.outputs, *step.work)] + [name for name, _ in step.flags]
    names += ["params", "part"]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_the_code_of_a_step_is_there(step):
    module, _, function = step.target.partition(":")
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    defined = {node.name for node in ast.parse(Path(spec.origin).read_text()).body if isinstance(node, ast.FunctionDef)}
    assert function in defined


@pytest.mark.parametrize("step", [step for step in STEPS.values() if step.part], ids=lambda step: step.name)
def test_a_step_that_has_parts_has_a_work_folder_for_them(step):
    assert step.work
