"""Components and pipelines follow from the step table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from epilstm.pipelines.graphs.images import Images
from epilstm.pipelines.graphs.pipeline_parameters import pipeline
from epilstm.pipelines.graphs.profiles import PROFILES, Cluster
from epilstm.pipelines.graphs.step_components import step_component
from epilstm.pipelines.graphs.step_tasks import TaskMaker
from epilstm.pipelines.lifecycle import VERDICT
from epilstm.runtime.step_table import METRICS, Port, Step


def toy(**changed: object) -> Step:
    fields = {
        "name": "toy",
        "summary": "A step.",
        "image": "train",
        "inputs": (Port("matrix", "matrix", "in"),),
        "outputs": (Port("answer", "file", "out"), METRICS),
    }
    return Step(**{**fields, **changed})  # type: ignore[arg-type]


def arguments(step: Step) -> list[str]:
    component = step_component(step, "example.org/image:1")
    return [str(word) for word in component.component_spec.implementation.container.args]


def test_work_folders_are_in_the_cache_of_the_step():
    line = arguments(toy(work=(Port("parts", "folder", "kept", optional=True),)))
    assert line[line.index("--parts") + 1] == "cache/toy"


def test_an_output_with_a_place_is_written_there_and_its_address_reported():
    step = toy(outputs=(Port("answer", "folder", "out", place="data/answer"),))
    line = arguments(step)
    assert line[line.index("--answer") + 1] == "data/answer"
    assert step_component(step, "i:1").component_spec.outputs["answer"].type == "String"


def test_a_verdict_is_the_output_that_conditions_read():
    spec = step_component(toy(outputs=(Port("answer", "file", "out", verdict="answer"),)), "i:1").component_spec
    assert spec.outputs[VERDICT].type == "String"
    assert VERDICT not in step_component(toy(), "i:1").component_spec.outputs


@pytest.mark.parametrize(("cached", "inputs"), [(True, {"code"}), (False, set())])
def test_the_code_is_an_input_of_steps_that_are_cached(cached: bool, inputs: set[str]):
    spec = step_component(toy(cached=cached), "i:1").component_spec
    assert set(spec.inputs) == {"data_root", "params", "matrix"} | inputs


def test_versions_of_what_no_port_names_are_inputs_and_on_the_line():
    step = toy(versions=("labels_version",))
    assert "labels_version" in step_component(step, "i:1").component_spec.inputs
    line = arguments(step)
    assert line[line.index("--version-of") + 1].startswith("labels_version=")


def test_a_pod_resumes_a_step_that_can():
    assert arguments(toy(flags=(("resume", "continue"), ("fast", "hurry"))))[-1] == "--resume"


def test_a_pipeline_has_the_described_parameters_those_to_be_given_first():
    given = {}

    @pipeline("toy", "A pipeline.", ("data_root", "train", "registry"), required=("matrix",))
    def tasks(make: TaskMaker, parameters: Mapping[str, Any]) -> None:
        given.update(parameters)
        step_component(toy(cached=False), "i:1")(
            data_root=parameters["data_root"], params=parameters["train"], matrix=parameters["matrix"]
        )

    make = TaskMaker(Images(), PROFILES["cpu"], Cluster(), "toy")
    graph = tasks(make, {"data_root": "/data", "train": {"epochs": 2}})
    inputs = graph.component_spec.inputs
    assert list(given) == list(inputs) == ["matrix", "data_root", "train", "registry"]
    assert [inputs[name].default for name in inputs] == [None, "/data", {"epochs": 2}, ""]
    assert inputs["train"].type == "Dict"
    assert inputs["train"].description == "Params of train, as its section of params.yaml."
    assert graph.component_spec.description == "A pipeline."
