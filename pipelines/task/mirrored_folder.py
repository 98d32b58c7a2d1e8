"""Work folders under the data root: from which a killed or split task resumes."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from epilstm.console import log
from epilstm.errors import DataError
from epilstm.pipelines.task import storage
from epilstm.pipelines.task.data_root import DataRoot, Wanted, everything

#: Not worth copying: downloads under way. (Nor are hidden files, which are locks and what is being written.)
PASSING = {"downloads"}


@dataclass
class MirroredFolder:
    """A work folder; of one in a bucket, the copy that the step works in.

    Parameters
    ----------
    name : str
        Path under the root.
    """

    root: DataRoot
    name: str
    _known: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """Where the step works."""
        return self.root.folder / self.name

    def bring(self, wanted: Wanted = everything) -> None:
        """Copy what earlier tasks left in the bucket."""
        if not self.root.remote:
            return
        there = storage.sizes(self._uri)
        storage.download(self._uri, [name for name in there if _lasting(name) and wanted(name)], self.path)
        self._known = self._states()

    def put(self) -> None:
        """Make the bucket have what is here: what is new, JSON (which says what is whole) last; not what has gone.

        Raises
        ------
        DataError
            The storage fails.
        """
        if not self.root.remote:
            return
        states = self._states()
        new = [name for name, state in states.items() if self._known.get(name) != state]
        # Copies by hard link: the step may replace or remove its files while they are read.
        snapshot = self.root.scratch / "put" / self.name
        linked = [name for name in new if _link(self.path / name, snapshot / name)]
        for last in (False, True):
            storage.upload(snapshot, [name for name in linked if name.endswith(".json") == last], self._uri)
        for name in linked:
            (snapshot / name).unlink()
            self._known[name] = states[name]
        gone = [name for name in self._known if name not in states]
        storage.remove(self._uri, gone)
        for name in gone:
            del self._known[name]

    def remove_if_empty(self) -> None:
        """Leave no folder behind that holds nothing."""
        with suppress(OSError):
            self.path.rmdir()

    def put_if_possible(self) -> None:
        """`put`, where a failure now is no reason to stop."""
        try:
            self.put()
        except DataError as error:
            log.warning(f"{error}; going on, it is tried again")

    @property
    def _uri(self) -> str:
        return self.root.absolute(self.name)

    def _states(self) -> dict[str, tuple[int, int]]:
        states = {}
        for path in self.path.rglob("*"):
            name = path.relative_to(self.path).as_posix()
            try:
                if _lasting(name) and path.is_file():
                    status = path.stat()
                    states[name] = (status.st_size, status.st_mtime_ns)
            except FileNotFoundError:  # the step has just removed it
                continue
        return states


def _lasting(name: str) -> bool:
    return not any(part.startswith(".") or part in PASSING for part in name.split("/"))


def _link(source: Path, target: Path) -> bool:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(source)
    except FileNotFoundError:
        return False
    return True
