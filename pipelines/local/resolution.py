"""What each task of a compiled pipeline is given: inputs, items of loops, outputs of what tasks consist of.

Pure functions over the pipeline's IR (intermediate representation), which resolve as the driver of Kubeflow Pipelines
does. A run calls them (`epilstm.pipelines.local.scheduler`); what processes do is no part of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from epilstm.errors import PipelineError
from epilstm.pipelines.local.parameter_values import as_type, selected, whole

Spec = Mapping[str, Any]


@dataclass(frozen=True)
class Artifact:
    """A file or folder that tasks hand on.

    Parameters
    ----------
    name : str
        Identity: two executions never make artifacts of the same name.
    type : dict
        Schema, as the IR has it.
    uri : str
        Where it is; a path, for what a local run made.
    metadata : dict
        What its maker reported about it.
    """

    name: str
    type: Mapping[str, Any]
    uri: str
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """As tasks read it."""
        return asdict(self)


@dataclass(frozen=True)
class Values:
    """Parameters and artifacts by name: the inputs of a task, or its outputs."""

    parameters: Mapping[str, Any] = field(default_factory=dict)
    artifacts: Mapping[str, Sequence[Artifact]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """As kept with a finished task."""
        artifacts = {name: [each.as_json() for each in given] for name, given in self.artifacts.items()}
        return {"parameters": dict(self.parameters), "artifacts": artifacts}

    @classmethod
    def parse(cls, content: Mapping[str, Any]) -> Values:
        """What `as_json` gave."""
        artifacts = {name: [Artifact(**each) for each in given] for name, given in content["artifacts"].items()}
        return cls(content["parameters"], artifacts)


def component_of(spec: Spec, task: Spec) -> Spec:
    """The component that a task runs."""
    component: Spec = spec["components"][task["componentRef"]["name"]]
    return component


def executor_of(spec: Spec, component: Spec) -> Spec | None:
    """What runs a component; None where it consists of tasks."""
    label = component.get("executorLabel")
    executor: Spec | None = spec["deploymentSpec"]["executors"][label] if label else None
    return executor


def title_of(name: str, task: Spec) -> str:
    """A task's name as users read it."""
    return str(task.get("taskInfo", {}).get("name") or name)


def waits_for(task: Spec) -> set[str]:
    """Names of the tasks that a task starts after."""
    given = task.get("inputs", {})
    sources = [*given.get("parameters", {}).values(), *given.get("artifacts", {}).values()]
    producers = {each["producerTask"] for source in sources for each in source.values() if "producerTask" in each}
    return producers | set(task.get("dependentTasks", ()))


def root_inputs(spec: Spec, given: Mapping[str, Any]) -> Values:
    """Inputs of a pipeline: parameters that are given, and defaults of the others.

    Raises
    ------
    PipelineError
        One is unknown, missing or of another type.
    """
    declared = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    unknown = sorted(set(given) - set(declared))
    if unknown:
        raise PipelineError(f"the pipeline has no parameter {unknown[0]!r}; it has {', '.join(declared)}")
    return _completed(spec["root"], dict(given), {}, "the pipeline")


def task_inputs(name: str, task: Spec, component: Spec, around: Values, outputs: Mapping[str, Values]) -> Values:
    """Inputs of a task.

    Parameters
    ----------
    task, component : mapping
        The task's specification, and its component's.
    around : Values
        Inputs of what the task is part of.
    outputs : mapping of str to Values
        Outputs of the tasks beside it that have ended, by name.

    Raises
    ------
    PipelineError
        An input cannot be resolved, or has another type.
    """
    where = f"task {name}"
    given = task.get("inputs", {})
    parameters = {}
    for key, source in given.get("parameters", {}).items():
        found = _parameter(source, around, outputs, f"{where}: input {key}")
        if found is not _ABSENT:
            parameters[key] = found
    artifacts = {}
    for key, source in given.get("artifacts", {}).items():
        if "taskOutputArtifact" in source:
            output = source["taskOutputArtifact"]
            artifacts[key] = outputs.get(output["producerTask"], Values()).artifacts.get(output["outputArtifactKey"])
        elif "componentInputArtifact" in source:
            artifacts[key] = around.artifacts.get(source["componentInputArtifact"])
        else:
            raise PipelineError(f"{where}: input {key}: {', '.join(source)} is not supported by a local run")
    found_artifacts = {key: value for key, value in artifacts.items() if value is not None}
    return _completed(component, parameters, found_artifacts, where, _iterated(task))


def iterations(name: str, task: Spec, inputs: Values) -> list[Values] | None:
    """Inputs of each iteration of a task that is a loop; None for one that is none.

    Parameters
    ----------
    inputs : Values
        Of the task.

    Raises
    ------
    PipelineError
        What it iterates over is no list.
    """
    if "artifactIterator" in task:
        loop = task["artifactIterator"]
        source = loop["items"]["inputArtifact"]
        others = {key: value for key, value in inputs.artifacts.items() if key != source}
        return [Values(inputs.parameters, {**others, loop["itemInput"]: [item]}) for item in inputs.artifacts[source]]
    if "parameterIterator" not in task:
        return None
    loop = task["parameterIterator"]
    source = loop["items"].get("inputParameter")
    items = inputs.parameters.get(source) if source else whole(json.loads(loop["items"]["raw"]))
    if not isinstance(items, list):
        raise PipelineError(f"task {name}: iterates over {items!r:.80}, which is no list")
    fixed = {key: value for key, value in inputs.parameters.items() if key != source}
    return [Values({**fixed, loop["itemInput"]: item}, inputs.artifacts) for item in items]


