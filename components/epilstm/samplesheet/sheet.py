"""Reading, writing and resolving samplesheets."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast
from urllib.parse import unquote, urlsplit

from epilstm.artifacts import staging_path
from epilstm.errors import SamplesheetError
from epilstm.track_identity import TrackIdentity, field_problem
from epilstm.treatment import TRANSFORMS, UNCOVERED, Transform, Uncovered, usual_uncovered

REQUIRED_COLUMNS = ("cell_type", "assay", "uri")
OPTIONAL_COLUMNS = ("replicate", "sha256", "transform", "uncovered")
COLUMNS = (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS)

#: Their order in a samplesheet that is written.
WRITTEN_COLUMNS = ("cell_type", "assay", "replicate", "uri", "sha256", "transform", "uncovered")

#: Columns that together say which track a row is.
IDENTITY_COLUMNS = ("cell_type", "assay", "replicate")
SHA256 = re.compile(r"[0-9a-fA-F]{64}")
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
        `epilstm.treatment.usual_uncovered` says of the transform.
    replicate : str or None
        Tells apart tracks of one cell type and assay.
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
        """Name of its identity; `epilstm.track_identity.unique_names` has those of all rows."""
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
        and ``uncovered``, in any order; UTF-8, with or without byte-order mark, any line ends.

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
    lines = _read_lines(path)
    header = _check_header(path, lines)
    rows: list[Row] = []
    problems: list[str] = []
    first_line: dict[TrackIdentity, int] = {}
    for number, fields in lines[1:]:
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


def _read_lines(path: Path) -> list[tuple[int, list[str]]]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        return [(reader.line_num, fields) for fields in reader if any(field.strip() for field in fields)]
    except FileNotFoundError:
        raise SamplesheetError(f"{path}: no such file; give the path of a samplesheet (CSV)") from None
    except UnicodeDecodeError:
        raise SamplesheetError(f"{path}: not UTF-8 text; save the samplesheet as CSV in UTF-8") from None
    except csv.Error as error:
        raise SamplesheetError(f"{path}: not valid CSV: {error}; check its quotes") from None
    except OSError as error:
        raise SamplesheetError(f"{path}: cannot be read: {error.strerror}") from error


def _check_header(path: Path, lines: list[tuple[int, list[str]]]) -> list[str]:
    if not lines:
        raise SamplesheetError(f"{path}: the file is empty; its first line must be {','.join(COLUMNS)}")
    number, header = lines[0]
    where = f"{path}:{number}"
    missing = [column for column in REQUIRED_COLUMNS if column not in header]
    if missing:
        hint = "; separate the columns with commas" if len(header) == 1 and re.search(r"[;\t]", header[0]) else ""
        raise SamplesheetError(
            f"{where}: column {', '.join(missing)} missing from the header {','.join(header)!r}; "
            f"the columns are {', '.join(REQUIRED_COLUMNS)} and optionally {', '.join(OPTIONAL_COLUMNS)}{hint}"
        )
    extra = [column for column in header if column not in COLUMNS]
    if extra:
        raise SamplesheetError(
            f"{where}: unknown column {', '.join(map(repr, extra))}; remove it, the columns are {', '.join(COLUMNS)}"
        )
    if len(set(header)) < len(header):
        twice = next(column for column in header if header.count(column) > 1)
        raise SamplesheetError(f"{where}: column {twice} is there twice; remove one")
    if len(lines) == 1:
        raise SamplesheetError(f"{path}: no tracks below the header; add one line per track")
    return header


def _problems_of_row(header: list[str], fields: list[str]) -> list[str]:
    if len(fields) != len(header):
        return [f"{len(fields)} values for {len(header)} columns ({','.join(header)}); quote values that hold a comma"]
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
    elif not is_local(uri) and "@" in urlsplit(uri).netloc:
        problems.append(
            f"uri of {urlsplit(uri).hostname} holds a user name or password, which would be kept with the data; take "
            "it out and give credentials by the environment"
        )
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
        "column 'replicate' tells apart tracks of one cell type and assay)"
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
    staged = staging_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        staged.write_text(format_samplesheet(tracks), encoding="utf-8")
        os.replace(staged, path)
    except OSError as error:
        if staged.exists():
            staged.unlink()
        raise SamplesheetError(f"{path}: cannot be written: {error.strerror}; choose another path") from error


def is_local(uri: str) -> bool:
    """Whether a samplesheet's uri is a path or ``file://`` rather than something remote."""
    return not SCHEME.match(uri) or uri.lower().startswith("file://")


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
