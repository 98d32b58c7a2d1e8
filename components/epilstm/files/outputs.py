"""Files and folders that are written: whole or not at all, by one process at a time, and with a fingerprint.

======================== ================================================================================
to                       use
======================== ================================================================================
replace a file or folder `replacing`: readers see the old one or the new one, whatever happens in between
write a user's output    `written_whole`: `replacing`, with `exclusive`, `check_replaceable` and plain errors
write alone              `exclusive`
keep work for a resume   `epilstm.files.completion.WorkFolder`
======================== ================================================================================
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from epilstm.console import log
from epilstm.errors import DataError, DiskFullError
from epilstm.files.disk import is_disk_full

#: The file whose content stands for a dataset, model or encoder folder.
MANIFEST = "manifest.json"

#: The completion marker of a folder of work (`epilstm.files.completion`).
COMPLETION_MARKER = "seal.json"

#: The ONNX file of an encoder folder.
ENCODER = "encoder.onnx"

#: Kinds of folder that say what they are in their manifest's ``format``.
FOLDER_KINDS = {"signal", "matrix", "model", "encoder", "embeddings", "evaluation", "tracks", "segmentation", "windows"}


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_json(content: Any) -> str:
    """SHA-256 of a JSON-able value, independent of key order."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def fingerprint(path: Path) -> str:
    """What identifies an artifact's content.

    Parameters
    ----------
    path : Path
        A file, a folder with a `MANIFEST` (which names everything its content follows from), or a plain folder.

    Returns
    -------
    str
        SHA-256 of the file, of the manifest, or of the names and digests of all files in a plain folder.
    """
    if path.is_file():
        return sha256_file(path)
    if (path / MANIFEST).is_file():
        return sha256_file(path / MANIFEST)
    names = sorted(file for file in path.rglob("*") if file.is_file())
    return sha256_json([[str(file.relative_to(path)), sha256_file(file)] for file in names])


def staging_path(path: Path) -> Path:
    """Where an output grows before it is renamed into place: a hidden sibling."""
    return path.with_name(f".{path.name}.partial")


def _set_aside(path: Path) -> Path:
    """Where the old folder waits while its successor is renamed into place: a hidden sibling."""
    return path.with_name(f".{path.name}.old")


def remove(path: Path, others_may: bool = False) -> None:
    """Delete a file or folder if it is there.

    What marks a folder as complete goes first, so that no half of one looks complete.

    Parameters
    ----------
    others_may : bool
        Other processes may delete the same folder now; what is left is not an error.
    """
    if path.is_dir() and not path.is_symlink():
        for marker in (MANIFEST, COMPLETION_MARKER):
            (path / marker).unlink(missing_ok=True)
        if others_may:
            shutil.rmtree(path, ignore_errors=True)
        else:
            shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def put_in_place(staged: Path, path: Path) -> None:
    """Rename a finished output over its final path, replacing what was there.

    A folder takes two renames; after a kill between them `put_back` repairs it.
    """
    old = _set_aside(path)
    remove(old)
    if path.is_dir():
        path.rename(old)
        staged.rename(path)
        remove(old)
    else:
        os.replace(staged, path)


