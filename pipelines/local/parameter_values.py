"""Values of parameters: between the types of a compiled pipeline, and as text, in the way of Kubeflow Pipelines.

Its driver and launcher are written in Go and keep every number as a double. Here whole numbers are int.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from epilstm.errors import PipelineError

_NUMBERS = ("NUMBER_INTEGER", "NUMBER_DOUBLE")
_SELECTED = re.compile(r'parseJson\(string_value\)\["([^"]+)"\]')


def whole(value: Any) -> Any:
    """A value in which whole numbers are int, at any depth."""
    if isinstance(value, Mapping):
        return {key: whole(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [whole(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def as_text(value: Any) -> str:
    """A value as a word of a command line: text as it is, numbers in decimal notation, lists and mappings as JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _decimal(value)
    return as_json(value)


def as_json(value: Any) -> str:
    """A value as JSON without blanks and with sorted keys, as Go writes it."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{as_json(str(key))}:{as_json(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(as_json, value)) + "]"
    if isinstance(value, str):
        text = json.dumps(value, ensure_ascii=False)
        return re.sub("[<>&\u2028\u2029]", lambda found: f"\\u{ord(found[0]):04x}", text)
    if isinstance(value, float) and value and not 1e-6 <= abs(value) < 1e21:
        mantissa, _, exponent = f"{Decimal(repr(value)):e}".partition("e")
        return f"{mantissa}e{'-' if int(exponent) < 0 else '+'}{abs(int(exponent))}"
    return _decimal(value) if isinstance(value, float) else json.dumps(value)


def _decimal(value: float) -> str:
    text = f"{Decimal(repr(value)):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def from_text(text: str, kind: str) -> Any:
    """The value that a text stands for, such as that of an output parameter's file.

    Parameters
    ----------
    kind : str
        Type of the parameter, such as ``LIST``.

    Raises
    ------
    ValueError
        It stands for no value of this type.
    """
    if kind == "STRING":
        return text
    if kind in _NUMBERS:
        number = float(text)
        if not math.isfinite(number) or (kind == "NUMBER_INTEGER" and not number.is_integer()):
            raise ValueError(text)
        return whole(number)
    if kind == "BOOLEAN":
        return {"true": True, "false": False}[text.strip().lower()]
    value = whole(json.loads(text))
    if not isinstance(value, {"LIST": list, "STRUCT": dict}.get(kind, object)):
        raise ValueError(text)
    return value


def as_type(value: Any, kind: str, where: str) -> Any:
    """A value as an input of a type takes it: anything becomes text for ``STRING``, text is parsed for the others.

    Raises
    ------
    PipelineError
        It does not fit; the message begins with `where`.
    """
    if kind == "STRING":
        return as_text(value)
    try:
        if isinstance(value, str):
            return from_text(value, kind)
    except (ValueError, KeyError):
        raise PipelineError(f"{where}: expected {kind}, got {value!r:.80}") from None
    expected: dict[str, Any] = {"BOOLEAN": bool, "LIST": list, "STRUCT": dict}
    fits = isinstance(value, expected.get(kind, int | float)) and (kind == "BOOLEAN" or not isinstance(value, bool))
    if not fits:
        raise PipelineError(f"{where}: expected {kind}, got {value!r:.80}")
    return whole(value)


def selected(value: Any, expression: str, where: str) -> Any:
    """A field of a mapping, as a loop over mappings gives it to a task.

    Raises
    ------
    PipelineError
        The expression is not of the form ``parseJson(string_value)["field"]``, or there is no such field.
    """
    found = _SELECTED.fullmatch(expression)
    if found is None:
        raise PipelineError(f'{where}: {expression!r} is not supported; expected parseJson(string_value)["field"]')
    content = json.loads(value) if isinstance(value, str) else value
    if not isinstance(content, Mapping) or found[1] not in content:
        raise PipelineError(f"{where}: {content!r:.80} has no field {found[1]!r}")
    return content[found[1]]
