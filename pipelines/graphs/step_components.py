"""One container component per step, made from the step table.

A component runs ``epilstm task run ... -- LINE``, where LINE is the step's own command line with kfp's placeholders in
the places of its paths. `epilstm.pipelines.task` turns these into paths and reports the step's outputs to kfp.
"""

# kfp reads annotations as objects: no `from __future__ import annotations` here.
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kfp import dsl
from kfp.dsl.container_component_class import ContainerComponent

from epilstm.pipelines.lifecycle import VERDICT
from epilstm.runtime.step_table import STEPS, Port, Step

#: Datasets too big for kfp to carry: their URIs travel as parameters, their manifests as artifacts.
BULK_KINDS = {"signal", "matrix", "embeddings"}

#: Artifacts by the kind of a port.
ARTIFACTS: dict[str, type[dsl.Artifact]] = {
    "model": dsl.Model,
    "encoder": dsl.Model,
    "evaluation": dsl.Artifact,
    "csv": dsl.Dataset,
    "html": dsl.HTML,
    "markdown": dsl.Markdown,
    "metrics": dsl.Metrics,
}

#: Steps whose outputs kfp may take from its cache; the code that made them, as the plan reports it, is in its key.
CACHED = tuple(name for name, step in STEPS.items() if step.cached)


@dataclass(frozen=True)
class Form:
    """How a step runs in a pipeline.

    Parameters
    ----------
    part : bool
        One part of the work, named by the parameter ``part``, instead of all of it.
    inputs : collection of str
        Optional inputs that are given.
    by_path : collection of str
        Models and encoders given by their path under the data root or their URI, not as artifacts; with their
        version, since the content of a path may change.
    processes : int
        Processes on the pod's accelerators.
    launcher : str
        Command that runs the step's line elsewhere; empty to run it in the pod.
    """

    part: bool = False
    inputs: Collection[str] = ()
    by_path: Collection[str] = ()
    processes: int = 1
    launcher: str = ""


WHOLE = Form()

POSITIONAL = inspect.Parameter.POSITIONAL_OR_KEYWORD


def step_component(step: Step, image: str, form: Form = WHOLE) -> ContainerComponent:
    """The container component of a step.

    Parameters
    ----------
    step : Step
        From the step table.
    image : str
        Reference of the image.
    form : Form
        How it runs.

    Returns
    -------
    ContainerComponent
        Parameters ``data_root``, ``params`` and one input per input port; outputs by the names of output ports.
    """
    inputs = [port for port in step.inputs if not port.optional or port.name in _GIVEN | set(form.inputs)]
    outputs = [] if form.part else list(step.outputs)
    fixed = {port.name: f"cache/{step.name}" for port in step.work}
    fixed |= {port.name: port.place for port in outputs if port.place}
    versions = (*step.versions, *(f"{name}_version" for name in form.by_path))

    annotations: dict[str, Any] = {"data_root": str, "params": dict}
    annotations |= {port.name: _input_annotation(port, form) for port in inputs}
    annotations |= dict.fromkeys(versions, str)
    if step.cached:
        annotations |= {"code": str}
    if form.part:
        annotations |= {"part": str, "done": dsl.OutputPath(str)}
    for port in outputs:
        annotations |= _output_annotations(port)

    def container(**given: Any) -> dsl.ContainerSpec:
        paths = dict(fixed)
        for port in (*inputs, *outputs):
            if port.name not in fixed:
                value = given[port.name]
                paths[port.name] = value.path if _is_artifact(annotations[port.name]) else value
        wrapper: list[Any] = [
            "--data-root",
            given["data_root"],
            "--executor-input",
            dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER,
        ]
        for port in outputs:
            if port.kind in BULK_KINDS:
                wrapper += ["--manifest", given[f"{port.name}_manifest"].path]
        if form.launcher:
            wrapper += ["--launcher", form.launcher]
        elif form.processes > 1:
            wrapper += ["--processes", str(form.processes)]
        if step.cached:
            wrapper += ["--code", given["code"]]
        for name in versions:
            wrapper += ["--version-of", f"{name}={given[name]}"]
        # A pod that is started again resumes. Drift is a verdict to branch on here, no failure.
        resume = tuple(flag for flag, _ in step.flags if flag == "resume")
        line = step.argv(given["params"], paths, resume, given["part"] if form.part else None)
        return dsl.ContainerSpec(image=image, command=["epilstm", "task", "run"], args=[*wrapper, "--", *line])

    name = f"{step.name}-part" if form.part else step.name
    return component_of(name, f"{step.summary} {_PART_TEXT if form.part else ''}".strip(), annotations, container)


