"""Conditions of a compiled pipeline: the part of CEL (Common Expression Language) that kfp's compiler writes.

Comparisons of inputs with inputs or constants, each perhaps inside ``!(...)``, joined by ``&&``. Everything else is
refused, so that nothing is evaluated otherwise than on a cluster.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from epilstm.errors import PipelineError

_TOKEN = re.compile(
    r"\s*(?:(?P<input>inputs\.parameter_values\['(?P<name>[^']*)'\])|(?P<text>'[^'\\]*')|(?P<number>-?\d+(\.\d+)?([eE][+-]?\d+)?)"
    r"|(?P<word>true|false|int|double)\b|(?P<sign>&&|==|!=|<=|>=|<|>|!|\(|\)))"
)
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def is_met(condition: str, parameters: Mapping[str, Any]) -> bool:
    """Whether a condition is met.

    Parameters
    ----------
    condition : str
        Of a task's trigger policy.
    parameters : mapping of str to Any
        The task's resolved input parameters.

    Raises
    ------
    PipelineError
        The condition is not of the form that kfp's compiler writes, compares values of different types, or names an
        input that has no value.
    """
    reader = _Reader(condition, parameters)
    met = reader.comparison()
    while reader.take("&&"):
        met = reader.comparison() and met
    if reader.tokens:
        raise reader.error(f"{reader.tokens[0].group().strip()!r} is not expected")
    return met


class _Reader:
    def __init__(self, condition: str, parameters: Mapping[str, Any]) -> None:
        self.condition, self.parameters = condition, parameters
        self.tokens: list[re.Match[str]] = []
        place = 0
        while condition[place:].strip():
            token = _TOKEN.match(condition, place)
            if token is None:
                raise self.error(f"{condition[place:].strip()!r} is not supported")
            self.tokens.append(token)
            place = token.end()

    def error(self, reason: str) -> PipelineError:
        return PipelineError(
            f"condition {self.condition}: {reason}; a local run evaluates what kfp's compiler writes: "
            "comparisons, !(...) and &&"
        )

    def take(self, sign: str) -> bool:
        if self.tokens and self.tokens[0]["sign"] == sign:
            self.tokens.pop(0)
            return True
        return False

    def expect(self, sign: str) -> None:
        if not self.take(sign):
            raise self.error(f"{sign!r} is missing")

    def comparison(self) -> bool:
        if self.take("!"):
            self.expect("(")
            met = self.comparison()
            self.expect(")")
            return not met
        left = self.operand()
        sign = self.tokens.pop(0)["sign"] if self.tokens else None
        if sign not in _COMPARISONS:
            raise self.error("a comparison is missing")
        right = self.operand()
        if _kind(left) != _kind(right):
            raise self.error(f"compares {left!r} with {right!r}, which are of different types")
        return _COMPARISONS[sign](left, right)

    def operand(self) -> Any:
        if not self.tokens:
            raise self.error("ends too early")
        token = self.tokens.pop(0)
        if token["input"]:
            if token["name"] not in self.parameters:
                raise self.error(f"input {token['name']} has no value")
            return self.parameters[token["name"]]
        if token["text"]:
            return token["text"][1:-1]
        if token["number"]:
            return float(token["number"])
        if token["word"] in ("true", "false"):
            return token["word"] == "true"
        if token["word"] in ("int", "double"):
            self.expect("(")
            value = self.operand()
            self.expect(")")
            return self.converted(token["word"], value)
        raise self.error(f"{token.group().strip()!r} is not expected")

    def converted(self, kind: str, value: Any) -> float:
        try:
            if isinstance(value, bool):
                raise ValueError
            return int(value) if kind == "int" else float(value)
        except (TypeError, ValueError):
            raise self.error(f"{kind}({value!r}) is no number") from None


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, int | float) else type(value).__name__
