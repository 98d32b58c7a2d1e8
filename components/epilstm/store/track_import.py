"""Bring the tracks of a samplesheet in, with where each came from; what has not changed is not read again.

The folder holds a bigWig per track, ``samplesheet.csv`` (paths in the folder, with checksums) and, written last,
``sources.json`` (`SourceList`).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from epilstm.console import log, progress
from epilstm.errors import DataError, DiskFullError
from epilstm.files.disk import is_disk_full
from epilstm.files.outputs import exclusive, read_json, sha256_file, write_json
from epilstm.genome.name_matching import named
from epilstm.store.manifests import parse_manifest
from epilstm.tracks.identity import TrackIdentity, file_name, unique_names
from epilstm.tracks.samplesheet import Track, is_local, read_samplesheet, resolve_uri, write_samplesheet
from epilstm.tracks.signal_transform import Transform, Uncovered

SOURCES_FILE = "sources.json"
SHEET_FILE = "samplesheet.csv"
#: Ends a file that is being brought in.
INCOMING = ".incoming"
#: End the files that a download is resumed from (`epilstm.tracks.fetching.Partial`).
RESUMED = (f"{INCOMING}.part", f"{INCOMING}.part.json")


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Model):
    """Where a track was brought in from, and what it was then.

    `version` says without reading it whether it is still the same (ETag, modification time); None where the source
    does not say.
    """

    cell_type: str
    assay: str
    replicate: str | None = None
    uri: str
    version: str | None
    bytes: int
    sha256: str
    expected: str | None = None
    transform: Transform = "arcsinh"
    uncovered: Uncovered = "zero"
    metadata: dict[str, str] = {}

    @property
    def identity(self) -> TrackIdentity:
        """Which track it is."""
        return TrackIdentity(self.cell_type, self.assay, self.replicate)

    def track(self, uri: str, sha256: str | None) -> Track:
        """Row of a samplesheet for it."""
        return Track(
            self.cell_type, self.assay, uri, sha256, self.transform, self.uncovered, self.replicate, self.metadata
        )


class SourceList(_Model):
    """``sources.json``: by track name (`epilstm.tracks.identity.unique_names`); `order` is that of the samplesheet."""

    format: Literal["epilstm.sources/1"] = "epilstm.sources/1"
    order: list[str]
    tracks: dict[str, Source]


@dataclass(frozen=True)
class Imported:
    """What an import did: names of the tracks that are new or changed, of those gone, and how many were left alone."""

    changed: list[str]
    removed: list[str]
    unchanged: int

    @property
    def anything(self) -> bool:
        """Whether the data set is another one now."""
        return bool(self.changed or self.removed)


def read_sources(folder: Path) -> SourceList:
    """What a folder of imported tracks was brought in from.

    Raises
    ------
    DataError
        It is no such folder.
    """
    return parse_manifest(read_json(folder / SOURCES_FILE), SourceList, folder / SOURCES_FILE)


def import_sheet(sheet: Path, folder: Path, retries: int, overwrite: bool = False) -> Imported:
    """Bring in every track of a samplesheet.

    Parameters
    ----------
    folder : Path
        Made where it is not there; a track that is there already and has not changed is left alone.
    retries : int
        Further attempts at a remote read that failed.
    overwrite : bool
        Remove tracks of the folder that the samplesheet does not list.

    Raises
    ------
    SamplesheetError
        The samplesheet is unusable.
    TrackError
        A track cannot be read or is not what the samplesheet says.
    DataError
        The folder has other content, or tracks that would be removed, or another run is writing it.
    """
    tracks = [replace(track, uri=_absolute(resolve_uri(track.uri, sheet))) for track in read_samplesheet(sheet)]
    if not overwrite and (folder / SOURCES_FILE).is_file():
        listed = {track.identity for track in tracks}
        gone = [name for name, known in read_sources(folder).tracks.items() if known.identity not in listed]
        if gone:
            raise DataError(
                f"{folder}: has {len(gone)} tracks that {sheet} does not list ({named(gone)}), which would be removed; "
                "give another folder, or --overwrite"
            )
    return _bring(tracks, folder, retries)


def refresh(folder: Path, retries: int) -> Imported:
    """Bring in again what has changed at its source since.

    Parameters
    ----------
    folder : Path
        Written by `import_sheet`.

    Raises
    ------
    DataError, TrackError
        As `import_sheet`.
    """
    sources = read_sources(folder)
    found = [sources.tracks[name] for name in sources.order]
    return _bring([each.track(each.uri, each.expected) for each in found], folder, retries)


def _absolute(uri: str) -> str:
    return str(Path(uri).resolve()) if is_local(uri) else uri


def _bring(tracks: Sequence[Track], folder: Path, retries: int) -> Imported:
    if folder.is_dir() and any(folder.iterdir()) and not (folder / SOURCES_FILE).is_file():
        left = [path for path in folder.iterdir() if INCOMING not in path.name and path.suffix != ".bigwig"]
        if left:
            raise DataError(f"{folder}: has other content ({left[0].name}); choose another folder")
    with exclusive(folder), _nothing_left_of_what_failed(folder):
        folder.mkdir(parents=True, exist_ok=True)
        noted = read_sources(folder) if (folder / SOURCES_FILE).is_file() else SourceList(order=[], tracks={})
        before = noted.tracks
        after: dict[str, Source] = {}
        with progress("Importing", len(tracks)) as bar:
            for name, track in zip(unique_names([track.identity for track in tracks]), tracks, strict=True):
                known = before.get(name)
                if known is not None and known.identity != track.identity:
                    known = None
                after[name] = _bring_one(track, name, folder, known, retries)
                bar.advance()
        removed = sorted(set(before) - set(after))
        for name in removed:
            (folder / f"{file_name(name)}.bigwig").unlink(missing_ok=True)
        sources = SourceList(order=list(after), tracks=after)
        changed = [name for name, source in after.items() if name not in before or before[name].sha256 != source.sha256]
        if sources != noted or not (folder / SHEET_FILE).is_file():
            kept = [each.track(f"{file_name(name)}.bigwig", each.sha256) for name, each in after.items()]
            write_samplesheet(folder / SHEET_FILE, kept)
            write_json(folder / SOURCES_FILE, sources.model_dump(mode="json"))
    return Imported(changed, removed, len(after) - len(changed))


@contextmanager
def _nothing_left_of_what_failed(folder: Path) -> Iterator[None]:
    """Remove what a failed import brought in and did not note; of a remote file what another run resumes from stays.

    Raises
    ------
    DiskFullError, DataError
        The folder's disk is full, or cannot be written.
    """
    new = not folder.exists()
    before = set() if new else set(folder.iterdir())
    try:
        yield
    except BaseException as error:
        full = is_disk_full(error)
        for path in sorted(set(folder.iterdir()) - before) if folder.is_dir() else []:
            if full or not path.name.endswith(RESUMED):
                with suppress(OSError):
                    path.unlink()
        if new:
            with suppress(OSError):
                folder.rmdir()
        if full:
            raise DiskFullError(f"{folder}: no space left on its disk; free some and run it again") from error
        if isinstance(error, OSError):
            raise DataError(f"{folder}: cannot be written: {error.strerror or error}; choose another folder") from error
        raise


def _bring_one(track: Track, name: str, folder: Path, before: Source | None, retries: int) -> Source:
    from epilstm.tracks.fetching import check_digest, download, local_state, source_state

    target = folder / f"{file_name(name)}.bigwig"
    state = source_state(track.uri)
    version = state.version if state else None
    if before is not None and target.is_file() and before.uri == track.uri and target.stat().st_size == before.bytes:
        same_version = version is not None and version == before.version
        same_size = state is None or state.size in (None, before.bytes)
        # A source that says nothing of itself but a checksum that is asked for and was found is as good.
        known = version is None and track.sha256 is not None and track.sha256 == before.sha256
        if same_size and (same_version or known):
            check_digest(before.sha256, track.sha256, track.uri)
            return before.model_copy(
                update={
                    "expected": track.sha256,
                    "transform": track.transform,
                    "uncovered": track.uncovered,
                    "metadata": dict(track.metadata),
                }
            )
    incoming = folder / f"{file_name(name)}{INCOMING}"
    log.info(f"{name}: bringing in {track.uri}")
    if is_local(track.uri):
        found = local_state(Path(track.uri))
        shutil.copyfile(track.uri, incoming)
        version = found.version
    else:
        downloaded = download(track.uri, incoming, retries)
        version = downloaded.version if downloaded else None
    digest = sha256_file(incoming)
    try:
        check_digest(digest, track.sha256, track.uri)
    except Exception:
        incoming.unlink(missing_ok=True)
        raise
    incoming.replace(target)
    return Source(
        cell_type=track.cell_type,
        assay=track.assay,
        replicate=track.replicate,
        uri=track.uri,
        version=version,
        bytes=target.stat().st_size,
        sha256=digest,
        expected=track.sha256,
        transform=track.transform,
        uncovered=track.uncovered,
        metadata=dict(track.metadata),
    )


def put_under_dvc(folder: Path) -> bool:
    """Let DVC track a folder of imported tracks (``<folder>.dvc``, to be committed).

    Returns
    -------
    bool
        False where the folder is in no DVC project.

    Raises
    ------
    DataError
        DVC does not take it.
    """
    import logging

    from dvc.exceptions import DvcException, NotDvcRepoError
    from dvc.repo import Repo

    logging.getLogger("dvc").setLevel(logging.CRITICAL)
    try:
        root = Repo.find_root(str(folder.parent))
    except NotDvcRepoError:
        return False
    try:
        with Repo(root) as repo:
            repo.add([str(folder.resolve())])
    except DvcException as error:
        raise DataError(
            f"{folder}: DVC does not take it: {error}; choose a folder that git does not ignore, or --no-dvc"
        ) from error
    return True
