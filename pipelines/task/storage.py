"""Files by URI, local or remote, through fsspec; what goes wrong there is one line."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from epilstm.errors import DataError, ParamsError
from epilstm.files.object_store import delete, open_store


def is_remote(uri: str) -> bool:
    """Whether it is a URI rather than a path."""
    return "://" in uri


def refuse_credentials(uri: str) -> None:
    """Refuse a URI with credentials in it: URIs go into logs, records and kfp's database.

    Raises
    ------
    ParamsError
        Without repeating them.
    """
    if is_remote(uri) and "@" in urlsplit(uri).netloc:
        raise ParamsError("a URI must not hold credentials; give them by environment or a mounted file")


def join(uri: str, name: str) -> str:
    """A name under a URI or path."""
    return f"{uri.rstrip('/')}/{name}"


def sizes(uri: str) -> dict[str, int]:
    """Bytes of every file under a URI, by relative name; none where there is no such folder."""
    with errors_in_one_line(uri):
        file_system, path = open_store(uri)
        found: Mapping[str, Any] = file_system.find(path, detail=True)
    start = path.rstrip("/") + "/"
    return {name.removeprefix(start): int(info["size"]) for name, info in found.items() if name.startswith(start)}


def read(uri: str) -> bytes | None:
    """Content of a file; None where there is none."""
    with errors_in_one_line(uri):
        file_system, path = open_store(uri)
        try:
            content: bytes = file_system.cat_file(path)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            answer = getattr(error.__cause__, "response", {})
            if answer.get("Error", {}).get("Code") == "NoSuchBucket":
                raise
            return None
    return content


def download(uri: str, names: Iterable[str], folder: Path) -> None:
    """Copy files under a URI into a folder, several in parallel."""
    names = list(names)
    if not names:
        return
    with errors_in_one_line(uri):
        file_system, path = open_store(uri)
        for parent in {(folder / name).parent for name in names}:
            parent.mkdir(parents=True, exist_ok=True)
        file_system.get([join(path, name) for name in names], [str(folder / name) for name in names])


def upload(folder: Path, names: Iterable[str], uri: str) -> None:
    """Copy files of a folder to a URI, several in parallel; each appears whole or not at all."""
    names = list(names)
    if not names:
        return
    with errors_in_one_line(uri):
        file_system, path = open_store(uri)
        file_system.put([str(folder / name) for name in names], [join(path, name) for name in names])


def remove(uri: str, names: Iterable[str]) -> None:
    """Delete files under a URI."""
    names = list(names)
    if names:
        with errors_in_one_line(uri):
            file_system, path = open_store(uri)
            delete(file_system, [join(path, name) for name in names])


@contextmanager
def errors_in_one_line(uri: str) -> Iterator[None]:
    """Turn what a storage driver raises into one line.

    Raises
    ------
    DataError
        Names the URI, what is wrong and what to do. Drivers raise many kinds of errors: those that are not about
        storage pass unchanged.
    """
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        reason = _reason(error)
        if reason is None:
            raise
        raise DataError(f"{uri}: {reason}") from error


def _reason(error: Exception) -> str | None:
    kinds = {kind.__name__ for kind in type(error).__mro__}
    text = " ".join(str(error).split())
    if isinstance(error, ImportError) or "Protocol not known" in text:
        return f"cannot be opened: {text}"
    if kinds & {"NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "NoAuthTokenError"}:
        return "no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or mount a credentials file"
    if isinstance(error, PermissionError):
        return f"access denied ({text}); check the credentials and what they may do"
    if isinstance(error, FileNotFoundError):
        return f"no such bucket or file ({text}); check the name"
    if kinds & {"EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "ConnectionClosedError"}:
        return f"the storage does not answer ({text}); check AWS_ENDPOINT_URL and the network"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "no space left on the local disk; give the task more ephemeral storage or a larger TMPDIR"
    if kinds & {"BotoCoreError", "ClientError", "ClientClosedError"} or isinstance(error, OSError):
        return f"the storage failed: {text or type(error).__name__}"
    return None
