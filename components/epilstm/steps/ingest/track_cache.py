"""Binned tracks that are kept, so that no file is read twice."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

from epilstm.console import log
from epilstm.errors import EpilstmError, TrackError
from epilstm.files.completion import WorkFolder
from epilstm.files.outputs import exclusive, read_json, remove, sha256_file, staged, write_json
from epilstm.store.binned_track import BinnedTrack, Binning, bin_track, check_chromosomes, read_binned_track
from epilstm.tracks.bigwig import BigWig
from epilstm.tracks.converting import as_bigwig, needs_converting
from epilstm.tracks.fetching import SourceState, check_digest, download, local_state, name_of, source_state
from epilstm.tracks.samplesheet import Track, is_local


@dataclass(frozen=True)
class Source:
    """A track and what to open for it.

    Parameters
    ----------
    track : Track
        Row of the samplesheet.
    uri : str
        Its uri, resolved: a local path, or remote.
    """

    track: Track
    uri: str

    @property
    def where(self) -> str:
        """How messages name it."""
        return f"track {self.track.name}: {self.uri}"


@dataclass(frozen=True)
class Found:
    """A binned track in the cache.

    Parameters
    ----------
    folder : Path
        Written by `bin_track`; its files are shared by hard links, so nothing may ever change them.
    binned : BinnedTrack
        Its summary.
    bytes_read : int
        Bytes of the source that were read to make it; 0 where it was there already.
    retries : int
        Further attempts that reading it took.
    """

    folder: Path
    binned: BinnedTrack
    bytes_read: int = 0
    retries: int = 0


@dataclass(frozen=True)
class TrackCache:
    """A folder of binned tracks, of notes on which file had which digest, and of downloads under way.

    Several processes, of one run or of many, may use it at once.

    Parameters
    ----------
    folder : Path
        Made when it is needed.
    """

    folder: Path

    @property
    def _tracks(self) -> WorkFolder:
        """Binned tracks, each named after all that it follows from (`Binning.key`)."""
        return WorkFolder(self.folder / "tracks")

    def _place(self, kind: str, name: str) -> Path:
        """Where something of a kind lies; the kind's folder is made."""
        (self.folder / kind).mkdir(parents=True, exist_ok=True)
        return self.folder / kind / name

    def find(self, source: Source, binning: Binning) -> Found | None:
        """Return the binned form of a track, if it is available without reading the track's file.

        Raises
        ------
        TrackError
            A local file is missing, unusable from its first bytes on, or known not to be what the samplesheet says.
        """
        expected = source.track.sha256
        if expected is not None and not is_local(source.uri):
            found = self._found(expected, source.track, binning)
            if found is not None:
                return found
        digest = self._noted_digest(source.uri, source_state(source.uri))
        if digest is not None:
            check_digest(digest, expected, source.uri)
            found = self._found(digest, source.track, binning)
            if found is not None:
                return found
        if is_local(source.uri) and not needs_converting(Path(source.uri), source.uri):
            with BigWig(Path(source.uri)) as bigwig:  # what can be said before hours of work is said now
                check_chromosomes(bigwig, binning)
        return None

    def holds_anything(self) -> bool:
        """Whether a later run can resume from what is here: a binned track, or part of a download."""
        return any(any((self.folder / kind).glob("*")) for kind in ("tracks", "downloads"))

    def make(self, source: Source, binning: Binning, retries: int) -> Found:
        """Read a track's file and bin it.

        Parameters
        ----------
        source : Source
            What to read.
        binning : Binning
            What to read of it.
        retries : int
            Further attempts at a remote read.

        Raises
        ------
        TrackError
            The file is unavailable or not usable.
        """
        if is_local(source.uri):
            path = Path(source.uri)
            return self._make(source, binning, path, local_state(path))
        path = self._place("downloads", f"{name_of(source.uri)}.bigwig")
        with exclusive(path, waiting=f"{source.where}: another run downloads it, waiting for it"):
            retried: list[None] = []
            state = download(source.uri, path, retries, lambda: retried.append(None))
            try:
                return replace(self._make(source, binning, path, state), retries=len(retried))
            finally:
                remove(path)

    def _make(self, source: Source, binning: Binning, path: Path, state: SourceState | None) -> Found:
        before = local_state(path)
        digest = sha256_file(path)
        check_digest(digest, source.track.sha256, source.uri)
        track = source.track
        key = binning.key(digest, track.transform, track.uncovered)
        place = self._place("tracks", key)
        with exclusive(place, waiting=f"{source.where}: another run bins it, waiting for it"):
            if self._tracks.facts(key) is None:
                size = path.stat().st_size
                with staged(place) as growing, staged(self._place("downloads", key)) as converted:
                    growing.mkdir()
                    converted.mkdir()
                    bigwig = as_bigwig(path, source.uri, binning.sizes, converted)
                    bin_track(bigwig, digest, binning, growing, source.uri, track.transform, track.uncovered, size)
                    if local_state(path) != before:
                        raise TrackError(f"{source.uri}: the file changed while it was read; run it again")
                    self._tracks.keep(growing, key)
        if state is not None:
            note = self._place("sources", self._note(source.uri).name)
            with exclusive(note, waiting=f"{source.where}: another run notes its checksum, waiting for it"):
                write_json(note, {"uri": source.uri, "state": asdict(state), "sha256": digest})
        return Found(place, read_binned_track(place), before.size or 0)

    def _found(self, digest: str, track: Track, binning: Binning) -> Found | None:
        key = binning.key(digest, track.transform, track.uncovered)
        place = self._tracks.path(key)
        if self._tracks.facts(key) is None:
            if place.exists():
                log.warning(f"{place}: damaged, so its track is read again")
            return None
        return Found(place, read_binned_track(place))

    def _note(self, uri: str) -> Path:
        return self.folder / "sources" / f"{name_of(uri)}.json"

    def _noted_digest(self, uri: str, state: SourceState | None) -> str | None:
        note = self._note(uri)
        if state is None or not note.is_file():
            return None
        try:
            content = read_json(note)
            return str(content["sha256"]) if content["state"] == asdict(state) else None
        except (EpilstmError, KeyError, TypeError):
            return None