def dag_outputs(component: Spec, outputs: Mapping[str, Values]) -> Values:
    """Outputs of a component that consists of tasks; those of tasks that did not run are absent.

    Parameters
    ----------
    outputs : mapping of str to Values
        Outputs of its tasks that ran, by name.
    """
    declared = component["dag"].get("outputs", {})
    parameters: dict[str, Any] = {}
    for key, source in declared.get("parameters", {}).items():
        one = source.get("valueFromParameter")
        for selector in [one] if one else source["valueFromOneof"]["parameterSelectors"]:
            made = outputs.get(selector["producerSubtask"], Values()).parameters
            if key not in parameters and selector["outputParameterKey"] in made:
                parameters[key] = made[selector["outputParameterKey"]]
    artifacts: dict[str, Sequence[Artifact]] = {}
    for key, source in declared.get("artifacts", {}).items():
        found = [
            artifact
            for selector in source["artifactSelectors"]
            for artifact in outputs.get(selector["producerSubtask"], Values()).artifacts.get(
                selector["outputArtifactKey"], ()
            )
        ]
        if found:
            artifacts[key] = found
    return Values(parameters, artifacts)


def collected(each: Sequence[Values]) -> Values:
    """Outputs of a loop: of each output the list over the iterations that made it; nothing, where there were none."""
    parameters: dict[str, list[Any]] = {}
    artifacts: dict[str, list[Artifact]] = {}
    for values in each:
        for key, value in values.parameters.items():
            parameters.setdefault(key, []).append(value)
        for key, found in values.artifacts.items():
            artifacts.setdefault(key, []).extend(found)
    return Values(parameters, artifacts)


def check_supported(spec: Spec) -> None:
    """Refuse what a local run does not do as a cluster does.

    Raises
    ------
    PipelineError
        Names the task and what is not supported.
    """
    for name, task in all_tasks(spec):
        component = component_of(spec, task)
        selectors = component.get("dag", {}).get("outputs", {}).get("parameters", {}).values()
        inner = component.get("dag", {}).get("tasks", {})
        producers = {source.get("valueFromParameter", {}).get("producerSubtask") for source in selectors}
        loops = {each for each in producers if each and _iterated(inner[each])}
        if _iterated(task) and loops:
            raise PipelineError(f"task {name}: collects outputs of a loop in a loop, which a local run does not do")
        for key, source in task.get("inputs", {}).get("parameters", {}).items():
            if "taskFinalStatus" in source:
                raise PipelineError(f"task {name}: input {key} is a task's final status, which a local run has not")


def all_tasks(spec: Spec) -> list[tuple[str, Spec]]:
    """Tasks at every depth, by name; those of a component that several use once."""
    dags = [spec["root"], *spec.get("components", {}).values()]
    return [item for component in dags for item in component.get("dag", {}).get("tasks", {}).items()]


_ABSENT = object()


def _parameter(source: Spec, around: Values, outputs: Mapping[str, Values], where: str) -> Any:
    if "runtimeValue" in source:
        value = source["runtimeValue"].get("constant", _ABSENT)
        if value is _ABSENT:
            raise PipelineError(f"{where}: a value that is no constant is not supported by a local run")
    elif "componentInputParameter" in source:
        value = around.parameters.get(source["componentInputParameter"], _ABSENT)
    elif "taskOutputParameter" in source:
        output = source["taskOutputParameter"]
        made = outputs.get(output["producerTask"], Values()).parameters
        value = made.get(output["outputParameterKey"], _ABSENT)
        if value is _ABSENT:
            raise PipelineError(f"{where}: {output['producerTask']} made no {output['outputParameterKey']}")
    else:
        raise PipelineError(f"{where}: {', '.join(source)} is not supported by a local run")
    if value is not _ABSENT and "parameterExpressionSelector" in source:
        value = selected(value, source["parameterExpressionSelector"], where)
    return value


def _completed(
    component: Spec,
    parameters: dict[str, Any],
    artifacts: Mapping[str, Sequence[Artifact]],
    where: str,
    provided: str | None = None,
) -> Values:
    """Inputs converted to the component's types, with its defaults; `provided` is the input that a loop provides."""
    declared = component.get("inputDefinitions", {})
    values = {}
    for key, about in declared.get("parameters", {}).items():
        if key in parameters:
            values[key] = as_type(parameters[key], about["parameterType"], f"{where}: input {key}")
        elif "defaultValue" in about:
            values[key] = whole(about["defaultValue"])
        elif key != provided and not about.get("isOptional"):
            raise PipelineError(f"{where}: input {key} has no value")
    for key, about in declared.get("artifacts", {}).items():
        if key not in artifacts and key != provided and not about.get("isOptional"):
            raise PipelineError(f"{where}: input artifact {key} was not made")
    return Values(values, artifacts)


def _iterated(task: Spec) -> str | None:
    """The input that a loop provides to its iterations; None for a task that is no loop."""
    loop = task.get("parameterIterator") or task.get("artifactIterator")
    return str(loop["itemInput"]) if loop else None
