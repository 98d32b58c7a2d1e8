"""The step's command line as a task gets it: the words of `Step.argv`, with kfp's values in the places of paths."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from epilstm.errors import ParamsError
from epilstm.params import SECTIONS, Section, validate
from epilstm.runtime.step_table import STEPS, Step

#: Inputs that are artifacts of kfp: an empty folder says that there is none.
EMPTY_FOR_NONE = ("champion",)


@dataclass(frozen=True)
class StepLine:
    """A step's line, taken apart.

    Parameters
    ----------
    params : Section
        The step's section, validated.
    values : dict of str to str
        Value of each port that was given one.
    flags : tuple of str
        Switches that were set.
    part : str or None
        Part to do.
    """

    step: Step
    params: Section
    values: dict[str, str]
    flags: tuple[str, ...] = ()
    part: str | None = None

    @classmethod
    def parse(cls, words: Sequence[str]) -> StepLine:
        """Take a line apart; a value that is empty, or a folder of `EMPTY_FOR_NONE` that is, counts as not given.

        Raises
        ------
        ParamsError
            It is not the line of a step, or its params are unusable.
        """
        if len(words) < 2 or words[0] != "epilstm" or words[1] not in STEPS:
            raise ParamsError(
                f"expected '-- epilstm STEP ...', got {' '.join(words[:2])!r}; steps are {', '.join(STEPS)}"
            )
        step = STEPS[words[1]]
        ports = {port.name for port in (*step.inputs, *step.outputs, *step.work)}
        switches = {name for name, _ in step.flags}
        values: dict[str, str] = {}
        flags = []
        left = list(words[2:])
        while left:
            word = left.pop(0)
            name = word.removeprefix("--")
            if word.startswith("--") and name in switches:
                flags.append(name)
            elif word.startswith("--") and name in {*ports, "params", "part"} and left:
                values[name] = left.pop(0)
            else:
                raise ParamsError(f"step {step.name}: {word!r} is no option of it, or has no value")
        values = {name: value for name, value in values.items() if value}
        for port in step.inputs:
            if port.name in EMPTY_FOR_NONE and _is_empty(values.get(port.name, "")):
                values.pop(port.name, None)
        section = parse_section(step.name, values.pop("params", "{}"))
        part = values.pop("part", None)
        needed = [*step.inputs, *(step.outputs if part is None else ())]
        for port in needed:
            if not port.optional and port.name not in values:
                raise ParamsError(f"step {step.name}: --{port.name} is required: {port.help}")
        return cls(step, section, values, tuple(flags), part)


def _is_empty(folder: str) -> bool:
    """Whether an artifact is an empty folder, of which kfp's store keeps nothing at all."""
    return folder.startswith("/") and not (Path(folder).is_dir() and any(Path(folder).iterdir()))


def parse_section(name: str, text: str) -> Section:
    """A params section from JSON.

    Numbers in a protobuf Struct are all floating-point; whole ones are taken as integers again, which every
    floating-point parameter accepts.

    Raises
    ------
    ParamsError
        Not JSON, an unknown key, a wrong type or a value out of range.
    """
    try:
        content = json.loads(text)
    except ValueError as error:
        raise ParamsError(f"--params of {name} is not JSON: {error}") from error
    return validate(SECTIONS[name], with_integers(content), name)


def with_integers(value: Any) -> Any:
    """A JSON value in which whole numbers are integers: a protobuf Struct has floating-point numbers alone."""
    if isinstance(value, dict):
        return {key: with_integers(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [with_integers(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
