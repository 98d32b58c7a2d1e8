"""Command lines of tasks: placeholders filled in as the driver and the launcher of Kubeflow Pipelines fill them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from epilstm.errors import PipelineError
from epilstm.pipelines.local.parameter_values import as_json, as_text

_PLACEHOLDER = re.compile(r"\{\{\$(?:\.[^{}]*)?\}\}")
_PARAMETER = re.compile(r"\{\{\$\.inputs\.parameters\['([^']+)'\]\}\}")


def with_parameters(words: Sequence[str], parameters: Mapping[str, Any], where: str) -> list[str]:
    """Words with the values of input parameters; placeholders of paths are left.

    Parameters
    ----------
    words : sequence of str
        ``command`` and ``args`` of a container.
    where : str
        How errors begin.

    Raises
    ------
    PipelineError
        A parameter has no value.
    """

    def value(found: re.Match[str]) -> str:
        if found[1] not in parameters:
            raise PipelineError(f"{where}: input {found[1]} has no value, and the command line needs it")
        return as_text(parameters[found[1]])

    return [_PARAMETER.sub(value, word) for word in _chosen(words, set(parameters))]


def with_paths(
    words: Sequence[str], executor_input: Mapping[str, Any], about: Mapping[str, str], where: str
) -> list[str]:
    """Words with everything else: the executor input, paths and addresses of artifacts, files of output parameters.

    Parameters
    ----------
    words : sequence of str
        From `with_parameters`.
    executor_input : mapping
        What the task is given, in the form that kfp documents.
    about : mapping of str to str
        Values of placeholders about the run, such as ``pipeline_job_uuid``.
    where : str
        How errors begin.

    Raises
    ------
    PipelineError
        A placeholder is unknown.
    """
    values = {"{{$}}": as_json(executor_input)} | {f"{{{{$.{name}}}}}": value for name, value in about.items()}
    inputs, outputs = executor_input["inputs"], executor_input["outputs"]
    for role, found in (("inputs", inputs["artifacts"]), ("outputs", outputs["artifacts"])):
        for name, given in found.items():
            for form in ("path", "uri"):
                if given["artifacts"]:
                    values[f"{{{{$.{role}.artifacts['{name}'].{form}}}}}"] = given["artifacts"][0]["uri"]
    for name, given in outputs["parameters"].items():
        values[f"{{{{$.outputs.parameters['{name}'].output_file}}}}"] = given["outputFile"]
    values["{{$.outputs.output_file}}"] = outputs["outputFile"]

    def value(found: re.Match[str]) -> str:
        if found[0] not in values:
            raise PipelineError(f"{where}: the placeholder {found[0]} is not supported by a local run")
        return values[found[0]]

    return [_PLACEHOLDER.sub(value, word) for word in words]


def _chosen(words: Sequence[Any], given: set[str]) -> list[str]:
    """Words with ``IfPresent`` and ``Concat`` resolved by which inputs are given."""
    chosen: list[str] = []
    for word in words:
        content = word if isinstance(word, dict) else _structure(word)
        if content is None:
            chosen.append(word)
        elif "Concat" in content:
            chosen.append("".join(_chosen(content["Concat"], given)))
        else:
            choice = content["IfPresent"]
            branch = choice.get("Then") if choice["InputName"] in given else choice.get("Else")
            chosen += _chosen(branch if isinstance(branch, list) else [] if branch is None else [branch], given)
    return chosen


def _structure(word: str) -> dict[str, Any] | None:
    if not word.startswith(('{"Concat": ', '{"IfPresent": ')):
        return None
    content: dict[str, Any] = json.loads(word)
    return content
