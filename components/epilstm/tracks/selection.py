"""Which columns are taken, by name."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase

from epilstm.errors import ParamsError


def choose(names: Sequence[str], patterns: Sequence[str], what: str) -> list[int]:
    """Places of the columns whose names fit any of some patterns, in the columns' order; all where there are none.

    Parameters
    ----------
    names : sequence of str
    patterns : sequence of str
        Names, or shell patterns such as ``E003-*``; a name's part after its last ``-`` (the assay) will do, and so
        will a dimension's number.
    what : str
        What the columns are, for the message.

    Raises
    ------
    ParamsError
        A pattern fits nothing.
    """
    if not patterns:
        return list(range(len(names)))
    chosen: set[int] = set()
    for pattern in patterns:
        fitting = {place for place, name in enumerate(names) if _fits(name, pattern)}
        if not fitting:
            close = get_close_matches(pattern, names, n=3, cutoff=0.6)
            hint = f"did you mean {' or '.join(close)}?" if close else f"there are {_shown(names)}"
            raise ParamsError(f"--tracks {pattern}: no such {what}; {hint}")
        chosen |= fitting
    return sorted(chosen)


def _fits(name: str, pattern: str) -> bool:
    assay = name.rpartition("-")[2]
    number = name.removeprefix("e")
    return fnmatchcase(name, pattern) or pattern == assay or (number.isdigit() and pattern == number)


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 12 else f"{', '.join(names[:8])}, ... ({len(names)} in all)"
