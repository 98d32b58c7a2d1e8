"""The parts folder: chromosomes that a step has done, kept until a run takes them over into its output.

======================================= ===============================================================
path                                    content
======================================= ===============================================================
``<step>-<key>/``                       one for all that the values of a chromosome follow from
``<step>-<key>/<chrom>/``               a chromosome: a Zarr group with its array, and ``seal.json``
``<step>-<key>/.<host>-<any>.partial/`` what one process is writing
======================================= ===============================================================

A chromosome is there whole or not at all: it grows in a folder of its process and is renamed into place. So any number
of processes, on any number of machines that share a file system, may work at once; two that do the same chromosome do
work twice and no harm. What a killed process left is removed by the next one on its machine.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from epilstm.artifacts import sha256_json
from epilstm.console import log
from epilstm.errors import DataError, ParamsError
from epilstm.seal import SEAL, seal, sealed_facts
from epilstm.store import require_group

#: What a step keeps of a chromosome beside its array; JSON-able.
Facts = dict[str, Any]
FolderOf = Callable[[str], Path]
Finish = Callable[[str, Facts], None]
#: Writes chromosomes, each into the Zarr group of its folder, and tells of each when it is whole.
Write = Callable[[Sequence[str], FolderOf, Finish], None]

LOCK = ".lock"

#: Times that chromosomes which disappear before they are taken over are done.
ROUNDS = 3


@dataclass(frozen=True)
class Parts:
    """Chromosomes done by one step, all from the same inputs and params by the same code.

    Parameters
    ----------
    folder : Path
        Of these alone; made when it is needed.
    group : str
        Name of the Zarr group in each.
    known : dict of str to dict
        Facts of the chromosomes found or made to be there, whole.
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
            All else that the values of a chromosome follow from: fingerprint of the code, params that matter,
            fingerprints of inputs.
        """
        key = sha256_json([step, follows_from])[:16]
        return cls(folder / f"{step}-{key}", group)

    def add(self, chroms: Sequence[str], write: Write) -> list[str]:
        """Do the chromosomes that are not there, and return them."""
        missing = [chrom for chrom in chroms if not self._holds(chrom)]
        if missing:
            with self._own_folder() as ours:
                for chrom in missing:
                    (ours / chrom).mkdir()
                    require_group(ours / chrom / self.group)
                write(missing, lambda chrom: ours / chrom, lambda chrom, facts: self._place(ours / chrom, facts))
        return missing

    def bring(self, chroms: Sequence[str], output: Path) -> Sequence[str]:
        """Link chromosomes into an output's group; return those that another run has removed meanwhile."""
        return [chrom for chrom in chroms if not self._link(chrom, output / self.group / chrom)]

    def drop(self, chroms: Sequence[str]) -> None:
        """Remove chromosomes, and the folder when nothing else is in it."""
        for chrom in chroms:
            _remove(self.folder / chrom)
        self._remove_dead()
        with suppress(OSError):  # another process is at work there
            self.folder.rmdir()

    def _holds(self, chrom: str) -> bool:
        if chrom not in self.known:
            place = self.folder / chrom
            facts = sealed_facts(place)
            if facts is not None:
                self.known[chrom] = facts
            elif place.exists():
                if (place / SEAL).exists():  # without one, it is what is left of one that was being removed
                    log.warning(f"{place}: damaged; {chrom} is done again")
                _remove(place)
        return chrom in self.known

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

    def _link(self, chrom: str, target: Path) -> bool:
        place = self.folder / chrom
        with suppress(FileNotFoundError):
            _link_tree(place / self.group / chrom, target)
        # Last of all: it is the first that goes.
        if (place / SEAL).exists():
            return True
        shutil.rmtree(target, ignore_errors=True)
        del self.known[chrom]
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


def fill(output: Path, group: str, chroms: Sequence[str], write: Write, parts: Parts | None) -> dict[str, Facts]:
    """Write an output's Zarr group, chromosome by chromosome.

    Parameters
    ----------
    output : Path
        Folder that the group lies in.
    group : str
        Its name.
    chroms : sequence of str
        All that it is to have.
    write : callable
        Writes chromosomes.
    parts : Parts or None
        Where chromosomes that are done are taken from, and others written to first, so that a killed run goes on.

    Returns
    -------
    dict
        Facts of each chromosome.

    Raises
    ------
    DataError
        Chromosomes disappear from the parts time and again.
    """
    require_group(output / group)
    facts: dict[str, Facts] = {}
    if parts is None:
        write(chroms, lambda _: output, facts.__setitem__)
        return facts
    waiting = chroms
    for _ in range(ROUNDS):  # another run of the same may take them over, and so remove them, at the same time
        parts.add(waiting, write)
        facts.update(parts.known)
        waiting = parts.bring(waiting, output)
        if not waiting:
            return {chrom: facts[chrom] for chrom in chroms}
    raise DataError(f"{parts.folder / waiting[0]}: gone as soon as it is done; give this run a --parts of its own")


def require_chromosome(part: str, chroms: Sequence[str]) -> None:
    """Check the value of ``--part``.

    Raises
    ------
    ParamsError
        There is no such chromosome.
    """
    if part not in chroms:
        raise ParamsError(f"--part {part}: no such chromosome in the data, which has {', '.join(chroms)}")


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
