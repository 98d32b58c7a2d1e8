"""The version of the tracks' files, known without reading them: when it changes, what follows is out of date."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from epilstm.console import log
from epilstm.errors import TrackError
from epilstm.files.outputs import sha256_json
from epilstm.tracks.fetching import source_state
from epilstm.tracks.samplesheet import Track, is_local, resolve_uri

#: Servers asked in parallel.
LOOKUPS = 16


def tracks_version(tracks: Sequence[Track], sheet: Path) -> str:
    """Version of the tracks' files.

    Of a track whose SHA-256 the samplesheet gives, that is its version, and a local file must be there; of another one
    the state of its file (size and modification time, ETag).

    Raises
    ------
    TrackError
        A local file is missing; the message is ingest's.
    """

    def version(track: Track) -> str:
        uri = resolve_uri(track.uri, sheet)
        try:
            state = source_state(uri) if track.sha256 is None or is_local(uri) else None
        except TrackError as error:
            raise type(error)(f"track {track.name}: {error}") from None
        if track.sha256 is not None:
            return track.sha256
        if state is None:
            log.warning(
                f"track {track.name}: {uri} does not say what version it is; give its sha256 in the samplesheet"
            )
        return sha256_json(state and asdict(state))

    failures: list[TrackError] = []
    versions = []
    with ThreadPoolExecutor(LOOKUPS) as threads:
        for future in [threads.submit(version, track) for track in tracks]:
            try:
                versions.append(future.result())
            except TrackError as error:
                failures.append(error)
    if failures:
        more = f" (and {len(failures) - 1} more tracks failed)" if len(failures) > 1 else ""
        raise type(failures[0])(f"{failures[0]}{more}")
    return sha256_json(versions)
