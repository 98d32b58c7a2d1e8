"""The parts folder: arrays that a step has done, kept until a run takes them over into its output.

======================================= ===============================================================
path                                    content
======================================= ===============================================================
``<step>-<key>/``                       one for all that the values of an array follow from
``<step>-<key>/<array>/``               an array: a Zarr group with its array, and ``seal.json``
``<step>-<key>/.<host>-<any>.partial/`` what one process is writing
======================================= ===============================================================

The folder ``<step>-<key>`` is an `epilstm.files.completion.WorkFolder`, an array a piece of it: complete or absent.
"""

from __future__ import annotations

import heapq
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from epilstm.console import log
from epilstm.errors import DataError, ParamsError
from epilstm.files.completion import Facts, WorkFolder
from epilstm.files.outputs import COMPLETION_MARKER, remove, sha256_json
from epilstm.store.arrays import require_group
from epilstm.store.manifests import Manifest
from epilstm.store.packing import Place

FolderOf = Callable[[str], Path]
Finish = Callable[[str, Facts], None]
#: Writes arrays, each into the Zarr group of its folder, and reports each when it is complete.
Write = Callable[[Sequence[str], FolderOf, Finish], None]

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
    beside : tuple of str
        Names of further groups, with arrays of the same names.
    known : dict of str to dict
        Facts of the arrays that are known to be complete.
    """

    folder: Path
    group: str
    beside: tuple[str, ...] = ()
    known: dict[str, Facts] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path, step: str, group: str, follows_from: Any, beside: Sequence[str] = ()) -> Parts:
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
        beside : sequence of str
            Names of further groups that it writes, with arrays of the same names.
        """
        key = sha256_json([step, follows_from])[:16]
        return cls(folder / f"{step}-{key}", group, tuple(beside))

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of all groups."""
        return (self.group, *self.beside)

    @cached_property
    def _work(self) -> WorkFolder:
        return WorkFolder(self.folder)

    def add(self, arrays: Sequence[str], write: Write) -> list[str]:
        """Do the arrays that are not there, and return them."""
        missing = [array for array in arrays if not self._holds(array)]
        if missing:
            with self._work.growing() as growing:
                for array in missing:
                    (growing / array).mkdir()
                    for group in self.groups:
                        require_group(growing / array / group)
                write(missing, lambda array: growing / array, lambda array, facts: self._keep(growing / array, facts))
        return missing

    def bring(self, arrays: Sequence[str], output: Path) -> Sequence[str]:
        """Link arrays into an output's groups; return those that another run has removed meanwhile."""
        return [array for array in arrays if not self._link(array, output)]

    def drop(self, arrays: Sequence[str]) -> None:
        """Remove arrays, and the folder when nothing else is in it."""
        self._work.drop(arrays)

    def _holds(self, array: str) -> bool:
        if array not in self.known:
            place = self._work.path(array)
            facts = self._work.facts(array)
            if facts is not None:
                self.known[array] = facts
            elif place.exists():
                if (place / COMPLETION_MARKER).exists():  # without one, its removal was interrupted
                    log.warning(f"{place}: damaged; {array} is done again")
                remove(place, others_may=True)
        return array in self.known

    def _keep(self, grown: Path, facts: Facts) -> None:
        self._work.keep(grown, grown.name, facts)
        self.known[grown.name] = facts

    def _link(self, array: str, output: Path) -> bool:
        place = self._work.path(array)
        with suppress(FileNotFoundError):
            for group in self.groups:
                _link_tree(place / group / array, output / group / array)
        # Last of all: it is the first that goes.
        if (place / COMPLETION_MARKER).exists():
            return True
        for group in self.groups:
            shutil.rmtree(output / group / array, ignore_errors=True)
        del self.known[array]
        return False


def fill(
    output: Path,
    group: str,
    arrays: Sequence[str],
    write: Write,
    parts: Parts | None,
    places: Mapping[str, Place] | None = None,
    beside: Mapping[str, Mapping[str, Place]] | None = None,
) -> dict[str, Facts]:
    """Write an output's Zarr group, array by array.

    Parameters
    ----------
    output : Path
        Folder that the group lies in.
    group : str
        Its name.
    arrays : sequence of str
        All of its arrays.
    write : callable
        Writes arrays.
    parts : Parts or None
        Where arrays that are done are taken from, and others written to first, so that a killed run resumes.
    places : mapping of str to Place, optional
        Where chromosomes lie in the arrays.
    beside : mapping of str to mapping, optional
        Further groups that are written with it, and where chromosomes lie in their arrays.

    Returns
    -------
    dict
        Facts of each array.

    Raises
    ------
    DataError
        Arrays disappear from the parts repeatedly.
    """
    for name, laid_out in {group: places, **(beside or {})}.items():
        require_group(output / name, laid_out)
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
