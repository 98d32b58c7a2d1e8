"""Names in a user's file or option, compared with the names that are there.

A file that selects or annotates by names (of chromosomes, tracks, genes) and matches none of them would silently select
nothing. `match_names` makes that an error that shows both sides and the likely cause, and a match in part one line
with counts.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence

from epilstm.console import log
from epilstm.errors import EpilstmError, GenomeError

#: Names that a message shows of each side.
SHOWN = 4

#: Places (chromosomes, or intervals of them) that a text lists: a genome of scaffolds has many thousands.
LISTED = 8

_QUOTES = "\"'`\N{LEFT SINGLE QUOTATION MARK}\N{RIGHT SINGLE QUOTATION MARK}\u201c\u201d"


def listed(names: Sequence[str], most: int = LISTED) -> str:
    """Names separated by commas; of many the first, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def match_names(
    found: Mapping[str, int],
    known: Iterable[str],
    source: str,
    target: str,
    *,
    noun: str = "chromosome",
    what: str = "intervals",
    error: type[EpilstmError] = GenomeError,
    partial: int = logging.WARNING,
) -> None:
    """Report what share of a user's names is known.

    Parameters
    ----------
    found : mapping of str to int
        The user's names, and how many entries have each.
    known : iterable of str
        The names that are there.
    source, target : str
        Where the user's names and the known ones come from, for messages.
    noun : str
        What is named.
    what : str
        What the entries are.
    error : type
        Class of the error.
    partial : int
        Log level of a match in part, if no unknown name looks like a known one (which is always a warning).

    Raises
    ------
    EpilstmError
        Of class `error`: there are names, and none is known.
    """
    names = dict.fromkeys(known)
    unknown = [name for name in found if name not in names]
    if not unknown:
        return
    cause = likely_cause(unknown, names)
    if len(unknown) == len(found):
        raise error(
            f"{source}: none of its {noun}s ({named(unknown)}) is in {target} ({named(names)}); "
            f"{cause or f'check the names of both: is it the same assembly, with {noun}s named alike?'}"
        )
    entries, total = sum(found[name] for name in unknown), sum(found.values())
    log.log(
        logging.WARNING if cause else partial,
        f"{source}: {entries:,} of {total:,} {what} are left out: {len(unknown):,} of {len(found):,} {noun}s "
        f"({named(unknown)}) are not in {target}{f'; {cause}' if cause else ''}",
    )


def named(names: Iterable[str], shown: int = SHOWN) -> str:
    """A few names, and a sign that there are more."""
    listed = list(names)
    return ", ".join(listed[:shown]) + (", ..." if len(listed) > shown else "") if listed else "none"


def those_there(name: str, known: Collection[str]) -> str:
    """The names that are there instead of an unknown one, and the likely cause, for a message."""
    cause = likely_cause([name], known)
    return named(known) + (f"; {cause}" if cause else "")


def likely_cause(unknown: Sequence[str], known: Iterable[str]) -> str | None:
    """Why names are not known, and what to do, where one of them differs from a known name in its spelling only.

    Returns
    -------
    str or None
        None where no unknown name looks like a known one.
    """
    spelt = {_key(name): name for name in known}
    for name in unknown:
        there = spelt.get(_key(name))
        if there is None:
            continue
        if name.strip(_QUOTES) != name:
            return f"{name} is in quotes: write the file without quotes around names (in R, quote = FALSE)"
        if name.casefold() == there.casefold():
            return f"{name!r} is written {there!r} there: upper and lower case count, rename one of them"
        if _without_chr(name) == _without_chr(there):
            return f"{name!r} is called {there!r} there: add or remove 'chr' so that both sides are named alike"
        return f"{name!r} is called {there!r} there: name both sides alike"
    return None


def _without_chr(name: str) -> str:
    return name.casefold().removeprefix("chr")


def _key(name: str) -> str:
    """What is left of a name without the differences that are usual between sources."""
    bare = _without_chr(name.strip().strip(_QUOTES).strip()).lstrip("_0") or "0"
    return "m" if bare == "mt" else bare
