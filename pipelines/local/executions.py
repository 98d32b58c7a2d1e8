"""One execution of a task: its folder, what it is given, what it left, and whether an earlier one did the same."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from epilstm.errors import DataError, PipelineError
from epilstm.files.completion import complete_facts, mark_complete
from epilstm.files.outputs import read_json, remove, sha256_json
from epilstm.pipelines.local.parameter_values import from_text
from epilstm.pipelines.local.resolution import Artifact, Spec, Values

#: Files of an execution's folder, beside its artifacts.
EXECUTOR_INPUT, EXECUTOR_OUTPUT, PARAMETERS = "executor_input.json", "executor_output.json", "output_parameters"


@dataclass(frozen=True)
class Retry:
    """Further attempts of a task that failed.

    Parameters
    ----------
    seconds, factor, longest : float
        Wait before the first of them, by what it is multiplied each time, and its bound.
    """

    times: int = 0
    seconds: float = 0.0
    factor: float = 2.0
    longest: float = 3600.0

    @classmethod
    def of(cls, task: Spec) -> Retry:
        """The policy of a task."""
        policy = task.get("retryPolicy", {})
        longest = float(str(policy.get("backoffMaxDuration", "3600s")).rstrip("s"))
        return cls(
            int(policy.get("maxRetryCount", 0)),
            float(str(policy.get("backoffDuration", "0s")).rstrip("s")),
            float(policy.get("backoffFactor", 2.0)),
            longest,
        )

    def wait(self, failed: int) -> float:
        """Seconds to wait after so many attempts failed."""
        return min(self.seconds * self.factor ** (failed - 1), self.longest)


@dataclass(frozen=True)
class Execution:
    """A task that runs in a container on a cluster, with its inputs.

    Parameters
    ----------
    name : str
        Unique in a run, such as ``for-loop-1.0.ingest-part``.
    task : str
        Its name in the pipeline.
    label : str
        As users read it.
    component : mapping
        From the IR.
    executor : str
        Name of what runs it, without its prefix.
    container : mapping
        Image, command, arguments and variables.
    words : list of str
        Command line with the values of parameters; placeholders of paths are left.
    cached : bool
        An earlier execution may be taken in its place.
    """

    name: str
    task: str
    label: str
    component: Spec
    executor: str
    container: Spec
    words: list[str]
    inputs: Values
    cached: bool
    retry: Retry = field(default_factory=Retry)

    @property
    def key(self) -> str:
        """What Kubeflow Pipelines keys its cache by, as 16 hexadecimal digits.

        Inputs, of artifacts the names; outputs; image; command line with its placeholders.
        """
        artifacts = {name: [each.name for each in given] for name, given in self.inputs.artifacts.items()}
        declared = self.component.get("outputDefinitions", {})
        words = [*self.container.get("command", ()), *self.container.get("args", ())]
        content = [artifacts, dict(self.inputs.parameters), declared, self.container["image"], words]
        return sha256_json(content)[:16]

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables that the pipeline sets."""
        return {each["name"]: str(each.get("value", "")) for each in self.container.get("env", ())}


