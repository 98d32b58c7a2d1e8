"""Names of what evaluate compares: parts such as ``raw`` or ``pca:12``, and sums such as ``raw+context_code``.

``means:20k,100k`` are the means of the tracks over so many base pairs on either side, ``pca:24(raw+means:20k,100k)``
the principal components of both; without distances they reach as far as the targets of the model's context level.
``own(raw+means:20k,1M)`` is the same of the tracks of the task's own cell type alone, ``own(embedding)`` its code in
the embedding of a model by cell type.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

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
    "means",
    "own",
)
#: What a PCA or a factorisation can be of, in brackets; without them it is of the tracks.
TRACK_PARTS = ("raw", "means")
#: What can be of the tracks of the task's own cell type alone.
#: Parts of an embedding, of which a model by cell type has one for each cell type.
CODE_PARTS = ("embedding", "untrained", "bin_code", "context_code")
OWN_PARTS = (*TRACK_PARTS, "pca", "nmf", *CODE_PARTS)
#: Parts that take brackets, and what may stand in them.
BRACKETS = {"pca": TRACK_PARTS, "nmf": TRACK_PARTS, "own": OWN_PARTS}
#: Parts that take a size after a colon; without one they have the embedding's.
SIZED = ("pca", "nmf", "pca_varimax")
#: Parts that are predictions already, so that nothing can be put beside them.
ALONE = ("majority",)
#: Parts that only a model with a context level has.
OF_TWO_LEVELS = ("bin_code", "context_code")

_PART = re.compile(r"(?P<kind>[^:(]*)(?P<sized>:(?P<size>[^(]*))?(?P<bracket>\((?P<inner>.*)\))?")
_SIZE = re.compile(r"[1-9][0-9]{0,5}")
_DISTANCE = re.compile(r"([1-9][0-9]{0,8})(k|M)?")
_UNITS = {"": 1, "k": 1_000, "M": 1_000_000}
#: The farthest that means can reach, in base pairs: a block is read with as much on either side.
FARTHEST = 10_000_000


@dataclass(frozen=True)
class Part:
    """One of `PARTS`, with the size asked for; None stands for the embedding's.

    `distances` are those of means, in base pairs, rising; none stand for those that the embedding sees. `of` is what
    stands in brackets: what a PCA or a factorisation is of (None stands for the tracks), or what is made of the tracks
    of the task's own cell type.
    """

    kind: str
    size: int | None = None
    distances: tuple[int, ...] = ()
    of: RepresentationName | None = None

    def __str__(self) -> str:
        if self.kind == "means":
            return f"means:{','.join(map(short_distance, self.distances))}" if self.distances else "means"
        sized = self.kind if self.size is None else f"{self.kind}:{self.size}"
        return sized if self.of is None else f"{sized}({self.of})"


def short_distance(base_pairs: int) -> str:
    """A distance as names have it: ``100k`` for 100,000 base pairs."""
    for unit, factor in (("M", 1_000_000), ("k", 1_000)):
        if base_pairs % factor == 0:
            return f"{base_pairs // factor}{unit}"
    return str(base_pairs)


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
    parts = tuple(_parse_part(each) for each in _split(text))
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
            f"{SIZED[-1]} (pca:12), distances after means (means:20k,100k), what it is of in brackets after pca and "
            "nmf (pca:12(raw+means)), own(...) for the tracks of the task's own cell type, and sums "
            "(pca:12+context_code)"
        )
    if found["bracket"] is not None and kind not in BRACKETS:
        raise ValueError(f"{kind} is of nothing in brackets; {', '.join(BRACKETS)} are, as in pca:12(raw+means)")
    if kind == "own" and found["bracket"] is None:
        raise ValueError("own: expected brackets, such as own(raw+means:20k,1M)")
    if kind == "means":
        return Part(kind, distances=() if found["sized"] is None else _distances(found["size"]))
    of = None if found["bracket"] is None else _inner(kind, found["inner"])
    if found["sized"] is None:
        return Part(kind, of=of)
    if kind not in SIZED:
        raise ValueError(f"{kind} takes no size; {', '.join(SIZED[:-1])} and {SIZED[-1]} do")
    if not _SIZE.fullmatch(found["size"]):
        raise ValueError(f"{kind}: expected a size such as {kind}:12")
    return Part(kind, int(found["size"]), of=of)


def _split(text: str) -> list[str]:
    """What stands between the plus signs outside of brackets."""
    pieces, depth = [""], 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if letter == "+" and depth == 0:
            pieces.append("")
        else:
            pieces[-1] += letter
    return pieces


def _distances(text: str) -> tuple[int, ...]:
    found = []
    for word in text.split(","):
        match = _DISTANCE.fullmatch(word)
        if match is None or int(match[1]) * _UNITS[match[2] or ""] > FARTHEST:
            raise ValueError(
                f"means: expected distances of at most {short_distance(FARTHEST)} base pairs, such as means:20k,100k, "
                f"got {word!r}"
            )
        found.append(int(match[1]) * _UNITS[match[2] or ""])
    if len(set(found)) < len(found):
        raise ValueError("means: a distance is listed twice")
    return tuple(sorted(found))


def _inner(kind: str, text: str) -> RepresentationName:
    name, allowed = parse_name(text), BRACKETS[kind]
    others = [part.kind for part in name.parts if part.kind not in allowed]
    if others == ["own"] and kind != "own":
        raise ValueError(f"{kind}: write own around it, as in own({kind}:12(raw+means))")
    if others:
        raise ValueError(f"{kind} is of {', '.join(allowed[:-1])} and {allowed[-1]}, not of {others[0]}")
    return name


def is_own(name: RepresentationName) -> bool:
    """Whether a part is of the task's own cell type, so that the representation differs between cell types."""
    return any(part.kind == "own" for part in name.parts)


def own_code_of(name: RepresentationName) -> str | None:
    """The first part that is the code of the task's own cell type, by its kind; None where there is none."""
    inner = (each.kind for part in name.parts if part.kind == "own" and part.of for each in part.of.parts)
    return next((kind for kind in inner if kind in CODE_PARTS), None)


def has_brackets(name: RepresentationName) -> bool:
    """Whether a part is of something in brackets."""
    return any(part.of is not None for part in name.parts)


def has_means(name: RepresentationName) -> bool:
    """Whether means are a part of it, or of what it is of."""
    return any(part.kind == "means" or (part.of is not None and has_means(part.of)) for part in name.parts)


def with_distances(name: RepresentationName, distances: tuple[int, ...]) -> RepresentationName:
    """The same with `distances` where means have none of their own."""

    def reaching(part: Part) -> Part:
        if part.kind == "means":
            return part if part.distances else replace(part, distances=distances)
        return part if part.of is None else replace(part, of=with_distances(part.of, distances))

    return RepresentationName(tuple(map(reaching, name.parts)))
