"""Reading, writing and resolving samplesheets."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import cast
from urllib.parse import quote, unquote, urlsplit

from epilstm.errors import SamplesheetError
from epilstm.files.outputs import replacing
from epilstm.files.text import csv_rows
from epilstm.tracks.identity import TrackIdentity, field_problem
from epilstm.tracks.signal_transform import TRANSFORMS, UNCOVERED, Transform, Uncovered, usual_uncovered

REQUIRED_COLUMNS = ("cell_type", "assay", "uri")
OPTIONAL_COLUMNS = ("replicate", "sha256", "transform", "uncovered")
COLUMNS = (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS)

#: Their order in a samplesheet that is written.
WRITTEN_COLUMNS = ("cell_type", "assay", "replicate", "uri", "sha256", "transform", "uncovered")

#: Columns that together say which track a row is.
IDENTITY_COLUMNS = ("cell_type", "assay", "replicate")
SHA256 = re.compile(r"[0-9a-fA-F]{64}")

#: Kinds of remote files that are usual; fsspec knows more.
KNOWN_SCHEMES = ("https", "http", "s3", "gs")

SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.:-]*://")


@dataclass(frozen=True)
class Track:
    """One assay in one cell type, and the file that holds its signal.

    Parameters
    ----------
    cell_type, assay : str
        Any printable text without blanks around it; with the replicate, unique in a samplesheet.
    uri : str
        As the samplesheet has it; `resolve_uri` makes it something that can be opened.
    sha256 : str or None
        Expected digest of the file, 64 lower-case hexadecimal digits.
    transform : {'arcsinh', 'log1p', 'none'}
        What is done to the signal before it is standardised.
    uncovered : {'zero', 'missing'}
        What a base that the file does not cover is; in a samplesheet, unless it says so, what
        `epilstm.tracks.signal_transform.usual_uncovered` says of the transform.
    replicate : str or None
        Distinguishes tracks of one cell type and assay.
    metadata : mapping of str to str
        Values of the samplesheet's further columns, by column.
    """

    cell_type: str
    assay: str
    uri: str
    sha256: str | None = None
    transform: Transform = "arcsinh"
    uncovered: Uncovered = "zero"
    replicate: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def identity(self) -> TrackIdentity:
        """Which track it is."""
        return TrackIdentity(self.cell_type, self.assay, self.replicate)

    @property
    def name(self) -> str:
        """Name of its identity; `epilstm.tracks.identity.unique_names` has those of all rows."""
        return self.identity.name


@dataclass(frozen=True)
class Row:
    """A track and the line of the samplesheet that it stands on."""

    number: int
    track: Track


def read_samplesheet(path: Path) -> list[Track]:
    """Tracks of a samplesheet, in its order.

    Parameters
    ----------
    path : Path
        CSV with the columns ``cell_type``, ``assay``, ``uri`` and optionally ``replicate``, ``sha256``, ``transform``
        and ``uncovered``, in any order, separated by commas, semicolons or tabs; further columns are metadata of the
        tracks. Any text that `epilstm.files.text` reads.

    Raises
    ------
    SamplesheetError
        The file is missing or not such a CSV, it has no rows, or a row is unusable; the message names the first
        problem as ``file:line`` and says how many more there are.
    """
    rows, problems = scan_samplesheet(path)
    if problems:
        more = f" (and {len(problems) - 1} more; 'epilstm samplesheet check' lists them)" if len(problems) > 1 else ""
        raise SamplesheetError(problems[0] + more)
    return [row.track for row in rows]


def scan_samplesheet(path: Path) -> tuple[list[Row], list[str]]:
    """Usable rows of a samplesheet, and one line for each problem of the others.

    Raises
    ------
    SamplesheetError
        No row can be made out: the file is missing, not text, its header is wrong, or there is nothing below it.
    """
    lines = list(csv_rows(path, "a samplesheet (CSV)", SamplesheetError))
    header = _check_header(path, lines)
    rows: list[Row] = []
    problems: list[str] = []
    first_line: dict[TrackIdentity, int] = {}
    for number, fields in lines[1:]:
        fields += [""] * (len(header) - len(fields))
        found = _problems_of_row(header, fields)
        if not found:
            values = dict(zip(header, fields, strict=True))
            track = _track(values)
            found = _clash(track, first_line)
            first_line.setdefault(track.identity, number)
            if not found:
                rows.append(Row(number, track))
        problems += [f"{path}:{number}: {problem}" for problem in found]
    return rows, problems


def _track(values: dict[str, str]) -> Track:
    """Track of a row without problems."""
    transform = cast(Transform, values.get("transform") or "arcsinh")
    return Track(
        values["cell_type"],
        values["assay"],
        values["uri"],
        values.get("sha256", "").lower() or None,
        transform,
        cast(Uncovered, values.get("uncovered") or usual_uncovered(transform)),
        values.get("replicate", "").strip() or None,
        {column: value for column, value in values.items() if column and column not in COLUMNS},
    )


def mixed_assays(tracks: Iterable[Track]) -> list[str]:
    """One line for each assay whose tracks differ in how their signal is treated: likely a slip."""
    kinds: dict[str, dict[tuple[str, str], str]] = {}
    for track in tracks:
        kinds.setdefault(track.assay, {}).setdefault((track.transform, track.uncovered), track.cell_type)
    return [
        f"assay {assay} is treated in {len(found)} ways: "
        + ", ".join(f"transform {one} and uncovered {other} in {cell}" for (one, other), cell in found.items())
        for assay, found in kinds.items()
        if len(found) > 1
    ]


def _check_header(path: Path, lines: list[tuple[int, list[str]]]) -> list[str]:
    """Column names of the first line; columns that no one knows are metadata, if they are no slips of the pen."""
    if not lines:
        raise SamplesheetError(f"{path}: the file is empty; its first line must be {','.join(COLUMNS)}")
    number, fields = lines[0]
    header = [column.strip() for column in fields]
    where = f"{path}:{number}"
    for column in header:
        if column and column not in COLUMNS and (close := get_close_matches(column.lower(), COLUMNS, 1, cutoff=0.8)):
            raise SamplesheetError(f"{where}: column {column!r} looks like {close[0]!r}; name it so, or otherwise")
    missing = [column for column in REQUIRED_COLUMNS if column not in header]
    if missing:
        raise SamplesheetError(
            f"{where}: column {', '.join(missing)} missing from the header {','.join(header)!r}; "
            f"the columns are {', '.join(REQUIRED_COLUMNS)} and optionally {', '.join(OPTIONAL_COLUMNS)}"
        )
    twice = next((column for column in header if column and header.count(column) > 1), None)
    if twice is not None:
        raise SamplesheetError(f"{where}: column {twice} is there twice; remove one")
    if len(lines) == 1:
        raise SamplesheetError(f"{path}: no tracks below the header; add one line per track")
    return header


def _problems_of_row(header: list[str], fields: list[str]) -> list[str]:
    if len(fields) != len(header):
        return [f"{len(fields)} values for {len(header)} columns ({','.join(header)}); quote values that hold a comma"]
    nameless = next((value for column, value in zip(header, fields, strict=True) if not column and value.strip()), None)
    if nameless is not None:
        return [f"{nameless!r} is in a column without a name; name it in the header"]
    values = dict(zip(header, fields, strict=True))
    problems = [
        f"{column} is empty; give one" for column in REQUIRED_COLUMNS if not values[column].strip()
    ]  # what is optional may be empty row by row
    problems += [
        problem
        for column in IDENTITY_COLUMNS
        if values.get(column, "").strip() and (problem := field_problem(column, values[column])) is not None
    ]
    uri = values["uri"]
    if uri.strip() and (uri != uri.strip() or not uri.isprintable()):
        problems.append(f"uri {uri!r} has blanks around it or unprintable characters; remove them")
    elif not is_local(uri) and "@" in _host(uri):
        problems.append(
            f"uri of {_host(uri).rpartition('@')[2]} holds a user name or password, which would be kept with the data; "
            "take it out and give credentials by the environment"
        )
    elif uri.strip() and (problem := url_problem(uri)) is not None:
        problems.append(f"uri {uri!r} {problem}")
    digest = values.get("sha256", "")
    if digest and not SHA256.fullmatch(digest):
        problems.append(f"sha256 {digest!r} is not 64 hexadecimal digits; correct it or leave it empty")
    problems += [
        f"{column} {values[column]!r} is none of {', '.join(allowed)}; write one of them or leave it empty"
        for column, allowed in (("transform", TRANSFORMS), ("uncovered", UNCOVERED))
        if values.get(column) and values[column] not in allowed
    ]
    return problems


def _clash(track: Track, first_line: dict[TrackIdentity, int]) -> list[str]:
    if track.identity not in first_line:
        return []
    fields = " ".join(track.identity.fields)
    return [
        f"{fields} is on line {first_line[track.identity]} already; keep one row per cell type, assay and replicate (a "
        "column 'replicate' distinguishes tracks of one cell type and assay)"
    ]


def format_samplesheet(tracks: Iterable[Track]) -> str:
    """Samplesheet as CSV text; an optional column is there if any track differs in it from what no column means."""
    tracks = list(tracks)
    needed = {
        "replicate": any(track.replicate is not None for track in tracks),
        "sha256": any(track.sha256 for track in tracks),
        "transform": any(track.transform != "arcsinh" for track in tracks),
        "uncovered": any(track.uncovered != usual_uncovered(track.transform) for track in tracks),
    }
    columns = [column for column in WRITTEN_COLUMNS if needed.get(column, True)]
    further = list(dict.fromkeys(column for track in tracks for column in track.metadata))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*columns, *further])
    writer.writerows(
        [
            *(getattr(track, column) or "" for column in columns),
            *(track.metadata.get(column, "") for column in further),
        ]
        for track in tracks
    )
    return text.getvalue()


def write_samplesheet(path: Path, tracks: Iterable[Track]) -> None:
    """Write a samplesheet, whole or not at all.

    Raises
    ------
    SamplesheetError
        The file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as successor:
            successor.write_text(format_samplesheet(tracks), encoding="utf-8")
    except OSError as error:
        raise SamplesheetError(f"{path}: cannot be written: {error.strerror}; choose another path") from error