@dataclass(frozen=True)
class TaskFolder:
    """Where one execution works and leaves its artifacts; marked as complete when it has ended well.

    Parameters
    ----------
    path : Path
        Beside it is the log, which is not cleared between attempts.
    """

    path: Path

    @property
    def log(self) -> Path:
        """What the task writes to standard output and standard error."""
        return self.path.with_name(f"{self.path.name}.log")

    def outputs(self) -> Values | None:
        """Outputs of the execution that ended well here.

        None where there is none, files are missing or damaged, or the folder was moved, and its paths with it.
        """
        facts = complete_facts(self.path)
        return Values.parse(facts["outputs"]) if facts is not None and facts["folder"] == str(self.path) else None

    def clear(self) -> None:
        """Remove what a failed attempt left, which may fill the disk; the log stays."""
        with suppress(OSError):
            remove(self.path)

    def begin(self, execution: Execution) -> dict[str, Any]:
        """Clear the folder for an attempt; returns the executor input, in the form that kfp documents."""
        remove(self.path)
        (self.path / PARAMETERS).mkdir(parents=True)
        declared = execution.component.get("outputDefinitions", {})
        artifacts = {
            name: {
                "artifacts": [Artifact(str(self.path / name), about["artifactType"], str(self.path / name)).as_json()]
            }
            for name, about in declared.get("artifacts", {}).items()
        }
        given = execution.inputs.as_json()
        content = {
            "inputs": {
                "parameterValues": given["parameters"],
                "artifacts": {name: {"artifacts": each} for name, each in given["artifacts"].items()},
            },
            "outputs": {
                "parameters": {
                    name: {"outputFile": str(self.path / PARAMETERS / name)} for name in declared.get("parameters", {})
                },
                "artifacts": artifacts,
                "outputFile": str(self.path / EXECUTOR_OUTPUT),
            },
        }
        (self.path / EXECUTOR_INPUT).write_text(json.dumps(content, indent=2), encoding="utf-8")
        return content

    def finish(self, execution: Execution, executor_input: Mapping[str, Any]) -> Values:
        """Read the outputs of an attempt that ended well, and mark the folder as complete.

        Raises
        ------
        PipelineError
            An output parameter is missing or of another type, or the executor output cannot be read.
        """
        outputs = read_outputs(execution, executor_input)
        mark_complete(self.path, {"folder": str(self.path), "outputs": outputs.as_json()})
        return outputs


def read_outputs(execution: Execution, executor_input: Mapping[str, Any]) -> Values:
    """What a task left: output parameters from their files, artifacts as its executor output describes them.

    Raises
    ------
    PipelineError
        An output parameter is missing or of another type, or the executor output cannot be read.
    """
    given = executor_input["outputs"]
    described = _executor_output(Path(given["outputFile"]))
    declared = execution.component.get("outputDefinitions", {})
    parameters: dict[str, Any] = {}
    for name, about in declared.get("parameters", {}).items():
        if name in described.get("parameterValues", {}):
            parameters[name] = described["parameterValues"][name]
            continue
        file, kind = Path(given["parameters"][name]["outputFile"]), about["parameterType"]
        try:
            parameters[name] = from_text(file.read_text(encoding="utf-8"), kind)
        except FileNotFoundError:
            if not about.get("isOptional"):
                raise PipelineError(f"it ended well, and wrote no output {name} ({file})") from None
        except (ValueError, KeyError):
            raise PipelineError(f"its output {name} is no {kind} ({file})") from None
    artifacts: dict[str, Sequence[Artifact]] = {}
    for name, each in given["artifacts"].items():
        [planned] = each["artifacts"]
        found = described.get("artifacts", {}).get(name, {}).get("artifacts") or [{}]
        metadata = {**planned["metadata"], **found[0].get("metadata", {})}
        artifacts[name] = [Artifact(planned["name"], planned["type"], found[0].get("uri") or planned["uri"], metadata)]
    return Values(parameters, artifacts)


def _executor_output(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        content = read_json(path)
    except DataError as error:
        raise PipelineError(f"its executor output cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise PipelineError(f"its executor output is no JSON object ({path})")
    return content


def imported(executor: Spec, inputs: Values, component: Spec) -> Values:
    """Outputs of an importer: the artifact that is at a path.

    Raises
    ------
    PipelineError
        It is at no path of this machine.
    """
    importer = executor["importer"]
    uri = str(inputs.parameters.get("uri") or importer["artifactUri"].get("constant", ""))
    if "://" in uri or not Path(uri).exists():
        raise PipelineError(f"importer: {uri}: no such file or folder here; a local run imports paths of this machine")
    [name] = component["outputDefinitions"]["artifacts"]
    return Values({}, {name: [Artifact(uri, importer["typeSchema"], uri, dict(importer.get("metadata", {})))]})
