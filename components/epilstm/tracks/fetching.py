"""Track files from wherever they lie to a local path, whole and with a fingerprint."""

from __future__ import annotations

import hashlib
import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse, InvalidURL
from pathlib import Path
from typing import Any

from epilstm.console import log
from epilstm.errors import MissingTrackError, TrackError
from epilstm.files.object_store import open_store
from epilstm.files.outputs import write_json
from epilstm.tracks.samplesheet import is_local, url_problem

#: Seconds without a byte before a remote read, or a question about a file's version, counts as failed.
TIMEOUT, LOOKUP_TIMEOUT = 60.0, 10.0
#: Seconds before the first further attempt; each later one waits twice as long as the one before, up to the last.
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
BLOCK = 1 << 20


@dataclass(frozen=True)
class SourceState:
    """What says, without reading it, whether a file is still the same.

    Parameters
    ----------
    size : int or None
        Bytes, where they are known.
    version : str
        Modification time of a local file; ETag or Last-Modified over HTTP; what the file system's fsspec driver says.
    """

    size: int | None
    version: str


def local_state(path: Path) -> SourceState:
    """Size and modification time of a local file.

    Raises
    ------
    TrackError
        There is no such file, or it is a folder.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        raise MissingTrackError(f"{path}: no such file; check the samplesheet's uri") from None
    except OSError as error:
        raise TrackError(f"{path}: cannot be opened: {error.strerror}") from error
    if not path.is_file():
        raise TrackError(f"{path}: not a file; check the samplesheet's uri")
    return SourceState(status.st_size, f"mtime_ns {status.st_mtime_ns}")


def source_state(uri: str) -> SourceState | None:
    """State of a local or remote file without reading it; None where a remote one does not say.

    Raises
    ------
    TrackError
        A local file is missing.
    """
    if is_local(uri):
        return local_state(Path(uri))
    try:
        if _is_http(uri):
            request = urllib.request.Request(uri, method="HEAD", headers=_headers())
            with urllib.request.urlopen(request, timeout=LOOKUP_TIMEOUT) as response:
                return _state_of_response(response, _content_length(response))
        file_system, path = open_store(uri)
        return SourceState(file_system.size(path), f"ukey {file_system.ukey(path)}")
    except Exception as error:  # drivers raise what they like; reading the file shows what is wrong with it
        log.debug(f"{uri}: does not say what version it is: {error}")
        return None


def download(uri: str, target: Path, retries: int, on_retry: Callable[[], None] = lambda: None) -> SourceState | None:
    """Copy a remote file to a local path, going on where an earlier attempt, in this run or before, ended.

    Parameters
    ----------
    uri : str
        ``http(s)://``, or anything that fsspec opens.
    target : Path
        Beside it grows ``<target>.part``; `target` itself appears when it is whole.
    retries : int
        Further attempts after one that failed without getting any further than those before.
    on_retry : callable
        Called for every further attempt.

    Returns
    -------
    SourceState or None
        Of what was downloaded, where the server says.

    Raises
    ------
    TrackError
        The file is not there, may not be read, or every attempt failed.
    """
    problem = url_problem(uri)
    if problem is not None:
        raise TrackError(f"{uri}: {problem}")
    partial = Partial(target.with_name(f"{target.name}.part"))
    attempt: Callable[[str, Partial], SourceState | None] = _attempt_http if _is_http(uri) else _attempt_fsspec
    furthest, failures, wait = partial.size, 0, FIRST_WAIT
    while True:
        try:
            state = attempt(uri, partial)
            partial.finish(target)
            return state
        except _Transient as failure:
            if partial.size > furthest:
                furthest, failures, wait = partial.size, 0, FIRST_WAIT
            failures += 1
            if failures > retries:
                raise TrackError(
                    f"{uri}: cannot be read after {failures} attempts: {failure}; check the network and run it again, "
                    "it resumes where it stopped"
                ) from failure
            log.warning(f"{uri}: {failure}; trying again in {wait:g} s")
            on_retry()
            time.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT)


@dataclass(frozen=True)
class Partial:
    """The part of a file that is there already, and the version that it is part of.

    Parameters
    ----------
    path : Path
        Holds the first bytes of the file.
    """

    path: Path

    @property
    def size(self) -> int:
        """Bytes that are there."""
        return self.path.stat().st_size if self.path.is_file() else 0

    @property
    def version(self) -> str | None:
        """Version that the bytes are of; None where unknown."""
        try:
            version = json.loads(self._note.read_text(encoding="utf-8"))["version"]
        except (OSError, ValueError, KeyError):
            return None
        return str(version)

    @property
    def _note(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")

    def begin(self, version: str | None) -> None:
        """Start over, with a file of this version."""
        self.remove()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if version is not None:
            write_json(self._note, {"version": version})

    def finish(self, target: Path) -> None:
        """Put the whole file in place."""
        self.path.replace(target)
        self._note.unlink(missing_ok=True)

    def remove(self) -> None:
        """Forget what is there."""
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)


class _Transient(Exception):
    """A remote read failed in a way that another attempt may overcome."""


def _one_line(text: object) -> str:
    """What libraries say, in one line."""
    return " ".join(str(text).split())


def _is_http(uri: str) -> bool:
    return uri.lower().startswith(("http://", "https://"))


def _headers() -> dict[str, str]:
    return {"User-Agent": "epilstm", "Accept-Encoding": "identity"}


def _content_length(response: Any) -> int | None:
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdigit() else None


def _state_of_response(response: Any, size: int | None) -> SourceState | None:
    etag, modified = response.headers.get("ETag"), response.headers.get("Last-Modified")
    if etag and not etag.startswith("W/"):  # a weak tag does not promise the same bytes
        return SourceState(size, etag)
    return SourceState(size, modified) if modified else None


def _attempt_http(uri: str, partial: Partial) -> SourceState | None:
    headers, have, version = _headers(), partial.size, partial.version
    if have and version is not None:
        headers |= {"Range": f"bytes={have}-", "If-Range": version}
    try:
        with urllib.request.urlopen(urllib.request.Request(uri, headers=headers), timeout=TIMEOUT) as response:
            return _receive(response, partial, have, version)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416:  # the part is longer than the file, or is all of it
                total = error.headers.get("Content-Range", "").rpartition("/")[2]
                if version is not None and total == str(have):
                    return SourceState(have, version)
                partial.remove()
                raise _Transient("the file has changed") from error
            if error.code in (408, 425, 429) or error.code >= 500:
                raise _Transient(f"the server answers {error.code} {error.reason}") from error
            if 300 <= error.code < 400:
                raise TrackError(
                    f"{uri}: the server redirects in a circle, or to where it may not ({error.code}, at last from "
                    f"{error.geturl()}); check the samplesheet's uri"
                ) from error
            raise TrackError(
                f"{uri}: the server answers {error.code} {_one_line(error.reason)}; check the samplesheet's uri"
            ) from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise TrackError(
                f"{uri}: the server's certificate is not trusted: {error.reason.verify_message}; name the certificates "
                "to trust in SSL_CERT_FILE, or correct the samplesheet's uri"
            ) from error
        if isinstance(error.reason, str | InvalidURL):  # said before anything was sent
            raise TrackError(f"{uri}: not a usable URL: {error.reason}; check the samplesheet's uri") from error
        raise _Transient(_one_line(error.reason)) from error
    except InvalidURL as error:
        raise TrackError(f"{uri}: leads to no usable URL: {_one_line(error)}; check the samplesheet's uri") from error
    except (HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as error:
        raise _Transient(f"the connection broke ({error or type(error).__name__})") from error
    except ValueError as error:
        raise TrackError(f"{uri}: not a usable URL: {error}; check the samplesheet's uri") from error


def _receive(response: HTTPResponse, partial: Partial, have: int, version: str | None) -> SourceState | None:
    length = _content_length(response)
    state = _state_of_response(response, length)
    if response.status == 206:
        first, _, total = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
        if not first.startswith(f"{have}-") or (state is not None and state.version != version):
            partial.remove()
            raise _Transient("the file has changed")
        size = int(total) if total.isdigit() else (None if length is None else have + length)
        state = None if version is None else SourceState(size, version)
    else:
        size = length
        partial.begin(None if state is None else state.version)
    with open(partial.path, "ab") as file:
        while block := response.read(BLOCK):
            file.write(block)
    if size is not None and partial.size != size:
        if partial.size > size:
            partial.remove()
        raise _Transient(f"the connection broke after {partial.size} of {size} bytes")
    return state


def _attempt_fsspec(uri: str, partial: Partial) -> SourceState | None:
    try:
        file_system, path = open_store(uri)
    except (ImportError, ValueError) as error:
        raise TrackError(f"{uri}: {error}; check the samplesheet's uri") from error
    try:
        file_system.invalidate_cache()
        size, version = file_system.size(path), f"ukey {file_system.ukey(path)}"
        if partial.version != version or partial.size > size:
            partial.begin(version)
        with file_system.open(path, "rb") as source, open(partial.path, "ab") as file:
            source.seek(partial.size)
            while block := source.read(BLOCK):
                file.write(block)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise MissingTrackError(f"{uri}: no such file; check the samplesheet's uri") from error
    except PermissionError as error:
        raise TrackError(f"{uri}: may not be read: {error}; check the credentials") from error
    except Exception as error:  # each driver has errors of its own, for the network and for credentials alike
        if _is_local_disk_error(error):
            raise
        raise _Transient(f"{type(error).__name__}: {_one_line(error)}") from error
    if size is not None and partial.size != size:
        raise _Transient(f"got {partial.size} of {size} bytes")
    return SourceState(size, version)


def _is_local_disk_error(error: Exception) -> bool:
    import errno

    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def check_digest(digest: str, expected: str | None, where: str) -> None:
    """Hold a file's SHA-256 against the samplesheet's.

    Raises
    ------
    TrackError
        They differ.
    """
    if expected is not None and digest != expected:
        raise TrackError(
            f"{where}: wrong checksum: the file has sha256 {digest[:12]}... but the samplesheet says "
            f"{expected[:12]}...; copy or download it again, or correct the samplesheet"
        )


def name_of(uri: str) -> str:
    """File name that stands for a uri in a cache."""
    return hashlib.sha256(uri.encode()).hexdigest()
