"""The parts folder: arrays that a step has done, kept until a run takes them over into its output.

======================================= ===============================================================
path                                    content
======================================= ===============================================================
``<step>-<key>/``                       one for all that the values of an array follow from
``<step>-<key>/<array>/``               an array: a Zarr group with its array, and ``seal.json``
``<step>-<key>/.<host>-<any>.partial/`` what one process is writing
======================================= ===============================================================

An array is there whole or not at all: it grows in a folder of its process and is renamed into place. So any number
of processes, on any number of machines that share a file system, may work at once; two that do the same array do
work twice and no harm. What a killed process left is removed by the next one on its machine.
"""

from __future__ import annotations

import fcntl
import heapq
import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from epilstm.console import log
from epilstm.errors import DataError, ParamsError
from epilstm.files.completion import SEAL, seal, sealed_facts
from epilstm.files.outputs import sha256_json
from epilstm.store.arrays import require_group
from epilstm.store.manifests import Manifest
from epilstm.store.packing import Place

#: What a step keeps of an array beside its array; JSON-able.
Facts = dict[str, Any]
FolderOf = Callable[[str], Path]
Finish = Callable[[str, Facts], None]
#: Writes arrays, each into the Zarr group of its folder, and tells of each when it is whole.
Write = Callable[[Sequence[str], FolderOf, Finish], None]

LOCK = ".lock"

#: Times that arrays which disappear before they are taken over are done.
ROUNDS = 3


