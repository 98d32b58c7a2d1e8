"""Names of what evaluate compares: parts such as ``raw`` or ``pca:12``, and sums such as ``raw+context_code``."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: What a name is made of.
PARTS = (
    "embedding",
    "raw",
    "pca",
    "nmf",
    "untrained",
    "majority",
    "bin_code",
    "context_code",
    "pca_varimax",
)
#: Parts that take a size after a colon; without one they have the embedding's.
SIZED = ("pca", "nmf", "pca_varimax")
#: Parts that are predictions already, so that nothing can be put beside them.
ALONE = ("majority",)
#: Parts that only a model with a context level has.
OF_TWO_LEVELS = ("bin_code", "context_code")

_PART = re.compile(r"(?P<kind>[^:]*)(?P<sized>:(?P<size>.*))?")
_SIZE = re.compile(r"[1-9][0-9]{0,5}")


@dataclass(frozen=True)
class Part:
    """One of `PARTS`, with the size asked for; None stands for the embedding's."""

    kind: str
    size: int | None = None

    def __str__(self) -> str:
        return self.kind if self.size is None else f"{self.kind}:{self.size}"


@dataclass(frozen=True)
class RepresentationName:
    """Parts whose numbers are put side by side, in their order."""

    parts: tuple[Part, ...]

    def __str__(self) -> str:
        return "+".join(map(str, self.parts))


def parse_name(text: object) -> RepresentationName:
    """The representation that a name stands for.

    Raises
    ------
    ValueError
        No such part, a size that is none or is not taken, or a sum that makes no sense.
    """
    if isinstance(text, RepresentationName):
        return text
    if not isinstance(text, str):
        raise ValueError("expected the name of a representation")
    parts = tuple(_parse_part(each) for each in text.split("+"))
    if len(set(parts)) < len(parts):
        raise ValueError("a part is in the sum twice")
    alone = [part.kind for part in parts if part.kind in ALONE]
    if len(parts) > 1 and alone:
        raise ValueError(f"{alone[0]} cannot be part of a sum")
    return RepresentationName(parts)


def known_name(text: str) -> RepresentationName | None:
    """The representation that a name stands for; None for another model's embedding."""
    try:
        return parse_name(text)
    except ValueError:
        return None


def _parse_part(text: str) -> Part:
    found = _PART.fullmatch(text)
    kind = found["kind"] if found else text
    if found is None or kind not in PARTS:
        raise ValueError(
            f"unknown part '{kind}'; there are {', '.join(PARTS)}, a size after {', '.join(SIZED[:-1])} and "
            f"{SIZED[-1]} (pca:12), and sums (pca:12+context_code)"
        )
    if found["sized"] is None:
        return Part(kind)
    if kind not in SIZED:
        raise ValueError(f"{kind} takes no size; {', '.join(SIZED[:-1])} and {SIZED[-1]} do")
    if not _SIZE.fullmatch(found["size"]):
        raise ValueError(f"{kind}: expected a size such as {kind}:12")
    return Part(kind, int(found["size"]))