@contextmanager
def staged(path: Path) -> Iterator[Path]:
    """Where an output grows, cleared of what a killed run left there; what is there at the end is removed."""
    growing = staging_path(path)
    remove(growing)
    try:
        yield growing
    finally:
        with suppress(OSError):  # a file system that refuses this has refused the output, too
            remove(growing)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Where the successor of a file or folder grows; it is put in place when all went well, and is gone when not."""
    with staged(path) as successor:
        yield successor
        put_in_place(successor, path)


def put_back(path: Path) -> None:
    """Rename back the old dataset that a killed `put_in_place` had set aside, where nothing took its place.

    Raises
    ------
    DataError
        Another process is writing there.
    """
    if _lacks_what_was_set_aside(path):
        with exclusive(path):
            pass


def _lacks_what_was_set_aside(path: Path) -> bool:
    return not os.path.lexists(path) and (_set_aside(path) / MANIFEST).is_file()


def check_replaceable(path: Path, folder: bool, kind: str | None = None) -> None:
    """Refuse to overwrite what no step wrote.

    Parameters
    ----------
    path : Path
        Where an output is to go.
    folder : bool
        Whether the output is a folder; else it is a file.
    kind : str, optional
        Kind of the output (`epilstm.runtime.step_table.Port`); a dataset or model of another kind is not replaced.

    Raises
    ------
    DataError
        A file stands where a folder is to go or the other way round, or a folder has content but no `MANIFEST`.
    """
    advice = "choose another output path or move it away"
    if not folder and path.is_dir():
        raise DataError(f"{path}: a folder stands where a file is to be written; {advice}")
    if folder and path.exists() and not path.is_dir():
        raise DataError(f"{path}: a file stands where a folder is to be written; {advice}")
    if folder and path.is_dir() and any(path.iterdir()) and not (path / MANIFEST).is_file():
        raise DataError(f"{path}: a folder with other content stands there; {advice}")
    if folder and kind in FOLDER_KINDS and (path / MANIFEST).is_file():
        found = str(read_json(path / MANIFEST).get("format", ""))
        if found and not found.startswith(f"epilstm.{kind}"):
            raise DataError(f"{path}: {found.partition('/')[0]} stands there, not {kind}; {advice}")


def require_free(path: Path, overwrite: bool, folder: bool = False, kind: str | None = None) -> None:
    """Refuse to replace a finished output of a command whose user names it, unless they say so.

    Parameters
    ----------
    path : Path
        Where the output is to go.
    overwrite : bool
        Whether the user said so.
    folder : bool
        Whether the output is a folder; what else may stand in its place is for `check_replaceable` to refuse.
    kind : str, optional
        As for `check_replaceable`: what is not of this kind is not offered to be replaced.

    Raises
    ------
    DataError
        Such an output is there, or a dataset of another kind.
    """
    if not overwrite and ((path / MANIFEST) if folder else path).is_file():
        check_replaceable(path, folder, kind)
        raise DataError(f"{path}: is there already; give another name, or --overwrite to replace it")


@contextmanager
def exclusive(path: Path, waiting: str | None = None) -> Iterator[None]:
    """Hold an output so that no second process writes it at the same time; first repair what a killed one left of it.

    Folders above it are made where they are not there, and removed again where nothing came into them.

    Parameters
    ----------
    path : Path
        The output; the lock is a hidden sibling.
    waiting : str, optional
        Logged where another process holds it, which is then waited for.

    Raises
    ------
    DataError
        Another process holds it and is not to be waited for, or its folder cannot be written.
    """
    lock = path.with_name(f".{path.name}.lock")
    made = [folder for folder in (path.parent, *path.parent.parents) if not folder.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = _locked(lock, waiting)
    except OSError as error:
        _remove_empty(made)
        if is_disk_full(error):
            raise _disk_full(path) from error
        raise DataError(f"{path}: cannot be written: {error.strerror}; choose another output path") from error
    if stream is None:
        raise DataError(f"{path}: another run is writing this output; wait for it or stop it")
    with stream:
        try:
            if _lacks_what_was_set_aside(path):
                _set_aside(path).rename(path)
            yield
        finally:
            with suppress(OSError):
                lock.unlink(missing_ok=True)
            _remove_empty(made)


def _locked(lock: Path, waiting: str | None) -> IO[str] | None:
    """A lock file, open and locked; None where another process holds it and is not to be waited for."""
    while True:
        stream = open(lock, "w")  # noqa: SIM115 - closed by the caller, or below
        try:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if waiting is None:
                    stream.close()
                    return None
                log.info(waiting)
                fcntl.flock(stream, fcntl.LOCK_EX)
            with suppress(FileNotFoundError):
                # A lock file that was deleted between our opening and our locking it holds nothing.
                if os.path.samestat(os.fstat(stream.fileno()), lock.stat()):
                    return stream
        except BaseException:
            stream.close()
            raise
        stream.close()
        if waiting is None:
            return None


def _remove_empty(folders: Sequence[Path]) -> None:
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


def _disk_full(path: Path) -> DiskFullError:
    return DiskFullError(f"{path}: no space left on its disk; free some and run it again, nothing was half-written")


@contextmanager
def written_whole(path: Path, folder: bool, kind: str | None = None) -> Iterator[Path]:
    """Where an output is to grow; it is put in place when all went well, and is gone when not.

    Parameters
    ----------
    path, folder, kind
        As for `check_replaceable`.

    Raises
    ------
    DataError
        Something else stands there, or it cannot be written.
    """
    with exclusive(path):
        check_replaceable(path, folder, kind)
        try:
            with replacing(path) as successor:
                yield successor
        except DiskFullError:
            raise
        except Exception as error:
            if is_disk_full(error):
                raise _disk_full(path) from error
            if isinstance(error, OSError):
                raise DataError(f"{path}: cannot be written: {error.strerror or error}; choose another path") from error
            raise


def to_json(content: Any) -> str:
    """Readable JSON text with sorted keys and a final newline; NaN is refused."""
    return json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n"


def write_json(path: Path, content: Any) -> None:
    """Write JSON so that readers see the old file or the new one, never part of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as successor:
        successor.write_text(to_json(content), encoding="utf-8")


def write_together(texts: Mapping[Path, str]) -> None:
    """Write text files, all of them whole or none.

    Raises
    ------
    DataError
        One cannot be written.
    """
    with ExitStack() as stack:
        for path, text in texts.items():
            stack.enter_context(written_whole(path, folder=False)).write_text(text, encoding="utf-8")


def read_json(path: Path) -> Any:
    """Content of a JSON file.

    Raises
    ------
    DataError
        Missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; run the step that writes it") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as JSON: {error}; run the step that writes it again") from error