def is_local(uri: str) -> bool:
    """Whether a samplesheet's uri is a path or ``file://`` rather than something remote."""
    return not SCHEME.match(uri) or uri.lower().startswith("file://")


def _host(uri: str) -> str:
    """What stands between ``://`` and the path."""
    return re.split("[/?#]", uri.partition("://")[2], maxsplit=1)[0]


def url_problem(uri: str) -> str | None:
    """What keeps a remote uri from being one, as can be seen without asking anybody; None where nothing does.

    Returns
    -------
    str or None
        Says what is wrong with the uri, which comes before it in a message, and what to do.
    """
    if is_local(uri):
        return None
    scheme = uri.rpartition("::")[2].partition("://")[0].lower()
    if scheme not in KNOWN_SCHEMES and scheme not in (schemes := _schemes_of_fsspec()) and schemes:
        close = get_close_matches(scheme, sorted({*KNOWN_SCHEMES, *schemes}), 1)
        hint = f"did you mean {close[0]}://?" if close else f"use one of {', '.join(KNOWN_SCHEMES)} or a path"
        return f"is of an unknown kind, {scheme}://; {hint}"
    if not re.split("[@]", _host(uri))[-1].partition(":")[0]:
        return f"names no {'host' if scheme in ('http', 'https', 'ftp') else 'host or bucket'}; write it whole"
    if scheme in ("http", "https"):
        foreign = next((letter for letter in uri if not "!" <= letter <= "~"), None)
        if foreign is not None:
            return f"holds {foreign!r}, which a URL cannot; write it as {quote(foreign)}"
        try:
            _ = urlsplit(uri.rpartition("::")[2]).port
        except ValueError as error:
            return f"is no valid URL: {error}; correct it"
    return None


def _schemes_of_fsspec() -> Collection[str]:
    try:
        from fsspec.registry import known_implementations
    except ImportError:  # then nothing but paths and http can be read, which reading says
        return ()
    return set(known_implementations)


def resolve_uri(uri: str, sheet: Path) -> str:
    """What to open for a samplesheet's uri.

    Parameters
    ----------
    uri : str
        A path, relative to the samplesheet or absolute (``~`` is the home folder), a ``file://`` URI, or anything
        else with ``scheme://``.
    sheet : Path
        The samplesheet.

    Returns
    -------
    str
        A local path, or the uri unchanged where it is remote.

    Raises
    ------
    SamplesheetError
        A ``file://`` URI that names another host.
    """
    if not is_local(uri):
        return uri
    if uri.lower().startswith("file://"):
        parts = urlsplit(uri, allow_fragments=False)
        if parts.netloc not in ("", "localhost"):
            raise SamplesheetError(
                f"{sheet}: {uri} names the host {parts.netloc!r}; write file:///absolute/path (three slashes)"
            )
        return unquote(parts.path)
    return str(sheet.parent / (Path(uri).expanduser() if uri.startswith("~/") else uri))
