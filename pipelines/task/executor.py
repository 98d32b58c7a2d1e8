"""What kfp passes to a task (executor input) and expects of it (executor output, files of output parameters)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from epilstm.errors import ParamsError
from epilstm.files.outputs import write_json


@dataclass
class Executor:
    """Inputs and outputs of a task, as kfp sees them.

    Parameters
    ----------
    parameter_files : mapping of str to Path
        File for the value of each output parameter.
    artifacts : mapping of str to dict
        Output artifacts as kfp describes them: name, uri, type.
    output_file : Path or None
        File for the executor output.
    given : mapping of str to dict
        Metadata of each input artifact.
    """

    parameter_files: Mapping[str, Path]
    artifacts: Mapping[str, dict[str, Any]]
    output_file: Path | None
    given: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    _metadata: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Executor:
        """Read the executor input, protobuf's JSON.

        Raises
        ------
        ParamsError
            It is not JSON or not an executor input.
        """
        try:
            content = json.loads(text)
            outputs, inputs = content.get("outputs", {}), content.get("inputs", {})
            return cls(
                {name: Path(value["outputFile"]) for name, value in outputs.get("parameters", {}).items()},
                {name: value["artifacts"][0] for name, value in outputs.get("artifacts", {}).items()},
                Path(outputs["outputFile"]) if "outputFile" in outputs else None,
                {
                    name: value["artifacts"][0].get("metadata", {})
                    for name, value in inputs.get("artifacts", {}).items()
                    if value.get("artifacts")
                },
            )
        except (ValueError, AttributeError, KeyError, IndexError, TypeError) as error:
            raise ParamsError(
                f"--executor-input is not kfp's executor input ({type(error).__name__}: {error}); "
                "give the placeholder {{$}}"
            ) from error

    def describe(self, artifact: str, metadata: Mapping[str, Any]) -> None:
        """Give an output artifact metadata, if the component declares it."""
        if artifact in self.artifacts:
            self._metadata.setdefault(artifact, {}).update(metadata)

    def set_output(self, parameter: str, value: str | list[str] | dict[str, str]) -> None:
        """Write an output parameter, if the component declares it: text as it is, all else as JSON."""
        if parameter in self.parameter_files:
            path = self.parameter_files[parameter]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")

    def write(self) -> None:
        """Write the executor output: every output artifact, with the metadata that it was given."""
        if self.output_file is None:
            return
        described = {
            name: {"artifacts": [{**artifact, "metadata": self._metadata.get(name, {})}]}
            for name, artifact in self.artifacts.items()
        }
        write_json(self.output_file, {"artifacts": described})


def flat_numbers(metrics: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The finite numbers of nested metrics, named ``outer.inner``: what kfp's UI shows of a Metrics artifact."""
    numbers: dict[str, float] = {}
    for key, value in metrics.items():
        if isinstance(value, Mapping):
            numbers |= flat_numbers(value, f"{prefix}{key}.")
        elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            numbers[f"{prefix}{key}"] = value
    return numbers
