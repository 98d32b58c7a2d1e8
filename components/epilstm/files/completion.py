"""Seals of finished folders: what a folder held when it was done, to tell later, and fast, whether it still does."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from epilstm.errors import DataError
from epilstm.files.outputs import read_json, write_json

#: The file that holds a folder's seal.
SEAL = "seal.json"

#: Bytes at the end of a file that are held against the seal: all of a small file, the index of a shard, and of a large
#: file what is lost or zero after a full disk, a copy that broke off or a crash of the machine.
TAIL_BYTES = 4096


def seal(folder: Path, facts: dict[str, Any] | None = None) -> None:
    """Write the seal of a folder, when all else is there.

    Parameters
    ----------
    folder : Path
        Its files must not change from here on.
    facts : dict, optional
        JSON-able; given back by `sealed_facts`.
    """
    write_json(folder / SEAL, {"facts": facts or {}, "files": _files(folder)})


def sealed_facts(folder: Path) -> dict[str, Any] | None:
    """Facts of a folder that is as it was when it was sealed; None for one that has changed or was never sealed."""
    try:
        content = read_json(folder / SEAL)
        if content["files"] != _files(folder):
            return None
        facts: dict[str, Any] = content["facts"]
    except (DataError, OSError, KeyError, TypeError):
        return None
    return facts


def _files(folder: Path) -> dict[str, list[int | str]]:
    """Size and digest of the end of each file but the seal, by its path in the folder."""
    found: dict[str, list[int | str]] = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            if path.name != SEAL or path.parent != folder:
                found[str(path.relative_to(folder))] = _size_and_end(path)
    return found


def _size_and_end(path: Path) -> list[int | str]:
    with open(path, "rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - TAIL_BYTES))
        return [size, hashlib.sha256(stream.read()).hexdigest()]
