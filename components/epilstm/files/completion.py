"""Folders that are complete or absent: completion markers, and work folders from which a killed run resumes.

A folder's completion marker is written last and removed first. It holds what the folder held when it was
complete, so that a damaged one is recognised quickly, and facts that its maker wants back.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from epilstm.errors import DataError
from epilstm.files.outputs import COMPLETION_MARKER, read_json, remove, write_json

#: Bytes at the end of a file that are compared with the marker: all of a small file, the index of a shard, and of a
#: large file what is lost or zero after a full disk, a copy that broke off or a crash of the machine.
TAIL_BYTES = 4096

#: Marks, in a folder that pieces grow in, that its process lives.
LOCK = ".lock"

#: What the maker of a folder wants back; JSON-able.
Facts = dict[str, Any]


@dataclass(frozen=True)
class CompletionMarker:
    """What a folder follows from or amounts to, and what it held when it was complete.

    Parameters
    ----------
    facts : dict
        Of the maker, JSON-able.
    files : mapping of str to JSON-able
        What identifies each file's content, by its path in the folder: size and digest of the end, or the size alone
        where reading has its price.
    """

    facts: Facts = field(default_factory=dict)
    files: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, content: Any) -> CompletionMarker | None:
        """The marker that JSON holds; None where it holds none."""
        try:
            return cls(dict(content["facts"]), dict(content["files"]))
        except (KeyError, TypeError, ValueError):
            return None

    def write(self, path: Path) -> None:
        """Write the marker; readers see the old one or the new one."""
        write_json(path, asdict(self))


def mark_complete(folder: Path, facts: Facts | None = None) -> None:
    """Write the completion marker of a folder, when all else is there.

    Parameters
    ----------
    folder : Path
        Its files must not change from here on.
    facts : dict, optional
        JSON-able; given back by `complete_facts`.
    """
    CompletionMarker(facts or {}, _files(folder)).write(folder / COMPLETION_MARKER)


def complete_facts(folder: Path) -> Facts | None:
    """Facts of a folder that is as it was when it was complete; None for one that has changed or was never complete."""
    try:
        found = CompletionMarker.parse(read_json(folder / COMPLETION_MARKER))
        return found.facts if found is not None and found.files == _files(folder) else None
    except (DataError, OSError):
        return None


def _files(folder: Path) -> dict[str, list[int | str]]:
    """Size and digest of the end of each file but the marker, by its path in the folder."""
    found: dict[str, list[int | str]] = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            if path.name != COMPLETION_MARKER or path.parent != folder:
                found[str(path.relative_to(folder))] = _size_and_end(path)
    return found


def _size_and_end(path: Path) -> list[int | str]:
    with open(path, "rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - TAIL_BYTES))
        return [size, hashlib.sha256(stream.read()).hexdigest()]


@dataclass(frozen=True)
class WorkFolder:
    """Pieces of work by name, each a folder: complete or absent.

    A piece grows elsewhere and is renamed into place. So any number of processes, on any number of machines that share
    a file system, may work at once; two that do the same piece do work twice and no harm. The name says what a piece
    is, and the folder's or the piece's name what it follows from.

    Parameters
    ----------
    folder : Path
        Made when it is needed.
    """

    folder: Path

    def path(self, name: str) -> Path:
        """Where a piece lies once it is complete; nothing may change its files, which outputs share by hard links."""
        return self.folder / name

    def facts(self, name: str) -> Facts | None:
        """Facts of a piece; None where it is absent or damaged."""
        return complete_facts(self.path(name))

    def keep(self, grown: Path, name: str, facts: Facts | None = None) -> None:
        """Mark a piece that has grown on the same file system complete, and put it in place unless one is there."""
        mark_complete(grown, facts)
        place = self.path(name)
        try:
            grown.rename(place)
        except OSError:  # another process was faster, or was killed while it removed one, or it is damaged
            if complete_facts(place) is None:
                remove(place, others_may=True)
                grown.rename(place)

    def drop(self, names: Iterable[str]) -> None:
        """Remove pieces, and the folder when nothing else is in it."""
        for name in names:
            remove(self.path(name), others_may=True)
        self._remove_dead()
        with suppress(OSError):  # another process is at work there
            self.folder.rmdir()

    @contextmanager
    def growing(self) -> Iterator[Path]:
        """A folder of this process for pieces to grow in; what a killed process of this machine left is removed."""
        self._remove_dead()
        while True:
            folder = self.folder / f".{_host()}-{uuid4().hex}.partial"
            folder.mkdir(parents=True)
            with open(folder / LOCK, "w") as lock:
                with suppress(OSError):  # a file system without locks: the dead are not recognised there, and stay
                    fcntl.flock(lock, fcntl.LOCK_EX)
                if not folder.exists():  # taken for a dead one's before it was locked
                    continue
                try:
                    yield folder
                finally:
                    remove(folder, others_may=True)
                return

    def _remove_dead(self) -> None:
        # Of this machine only: a lock need not be seen by other machines.
        for folder in self.folder.glob(f".{_host()}-*.partial"):
            with suppress(OSError), open(folder / LOCK, "r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove(folder, others_may=True)


def _host() -> str:
    return socket.gethostname().replace(os.sep, "-")
