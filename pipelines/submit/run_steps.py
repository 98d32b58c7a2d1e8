"""The steps of a run, from the rows that the server keeps of its workflow's nodes.

Kubeflow Pipelines lets Argo Workflows run a pipeline and keeps a row for each node of the workflow: for each step a
driver, the step, its executor and the executor's attempts; for loops and conditions as many again; and records of its
cache. A row holds a name, a state, times, and the identifiers of the nodes that come after it, but neither its own
identifier nor its place.

Places are found from how Argo makes identifiers: a node's full name is that of the node around it, a dot and the
task's name (``training-x7.root.for-loop-1.iteration-iterations(0:0).iteration-item.ingest-part``), and its identifier
is the workflow's name and the FNV-1a hash of the full name. A place exists if its identifier stands among those that
come after some node.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

#: State of a step that will never begin.
NOT_REACHED = "NOT_REACHED"
ENDED = frozenset({"SUCCEEDED", "SKIPPED", "FAILED", "CANCELED"})

#: Names of a node around it and its own, from the workflow's on.
Place = tuple[str, ...]

#: Templates that pods of steps are named after: of steps that are tried again, and of others.
RETRIED, ONCE = "retry-system-container-impl", "system-container-impl"
CONTAINER_DRIVER, GROUP_DRIVER = "system-container-driver", "system-dag-driver"

_EXECUTOR = re.compile(r"executor(\(\d+\))?")
_ITERATION = re.compile(r"iteration-iterations\((\d+):.*\)")
_AROUND = re.compile(r"root|executor(\(\d+\))?|iteration-item|iteration-iterations(\(.*\))?")
_GROUP = re.compile(r"(for-loop|condition|condition-branches|exit-handler)-\d+")


@dataclass(frozen=True)
class Step:
    """A step of a run, named after the pipeline's task.

    Parameters
    ----------
    id : str
        Unique within the run.
    state : str
        In capitals; `NOT_REACHED` where nothing was done and nothing will be.
    part : str
        Which of how many, as ``2 of 4``, where the step is in a loop; how many is left out until all have begun.
    cached : bool
        Its outputs are those of an earlier run.
    started, ended : datetime, optional
        None if not yet, or not reached.
    error : str
        Empty if there was none, or it is unknown.
    pod : str
        Pod of the last attempt; empty if it is not known.
    driver : bool
        Kubeflow Pipelines' preparation of the step failed, not the step.
    """

    id: str
    name: str
    state: str
    part: str = ""
    cached: bool = False
    started: datetime | None = None
    ended: datetime | None = None
    error: str = ""
    pod: str = ""
    driver: bool = False

    @property
    def label(self) -> str:
        """Name and part."""
        name = f"{self.name} (its driver)" if self.driver else self.name
        return f"{name}, part {self.part}" if self.part else name


def steps_of(rows: Sequence[Any], over: bool) -> tuple[Step, ...]:
    """Steps of a run, which is `over` or not, from the server's ``task_details``.

    In the order in which they began, the parts of one together; those not reached come last.
    """
    workflow = _Workflow([row for row in rows if row.display_name])
    steps = [(workflow.step(row, place, over), place or ()) for row, place in workflow.step_rows()]
    replaced = {(step.name, step.part) for step, _ in steps if step.driver}
    steps = [(step, place) for step, place in steps if step.driver or (step.name, step.part) not in replaced]
    never = datetime.max.replace(tzinfo=UTC)
    first: dict[tuple[str, Place], tuple[datetime, int]] = {}
    for number, (step, place) in enumerate(steps):
        begun = (step.started or never, number)
        first[step.name, _loop(place)] = min(begun, first.get((step.name, _loop(place)), begun))
    # The server's times are whole seconds, and equal for all that is not reached.
    later = {place: len(workflow.later(place)) for step, place in steps if step.state == NOT_REACHED}

    def order(item: tuple[Step, Place]) -> tuple[Any, ...]:
        step, place = item
        begun, number = first[step.name, _loop(place)]
        return begun, -later.get(place, 0), number, [int(iteration) for iteration, _ in _iterations(place)]

    return tuple(step for step, _ in sorted(steps, key=order))


def node_hash(text: str, start: int = 2166136261) -> int:
    """32-bit FNV-1a of a text, or of one that continues the text whose hash is `start`."""
    value = start
    for byte in text.encode():
        value = ((value ^ byte) * 16777619) & 0xFFFFFFFF
    return value


class _Workflow:
    """Rows with names, and the places of their nodes."""

    def __init__(self, rows: Sequence[Any]) -> None:
        self.rows = rows
        self.names = {str(row.display_name) for row in rows}
        identifiers = {identifier for row in rows for identifier in _after(row)}
        stems = {identifier.rpartition("-")[0] for identifier in identifiers}
        self.name = next(iter(stems & self.names), next(iter(stems), ""))
        #: Place of each node, by its identifier.
        self.places: dict[str, Place] = {}
        #: Places that other tasks are in.
        self.groups: set[Place] = set()
        self._find_places(identifiers)
        self.known = set(self.places.values())
        self.by_row = self._places_of_rows()
        self.by_place = {place: row for row, place in zip(rows, self.by_row, strict=True) if place is not None}
        #: Iterations of each loop.
        self.iterations = Counter(place[:-1] for place in self.known if _ITERATION.fullmatch(place[-1]))
        #: States of executors that were not run, or are run once; their rows do not name their step.
        self.executors = sorted(
            (started, ended, _state(row))
            for row, place in zip(rows, self.by_row, strict=True)
            if row.display_name == "executor" and (place is None or (*place[:-1], "executor(0)") not in self.known)
            if (started := _moment(row.start_time)) and (ended := _moment(row.end_time))
        )

    def step_rows(self) -> Iterator[tuple[Any, Place | None]]:
        """Rows of steps, and of drivers that failed."""
        for row, place in zip(self.rows, self.by_row, strict=True):
            name = str(row.display_name)
            if self._is_driver(name):
                shown = _state(row) == "FAILED"
            else:
                around = name == self.name or _AROUND.fullmatch(name) or _GROUP.fullmatch(name)
                shown = not around and place not in self.groups
            if shown:
                yield row, place

    def step(self, row: Any, place: Place | None, over: bool) -> Step:
        """A row as a step."""
        name, driver = str(row.display_name), self._is_driver(str(row.display_name))
        if driver:
            name = name.removesuffix("-driver")
            if name == "root":
                name = "the pipeline"
            elif name.startswith("iteration") and place is not None:
                name = next((part for part in reversed(place) if _GROUP.fullmatch(part)), name)
        state = _state(row)
        started, ended = _moment(row.start_time), _moment(row.end_time)
        if not state or (over and state == "PENDING"):
            state = NOT_REACHED if over or ended else "PENDING"
        if state == NOT_REACHED:
            started = ended = None
        part = self._part(place, over) if place else ""
        return Step(
            id=".".join(place) if place else str(row.task_id),
            name=name,
            state=state,
            part=part,
            cached=state == "SUCCEEDED" and self._is_cached(place, row),
            started=started,
            ended=ended,
            error=_error(row),
            pod=self._pod(place, driver) if place else "",
            driver=driver,
        )

    def later(self, place: Place) -> set[Place]:
        """Places of the nodes that come after one."""
        found: set[Place] = set()
        waiting = [place]
        while waiting:
            row = self.by_place.get(waiting.pop())
            for identifier in _after(row) if row is not None else ():
                after = self.places.get(identifier)
                if after is not None and after not in found:
                    found.add(after)
                    waiting.append(after)
        return found

    def _find_places(self, identifiers: set[str]) -> None:
        tasks = [name for name in self.names if not _AROUND.fullmatch(name) and name != self.name]
        iterations = [name for name in self.names if _ITERATION.fullmatch(name)]
        waiting: list[tuple[Place, int]] = [((self.name,), node_hash(self.name))]

        def find(place: Place, so_far: int, names: Iterable[str]) -> bool:
            found = False
            for name in names:
                value = node_hash(f".{name}", so_far)
                identifier = f"{self.name}-{value}"
                if identifier in identifiers:
                    self.places[identifier] = (*place, name)
                    waiting.append(((*place, name), value))
                    found = True
            return found

        while waiting:
            place, so_far = waiting.pop()
            last = place[-1]
            if _EXECUTOR.fullmatch(last) or last == "iteration-iterations" or self._is_driver(last):
                continue
            if find(place, so_far, ["executor"]):
                next(attempt for attempt in count() if not find(place, so_far, [f"executor({attempt})"]))
                continue
            if len(place) == 1:
                inside = ["root", "root-driver"]
            elif _ITERATION.fullmatch(last):
                inside = ["iteration-item", "iteration-item-driver"]
            elif find(place, so_far, ["iteration-iterations", "iteration-driver"]):
                inside = iterations
                self.groups.add(place)
            else:
                inside = tasks
            if find(place, so_far, inside):
                self.groups.add(place)

    def _places_of_rows(self) -> list[Place | None]:
        by_name: dict[str, list[Place]] = {self.name: [(self.name,)]}
        for place in self.known:
            by_name.setdefault(place[-1], []).append(place)
        found: list[Place | None] = []
        for row in self.rows:
            mine = by_name.get(str(row.display_name), [])
            if len(mine) != 1:
                before = (self._place_before(str(row.display_name), identifier) for identifier in _after(row))
                mine = [place for place in before if place in self.known]
            found.append(mine[0] if mine else None)
        return found

    def _place_before(self, name: str, identifier: str) -> Place | None:
        """Place of the node of a name before another one; None if that one does not determine it."""
        after = self.places.get(identifier, ())
        if len(after) < 2:
            return None
        if self._is_driver(name):
            return (*after[:-1], name) if name == f"{after[-1]}-driver" else None
        if name in {"executor", "iteration-iterations"}:
            return (*after[:-1], name) if after[-1].startswith(f"{name}(") else None
        return after[:-1] if after[-2] == name else None

    def _is_driver(self, name: str) -> bool:
        # A step may be called so as well; it has a driver of its own then.
        return name.endswith("-driver") and f"{name}-driver" not in self.names

    def _part(self, place: Place, over: bool) -> str:
        parts = []
        for number, loop in _iterations(place):
            group = self.by_place.get((*loop, "iteration-iterations"))
            whole = over or (group is not None and _state(group) in ENDED)
            parts.append(f"{int(number) + 1} of {self.iterations[loop]}" if whole else f"{int(number) + 1}")
        return ", ".join(parts)

    def _is_cached(self, place: Place | None, row: Any) -> bool:
        """Whether a step that succeeded did so without its executor."""
        if place is not None and (*place, "executor(0)") in self.known:
            return False
        # Its executor is one of those that began and ended while the step was under way.
        started, ended = _moment(row.start_time), _moment(row.end_time)
        if started is None or ended is None:
            return False
        first = bisect_left(self.executors, (started,))
        last = bisect_left(self.executors, (ended + timedelta(seconds=1),))
        states = {state for _, end, state in self.executors[first:last] if end <= ended}
        return states == {"SKIPPED"}

    def _pod(self, place: Place, driver: bool) -> str:
        if driver:
            of_group = place[-1].startswith(("root", "iteration")) or _GROUP.match(place[-1])
            template, node = GROUP_DRIVER if of_group else CONTAINER_DRIVER, place
        else:
            attempts = next(number for number in count() if (*place, f"executor({number})") not in self.known)
            template = RETRIED if attempts else ONCE
            node = (*place, f"executor({attempts - 1})" if attempts else "executor")
            if node not in self.known:
                return ""
        return f"{self.name}-{template}-{node_hash('.'.join(node))}"


def _iterations(place: Place) -> list[tuple[str, Place]]:
    """Number of each iteration that a place is in, and the place of its loop."""
    found = []
    for at, name in enumerate(place):
        iteration = _ITERATION.fullmatch(name)
        if iteration:
            found.append((iteration[1], place[:at]))
    return found


def _loop(place: Place) -> Place:
    """Place of the innermost loop that a place is in; empty outside of loops."""
    return next((loop for _, loop in reversed(_iterations(place))), ())


def _after(row: Any) -> list[str]:
    return [str(child.pod_name) for child in row.child_tasks or [] if child.pod_name]


def _state(row: Any) -> str:
    state = str(row.state or "").upper()
    return "" if state == "RUNTIME_STATE_UNSPECIFIED" else state


def _moment(time: datetime | None) -> datetime | None:
    # The server writes the beginning of its calendar for what has not happened.
    return time if time and time.year > 1970 else None


def _error(row: Any) -> str:
    """Error message of the row; servers up to 2.17 leave it out."""
    if row.error and row.error.message:
        return str(row.error.message)
    for change in reversed(row.state_history or []):
        if change.error and change.error.message:
            return str(change.error.message)
    return ""