@dataclass(frozen=True)
class Parts:
    """Arrays done by one step, all from the same inputs and params by the same code.

    Parameters
    ----------
    folder : Path
        Of these alone; made when it is needed.
    group : str
        Name of the Zarr group in each.
    known : dict of str to dict
        Facts of the arrays found or made to be there, whole.
    """

    folder: Path
    group: str
    known: dict[str, Facts] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path, step: str, group: str, follows_from: Any) -> Parts:
        """Parts of a step.

        Parameters
        ----------
        folder : Path
            The parts folder.
        step, group : str
            Names of the step and of the Zarr group that it writes.
        follows_from : JSON-able
            All else that the values of an array follow from: fingerprint of the code, params that matter,
            fingerprints of inputs.
        """
        key = sha256_json([step, follows_from])[:16]
        return cls(folder / f"{step}-{key}", group)

    def add(self, arrays: Sequence[str], write: Write) -> list[str]:
        """Do the arrays that are not there, and return them."""
        missing = [array for array in arrays if not self._holds(array)]
        if missing:
            with self._own_folder() as ours:
                for array in missing:
                    (ours / array).mkdir()
                    require_group(ours / array / self.group)
                write(missing, lambda array: ours / array, lambda array, facts: self._place(ours / array, facts))
        return missing

    def bring(self, arrays: Sequence[str], output: Path) -> Sequence[str]:
        """Link arrays into an output's group; return those that another run has removed meanwhile."""
        return [array for array in arrays if not self._link(array, output / self.group / array)]

    def drop(self, arrays: Sequence[str]) -> None:
        """Remove arrays, and the folder when nothing else is in it."""
        for array in arrays:
            _remove(self.folder / array)
        self._remove_dead()
        with suppress(OSError):  # another process is at work there
            self.folder.rmdir()

    def _holds(self, array: str) -> bool:
        if array not in self.known:
            place = self.folder / array
            facts = sealed_facts(place)
            if facts is not None:
                self.known[array] = facts
            elif place.exists():
                if (place / SEAL).exists():  # without one, it is what is left of one that was being removed
                    log.warning(f"{place}: damaged; {array} is done again")
                _remove(place)
        return array in self.known

    def _place(self, ours: Path, facts: Facts) -> None:
        seal(ours, facts)
        place = self.folder / ours.name
        try:
            ours.rename(place)
        except OSError:  # another process was faster, or was killed while it removed one
            if sealed_facts(place) is None:
                _remove(place)
                ours.rename(place)
        self.known[ours.name] = facts

    def _link(self, array: str, target: Path) -> bool:
        place = self.folder / array
        with suppress(FileNotFoundError):
            _link_tree(place / self.group / array, target)
        # Last of all: it is the first that goes.
        if (place / SEAL).exists():
            return True
        shutil.rmtree(target, ignore_errors=True)
        del self.known[array]
        return False

    @contextmanager
    def _own_folder(self) -> Iterator[Path]:
        self._remove_dead()
        while True:
            folder = self.folder / f".{_host()}-{uuid4().hex}.partial"
            folder.mkdir(parents=True)
            with open(folder / LOCK, "w") as lock:
                with suppress(OSError):  # a file system without locks: the dead cannot be told there, and stay
                    fcntl.flock(lock, fcntl.LOCK_EX)
                if not folder.exists():  # taken for a dead one's before it was locked
                    continue
                try:
                    yield folder
                finally:
                    _remove(folder)
                return

    def _remove_dead(self) -> None:
        # Of this machine only: a lock need not be seen by other machines.
        for folder in self.folder.glob(f".{_host()}-*.partial"):
            with suppress(OSError), open(folder / LOCK, "r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(folder)


def fill(
    output: Path,
    group: str,
    arrays: Sequence[str],
    write: Write,
    parts: Parts | None,
    places: Mapping[str, Place] | None = None,
) -> dict[str, Facts]:
    """Write an output's Zarr group, array by array.

    Parameters
    ----------
    output : Path
        Folder that the group lies in.
    group : str
        Its name.
    arrays : sequence of str
        All that it is to have.
    write : callable
        Writes arrays.
    parts : Parts or None
        Where arrays that are done are taken from, and others written to first, so that a killed run goes on.
    places : mapping of str to Place, optional
        Where chromosomes lie in the arrays.

    Returns
    -------
    dict
        Facts of each array.

    Raises
    ------
    DataError
        Arrays disappear from the parts time and again.
    """
    require_group(output / group, places)
    facts: dict[str, Facts] = {}
    if parts is None:
        write(arrays, lambda _: output, facts.__setitem__)
        return facts
    waiting = arrays
    for _ in range(ROUNDS):  # another run of the same may take them over, and so remove them, at the same time
        parts.add(waiting, write)
        facts.update(parts.known)
        waiting = parts.bring(waiting, output)
        if not waiting:
            return {array: facts[array] for array in arrays}
    raise DataError(f"{parts.folder / waiting[0]}: gone as soon as it is done; give this run a --parts of its own")


def group_of(part: str, manifest: Manifest) -> list[str]:
    """A dataset's arrays of one group of N, of about equal size, or the one that a chromosome lies in.

    The largest array goes first, each to the group that has least so far.

    Parameters
    ----------
    part : str
        ``I/N``, counted from 1, or a chromosome. There may be more groups than arrays: the last are then empty.
    manifest : Manifest
        Of the dataset.

    Returns
    -------
    list of str
        In the dataset's order.

    Raises
    ------
    ParamsError
        It is neither.
    """
    if part in manifest.places:
        return [manifest.places[part].array]
    if "/" not in part:
        raise ParamsError(f"--part {part}: no such chromosome in the data; give one that is, or I/N, such as 3/8")
    number, groups = numbered_part(part)
    bins = {array: manifest.region_bins(array) for array in manifest.arrays}
    least = [(0, group) for group in range(groups)]
    chosen = set()
    for array in sorted(bins, key=lambda name: -bins[name]):
        size, group = heapq.heappop(least)
        heapq.heappush(least, (size + bins[array], group))
        if group == number - 1:
            chosen.add(array)
    return [array for array in bins if array in chosen]


def numbered_part(part: str) -> tuple[int, int]:
    """I and N of ``I/N``.

    Raises
    ------
    ParamsError
        It is not of that form, or I is not from 1 to N.
    """
    form = re.fullmatch(r"([1-9][0-9]{0,8})/([1-9][0-9]{0,8})", part)
    if form is None or int(form[1]) > int(form[2]):
        raise ParamsError(f"--part {part}: expected I/N with I from 1 to N, such as 3/8 for the third of eight parts")
    return int(form[1]), int(form[2])


def _link_tree(source: Path, target: Path) -> None:
    target.mkdir()
    for entry in os.scandir(source):
        if entry.is_dir():
            _link_tree(Path(entry), target / entry.name)
            continue
        try:
            os.link(entry, target / entry.name)
        except FileNotFoundError:
            raise
        except OSError:  # another file system, one without links, or too many links
            shutil.copyfile(entry, target / entry.name)


def _remove(folder: Path) -> None:
    # The seal goes first, so that nothing takes what is left for whole.
    (folder / SEAL).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _host() -> str:
    return socket.gethostname().replace(os.sep, "-")
