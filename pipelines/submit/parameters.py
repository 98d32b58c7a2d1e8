"""Parameters of a run: sections of ``params.yaml``, changed by ``-P key=value``, checked before anything is sent."""

from __future__ import annotations

import difflib
import json
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from epilstm.errors import ParamsError
from epilstm.params import SECTIONS, parse_yaml, read_sections, validate
from epilstm.pipelines.compile.packages import Parameter
from epilstm.pipelines.graphs.defaults import PATH_KEYS, path_parameter

#: String parameters that a section of the params file names, as ``dvc.yaml`` reads them: parameter -> section.
NAMED_IN_SECTION = {key: section for section, keys in PATH_KEYS.items() for key in keys}

#: Parameter that nobody chooses: the hash of the compiled pipeline that is sent.
IR_SHA256 = "ir_sha256"


def run_parameters(
    declared: Mapping[str, Parameter], params_file: Path | None, assignments: Sequence[str], ir_sha256: str = ""
) -> dict[str, Any]:
    """Parameters to send with a run of a pipeline that has the `declared` ones.

    Parameters
    ----------
    params_file : Path, optional
        Params file; without it sections are those the pipeline was compiled with.
    assignments : sequence of str
        ``key=value``, the key either a parameter or, with dots, a key of a section.
    ir_sha256 : str
        Hash of the compiled pipeline that is sent; empty if it is unknown.

    Raises
    ------
    ParamsError
        Unknown, of the wrong type, out of range, or required and absent.
    """
    in_file = read_sections(params_file) if params_file is not None else None
    where = str(params_file) if params_file is not None else "the compiled parameters"
    sections = _starting_sections(declared, in_file)
    plain: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not key:
            raise ParamsError(f"-P {assignment}: expected KEY=VALUE, such as -P train.epochs=3")
        _assign(key, text, declared, sections, plain)
    if assignments:
        where += " with -P"
    models = {name: validate(SECTIONS[name], content, f"{where}: {name}") for name, content in sections.items()}
    if in_file is not None:
        for name in in_file:
            if name not in models:
                content = in_file[name]
                validate(SECTIONS[name], {} if content is None else content, f"{params_file}: {name}")

    sent: dict[str, Any] = {}
    for name, parameter in declared.items():
        if name == IR_SHA256:
            sent |= {name: ir_sha256} if ir_sha256 else {}
        elif name in plain:
            sent[name] = plain[name]
        elif name in NAMED_IN_SECTION and NAMED_IN_SECTION[name] in models:
            sent[name] = path_parameter(getattr(models[NAMED_IN_SECTION[name]], name))
        elif name in models and parameter.type == "STRUCT":
            sent[name] = models[name].model_dump(mode="json")
        elif parameter.required:
            raise ParamsError(f"the pipeline needs {name} ({parameter.type}): give it with -P {name}=...")
    return sent


def _starting_sections(declared: Mapping[str, Parameter], in_file: Mapping[str, Any] | None) -> dict[str, Any]:
    """Content of each section that the pipeline reads, or that names one of its other parameters."""
    read = [name for name in SECTIONS if name in declared and declared[name].type == "STRUCT"]
    if in_file is None:
        return {name: deepcopy(declared[name].default or {}) for name in read}
    naming = [section for name, section in NAMED_IN_SECTION.items() if name in declared]
    contents = {name: in_file.get(name) for name in dict.fromkeys([*read, *naming])}
    return {name: {} if content is None else deepcopy(content) for name, content in contents.items()}


def _assign(
    key: str, text: str, declared: Mapping[str, Parameter], sections: dict[str, Any], plain: dict[str, Any]
) -> None:
    section, dot, rest = key.partition(".")
    if key == IR_SHA256 and key in declared:
        raise ParamsError(f"-P {key}: cannot be given; it is the SHA-256 of the compiled pipeline that is sent")
    if dot and section in sections:
        _set(sections, section, rest.split("."), text)
    elif not dot and key in NAMED_IN_SECTION and key in declared and NAMED_IN_SECTION[key] in sections:
        _set(sections, NAMED_IN_SECTION[key], [key], text)
    elif not dot and key in sections and key in declared:
        content = parse_yaml(text, f"-P {key}")
        if not isinstance(content, dict):
            raise ParamsError(f"-P {key}: a section, expected a mapping such as {{epochs: 3}}, got {text!r}")
        sections[key] = content
    elif not dot and key in declared:
        plain[key] = _plain_value(declared[key], text)
    else:
        raise ParamsError(_unknown(key, declared, sections))


def _set(sections: dict[str, Any], section: str, path: list[str], text: str) -> None:
    content = sections[section]
    for part in path[:-1]:
        if not isinstance(content, dict):
            break
        content = content.setdefault(part, {})
    if not isinstance(content, dict) or not all(path):
        raise ParamsError(f"-P {section}.{'.'.join(path)}: {'.'.join(path[:-1]) or section} has no keys of its own")
    verbatim = _is_text(_annotation(SECTIONS[section], path))
    content[path[-1]] = text if verbatim else parse_yaml(text, f"-P {section}.{'.'.join(path)}")


def _annotation(model: type[BaseModel], path: Sequence[str]) -> Any:
    field = model.model_fields.get(path[0])
    if field is None or len(path) == 1:
        return field.annotation if field else None
    inner = field.annotation
    return _annotation(inner, path[1:]) if isinstance(inner, type) and issubclass(inner, BaseModel) else None


def _is_text(annotation: Any) -> bool:
    """Whether only text can stand there, so that a value such as 38 or yes means the text."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return all(isinstance(value, str) for value in arguments)
    if origin in (typing.Union, types.UnionType):
        return all(_is_text(argument) for argument in arguments)
    return annotation is str


def _plain_value(parameter: Parameter, text: str) -> Any:
    if parameter.type == "STRING":
        return text
    value = parse_yaml(text, f"-P {parameter.name}")
    number = isinstance(value, int | float) and not isinstance(value, bool)
    expected, fits = {
        "NUMBER_INTEGER": ("a whole number", isinstance(value, int) and number),
        "NUMBER_DOUBLE": ("a number", number),
        "BOOLEAN": ("true or false", isinstance(value, bool)),
        "LIST": ("a list such as [1, 2]", isinstance(value, list)),
        "STRUCT": ("a mapping such as {key: value}", isinstance(value, dict)),
    }.get(parameter.type, (parameter.type, False))
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise ParamsError(f"-P {parameter.name}: expected {expected}, got {text!r}")
    return value


def _unknown(key: str, declared: Mapping[str, Parameter], sections: Iterable[str]) -> str:
    structs = [name for name in sections if name in declared]
    plain = [name for name in declared if name not in structs and name != IR_SHA256]
    keys = [*plain, *(f"{name}.{field}" for name in structs for field in SECTIONS[name].model_fields)]
    close = difflib.get_close_matches(key, keys, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return (
        f"-P {key}: the pipeline has no such parameter{hint}; it has {', '.join(plain) or 'no others'}"
        f" and the keys of the sections {', '.join(structs)}"
    )