def plan_component(image: str, also: Collection[str]) -> ContainerComponent:
    """The container component of the plan, which inspects the data before the steps.

    Parameters
    ----------
    image : str
        Reference of the image.
    also : collection of str
        What it inspects besides the tracks: ``tasks`` and ``labels``, to be evaluated on, or an ``encoder``.

    Returns
    -------
    ContainerComponent
        Outputs ``ingest_parts`` (the shards of the tracks) and ``genome_groups`` (the groups of chromosomes),
        both empty where one task does all the work, ``data_version``, for what it also inspects ``labels_version`` and
        ``encoder_version``, the fingerprint of the image's code of each step in `CACHED` (``train_code``), and all of
        these as ``code``.
    """
    files = ["samplesheet", "regions", "blacklist", *also]
    annotations: dict[str, Any] = {"data_root": str, "params": dict, "ingest_shards": int, "genome_parts": int}
    annotations |= dict.fromkeys(files, str)
    annotations |= {"ingest_parts": dsl.OutputPath(list), "genome_groups": dsl.OutputPath(list)}
    annotations |= {"data_version": dsl.OutputPath(str)}
    versions = [f"{name}_version" for name in ("labels", "encoder") if name in also]
    annotations |= dict.fromkeys([*versions, *(f"{name}_code" for name in CACHED)], dsl.OutputPath(str))
    annotations |= {"code": dsl.OutputPath(dict)}

    def container(**given: Any) -> dsl.ContainerSpec:
        arguments = ["--data-root", given["data_root"]]
        arguments += ["--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER]
        arguments += ["--params", given["params"], "--ingest-shards", given["ingest_shards"]]
        arguments += ["--genome-parts", given["genome_parts"]]
        for name in files:
            arguments += [f"--{name}", given[name]]
        return dsl.ContainerSpec(image=image, command=["epilstm", "task", "plan"], args=arguments)

    return component_of(
        "plan", "Look at the data: how work is shared out, and which version they are.", annotations, container
    )


_PART_TEXT = "One part of it, into the work folder."

#: Optional inputs that every pipeline gives; the empty string, or an empty folder, stands for none.
_GIVEN = {"regions", "blacklist", "embeddings", "tasks", "labels", "evaluation", "champion"}


def _input_annotation(port: Port, form: Form) -> Any:
    kind = port.shown_as or port.kind
    return dsl.Input[ARTIFACTS[kind]] if kind in ARTIFACTS and port.name not in form.by_path else str


def _output_annotations(port: Port) -> Mapping[str, Any]:
    """Outputs of the component that an output of the step becomes, with what is reported about it."""
    if port.place:
        return {port.name: dsl.OutputPath(str)}
    if port.kind in BULK_KINDS:
        return {port.name: dsl.OutputPath(str), f"{port.name}_manifest": dsl.Output[dsl.Dataset]}
    outputs: dict[str, Any] = {port.name: dsl.Output[ARTIFACTS.get(port.shown_as or port.kind, dsl.Artifact)]}
    if port.kind == "evaluation":
        outputs["classification"] = dsl.Output[dsl.ClassificationMetrics]
    if port.verdict:
        outputs["verdict"] = dsl.OutputPath(str)
    return outputs


def _is_artifact(annotation: Any) -> bool:
    return hasattr(annotation, "__metadata__")


def component_of(
    name: str, summary: str, annotations: Mapping[str, Any], container: Callable[..., dsl.ContainerSpec]
) -> ContainerComponent:
    """What ``@dsl.container_component`` makes of a function with these parameters; ``verdict`` becomes `VERDICT`."""
    parameters = [inspect.Parameter(key, POSITIONAL, annotation=annotation) for key, annotation in annotations.items()]
    component = dsl.container_component(with_signature(name, summary, parameters, container))
    outputs = component.component_spec.outputs or {}
    if "verdict" in outputs:  # kfp lets no parameter of a function be called so
        outputs[VERDICT] = outputs.pop("verdict")
    return component


def with_signature(
    name: str, doc: str, parameters: Sequence[inspect.Parameter], function: Callable[..., Any]
) -> Callable[..., Any]:
    """A function as kfp reads it, with parameters from a table; `function` takes them by name."""

    def build(*values: Any) -> Any:
        return function(**dict(zip((parameter.name for parameter in parameters), values, strict=True)))

    build.__name__ = name.replace("-", "_")
    build.__doc__ = doc
    build.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return build
