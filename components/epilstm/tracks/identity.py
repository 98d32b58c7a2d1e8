"""What a track is: a cell type, an assay and, where there are several of both, a replicate.

The three come from the samplesheet and are carried as fields into every manifest. A track's name is made of them, for
people to read; nothing takes fields out of a name. The one exception is `identities_of_older_names`, for files that an
older version wrote, which have names alone.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from epilstm.errors import ParamsError

#: Bytes of a file's name at most, without its ending; file systems take 255.
LONGEST_FILE_NAME = 180


@dataclass(frozen=True)
class TrackIdentity:
    """Which track it is: two tracks are the same if all three are the same.

    Parameters
    ----------
    cell_type, assay : str
        Any printable text without blanks around it.
    replicate : str or None
        Likewise; None where the samplesheet names none.

    Raises
    ------
    ValueError
        One of them is no such text.
    """

    cell_type: str
    assay: str
    replicate: str | None = None

    def __post_init__(self) -> None:
        for column, value in (("cell_type", self.cell_type), ("assay", self.assay), ("replicate", self.replicate)):
            problem = None if value is None else field_problem(column, value)
            if problem is not None:
                raise ValueError(problem)

    @property
    def fields(self) -> tuple[str, ...]:
        """Cell type, assay and, where there is one, replicate."""
        return (self.cell_type, self.assay, *(() if self.replicate is None else (self.replicate,)))

    @property
    def name(self) -> str:
        """The fields joined by ``-``, such as ``K562-ATAC-seq`` or ``K562-ATAC-seq-2``; see `unique_names`."""
        return "-".join(self.fields)

    @property
    def explicit_name(self) -> str:
        """A name that no other track has: the fields joined by ``:``, with ``%`` and ``:`` in them written as hex."""
        return ":".join(value.replace("%", "%25").replace(":", "%3A") for value in self.fields)


def field_problem(column: str, value: str) -> str | None:
    """What keeps a text from being a cell type, an assay or a replicate; None where nothing does."""
    if not value.strip():
        return f"{column} is empty; give one"
    if value != value.strip():
        return f"{column} {value!r} has blanks around it; remove them"
    if not value.isprintable():
        return f"{column} {value!r} has characters that cannot be printed; remove them"
    return None


def unique_names(tracks: Sequence[TrackIdentity]) -> list[str]:
    """A name for each of some tracks, no two the same.

    That is the track's `TrackIdentity.name`; tracks whose fields would join to the same name (``A-B`` + ``C`` and
    ``A`` + ``B-C``) have their `TrackIdentity.explicit_name` instead (``A-B:C`` and ``A:B-C``).

    Raises
    ------
    ValueError
        A track is there twice.
    """
    explicit: set[int] = set()
    while True:
        names = [each.explicit_name if place in explicit else each.name for place, each in enumerate(tracks)]
        counts = Counter(names)
        clashing = {place for place, name in enumerate(names) if counts[name] > 1}
        if not clashing:
            return names
        if clashing <= explicit:
            raise ValueError(f"the track {names[min(clashing)]} is there twice")
        explicit |= clashing


def identities_of_older_names(names: Sequence[str]) -> list[TrackIdentity]:
    """Cell type and assay of tracks of which only names ``cell_type-assay`` are known.

    This is for files that were written before the fields were kept, and for nothing else. Where a name has more than
    one hyphen, the cut is taken whose two parts occur most often among all the names, the first cut among equals; a
    name that cannot be cut is both.
    """
    cuts = {name: _cuts(name) for name in names}
    cells = Counter(cell for each in cuts.values() for cell, _ in each)
    assays = Counter(assay for each in cuts.values() for _, assay in each)
    best = {
        name: max(each, key=lambda cut: cells[cut[0]] * assays[cut[1]]) if each else (_field(name),) * 2
        for name, each in cuts.items()
    }
    return [TrackIdentity(*best[name]) for name in names]


def _cuts(name: str) -> list[tuple[str, str]]:
    parts = name.split("-")
    cuts = [("-".join(parts[:at]), "-".join(parts[at:])) for at in range(1, len(parts))]
    return [cut for cut in cuts if not any(field_problem("", part) for part in cut)]


def _field(name: str) -> str:
    """A name as a field: any text can be a column of a table."""
    return "".join(character if character.isprintable() else "?" for character in name).strip() or "?"


@dataclass(frozen=True)
class TrackSet:
    """Tracks in an order, with a name for each.

    Parameters
    ----------
    names : tuple of str
        No two are the same.
    identities : tuple of TrackIdentity
        One for each name.
    known : bool
        Whether the fields come from a samplesheet; if not, they follow from the names of an older file.
    """

    names: tuple[str, ...]
    identities: tuple[TrackIdentity, ...]
    known: bool = True

    @classmethod
    def of(cls, identities: Sequence[TrackIdentity]) -> TrackSet:
        """Tracks named by `unique_names`."""
        return cls(tuple(unique_names(identities)), tuple(identities))

    @classmethod
    def of_names(cls, names: Sequence[str]) -> TrackSet:
        """Tracks of an older file, which has names alone."""
        return cls(tuple(names), tuple(identities_of_older_names(names)), known=False)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def cell_types(self) -> list[str]:
        """Cell type of each track."""
        return [each.cell_type for each in self.identities]

    @property
    def assays(self) -> list[str]:
        """Assay of each track."""
        return [each.assay for each in self.identities]

    @property
    def replicates(self) -> list[str | None]:
        """Replicate of each track."""
        return [each.replicate for each in self.identities]

    def select(self, places: Sequence[int]) -> TrackSet:
        """Some of the tracks, under the same names."""
        return TrackSet(
            tuple(self.names[place] for place in places), tuple(self.identities[place] for place in places), self.known
        )

    def places_of(self, wanted: TrackSet) -> list[int | None]:
        """Where each of some tracks is among these; None where it is not.

        The same fields are the same track. Where an older file has names alone, the same name is the same track.
        """
        if self.known and wanted.known:
            by_fields = {each: place for place, each in enumerate(self.identities)}
            return [by_fields.get(each) for each in wanted.identities]
        by_name = {name: place for place, name in enumerate(self.names)}
        return [by_name.get(name) for name in wanted.names]


def named_as(tracks: TrackSet, reference: TrackSet) -> TrackSet:
    """Tracks under the names that others have for the same ones; no track has the name of another one there."""
    taken, names = set(reference.names), []
    for identity, name, place in zip(tracks.identities, tracks.names, reference.places_of(tracks), strict=True):
        if place is not None:
            names.append(reference.names[place])
            continue
        own = identity.explicit_name if name in taken else name
        while own in taken:
            own += " (another)"
        taken.add(own)
        names.append(own)
    return TrackSet(tuple(names), tracks.identities, tracks.known)


def described(tracks: TrackSet) -> list[dict[str, str]]:
    """Each track as a JSON object: its name, its cell type, its assay and, where there is one, its replicate."""
    keys = ("cell_type", "assay", "replicate")
    return [
        {"name": name, **dict(zip(keys, each.fields, strict=False))}
        for name, each in zip(tracks.names, tracks.identities, strict=True)
    ]


def tracks_of_properties(names: Sequence[str], properties: Mapping[str, str]) -> TrackSet:
    """Tracks of an encoder by what it says of itself: a JSON list each of `cell_types`, `assays` and `replicates`.

    Without them, it is of an older version, which has names alone; without replicates, no track has one.

    Raises
    ------
    ValueError
        A list is unreadable, or of another length.
    """
    if "cell_types" not in properties:
        return TrackSet.of_names(names)
    lists = [json.loads(properties.get(key, "null")) for key in ("cell_types", "assays", "replicates")]
    cell_types, assays, replicates = lists[0], lists[1], lists[2] or [None] * len(names)
    if not all(isinstance(each, list) for each in (cell_types, assays, replicates)):
        raise ValueError("the fields of the tracks are not lists")
    identities = [TrackIdentity(*fields) for fields in zip(cell_types, assays, replicates, strict=True)]
    require_known_tracks(names, identities)
    return TrackSet(tuple(names), tuple(identities))


def same_tracks(one: TrackSet, other: TrackSet) -> bool:
    """Whether both are the same tracks in the same order."""
    return len(one) == len(other) and one.places_of(other) == list(range(len(one)))


#: What the value before ``=`` in a choice of tracks may be.
EXPLICIT = ("cell_type", "assay", "replicate", "track")

ARTICLE = {"track": "a track", "cell_type": "a cell type", "assay": "an assay"}


def select_tracks(tracks: TrackSet, tokens: Sequence[str], option: str = "--tracks") -> list[int]:
    """Places of the tracks that any of some tokens names, in the tracks' order; all where there are no tokens.

    A token is the name of a track, a cell type or an assay, exactly and in the same case. Where it is more than one
    of these, of different tracks, it is refused; ``track=``, ``cell_type=``, ``assay=`` or ``replicate=`` before it
    says which.

    Raises
    ------
    ParamsError
        A token names nothing, or more than one kind of thing; the message names `option`.
    """
    if not tokens:
        return list(range(len(tracks)))
    return sorted({place for token in tokens for place in _named_by(tracks, token, option)})


def _named_by(tracks: TrackSet, token: str, option: str) -> list[int]:
    values: Mapping[str, Sequence[str | None]] = {
        "track": tracks.names,
        "cell_type": tracks.cell_types,
        "assay": tracks.assays,
        "replicate": tracks.replicates,
    }
    meanings: dict[tuple[int, ...], str] = {}
    for kind in ("track", "cell_type", "assay"):
        found = tuple(place for place, value in enumerate(values[kind]) if value == token)
        if found:
            meanings.setdefault(found, kind)
    if not meanings:
        kind, equals, value = token.partition("=")
        if equals and kind in EXPLICIT:
            found = tuple(place for place, each in enumerate(values[kind]) if each == value)
            if found:
                return list(found)
            raise ParamsError(f"{option} {token}: no such {kind.replace('_', ' ')}; {_likely(value, values[kind])}")
        known = [value for kind in ("track", "cell_type", "assay") for value in values[kind]]
        hint = ""
        if any(mark in token for mark in "*?["):
            hint = "patterns are not taken; give a name, a cell type or an assay; "
        raise ParamsError(f"{option} {token}: no such track, cell type or assay; {hint}{_likely(token, known)}")
    if len(meanings) > 1:
        kinds = list(meanings.values())
        raise ParamsError(
            f"{option} {token}: is both {' and '.join(ARTICLE[kind] for kind in kinds)}, of different tracks; write "
            f"{' or '.join(f'{kind}={token}' for kind in kinds)}"
        )
    return list(next(iter(meanings)))


def _likely(wanted: str, known: Sequence[str | None]) -> str:
    there = list(dict.fromkeys(value for value in known if value is not None))
    lowered = {value.lower(): value for value in reversed(there)}
    close = [lowered[match] for match in get_close_matches(wanted.lower(), lowered, n=3, cutoff=0.6)]
    if close:
        return f"did you mean {' or '.join(close)}?"
    shown = ", ".join(there) if len(there) <= 12 else f"{', '.join(there[:8])}, ... ({len(there)} in all)"
    return f"there are {shown}"


def file_name(text: str) -> str:
    """A text as part of a file's name or a URL's path; different texts have different ones.

    ASCII letters and digits and ``._+-`` stay as they are; any other byte of its UTF-8, and a ``.`` or ``-`` at the
    beginning, is ``~`` and two hexadecimal digits. What would be longer than `LONGEST_FILE_NAME` ends in ``~~`` and a
    digest of the whole.
    """
    encoded = "".join(_byte(byte, first=not place) for place, byte in enumerate(text.encode("utf-8", "surrogatepass")))
    if len(encoded) <= LONGEST_FILE_NAME:
        return encoded
    return f"{encoded[: LONGEST_FILE_NAME - 34].rstrip('~')}~~{_digest(text)}"


def _byte(byte: int, first: bool) -> str:
    character = chr(byte)
    plain = character.isascii() and (character.isalnum() or character in ("_+" if first else "._+-"))
    return character if plain else f"~{byte:02x}"


def symbol(text: str) -> str:
    """A text as a symbol of ASCII letters, digits and ``_``; different texts have different ones.

    A ``-`` between letters or digits is ``_``; any other byte of its UTF-8 is ``__``, two hexadecimal digits and
    ``_``. What would be longer than `LONGEST_FILE_NAME` ends in ``____`` and a digest of the whole.
    """
    parts = []
    for place, character in enumerate(text):
        before, after = text[place - 1 : place], text[place + 1 : place + 2]
        if _plain(character):
            parts.append(character)
        elif character == "-" and _plain(before) and _plain(after):
            parts.append("_")
        else:
            parts += [f"__{byte:02x}_" for byte in character.encode("utf-8", "surrogatepass")]
    encoded = "".join(parts)
    if len(encoded) <= LONGEST_FILE_NAME:
        return encoded
    return f"{encoded[: LONGEST_FILE_NAME - 36].rstrip('_')}____{_digest(text)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _plain(character: str) -> bool:
    return character.isascii() and character.isalnum()


def require_known_tracks(tracks: Sequence[str], identities: Sequence[TrackIdentity]) -> None:
    """Check that names and fields of tracks belong together.

    Raises
    ------
    ValueError
        They do not.
    """
    if len(identities) != len(tracks):
        raise ValueError(f"{len(identities)} identities for {len(tracks)} tracks")
    for name, identity in zip(tracks, identities, strict=True):
        if name not in (identity.name, identity.explicit_name):
            raise ValueError(f"the track {name} has the fields of {identity.name}")


def missing_tracks(have: TrackSet, wanted: TrackSet) -> list[str]:
    """Names of the tracks of one set that another lacks."""
    return [name for name, place in zip(wanted.names, have.places_of(wanted), strict=True) if place is None]
