"""A run while it is waited for: a table that changes on a terminal, a JSON line per change otherwise."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from itertools import groupby
from typing import TYPE_CHECKING, Protocol

from epilstm.console import log
from epilstm.errors import PipelineError
from epilstm.pipelines.submit.answers import COLOURS, lasted, state_shown
from epilstm.pipelines.submit.run_steps import Step

if TYPE_CHECKING:
    from rich.console import Group

    from epilstm.pipelines.submit.runs import Run


class Watched(Protocol):
    """A run that is shown."""

    @property
    def id(self) -> str:
        """Identifier."""

    @property
    def name(self) -> str:
        """Name."""

    @property
    def state(self) -> str:
        """State in capitals."""

    @property
    def steps(self) -> tuple[Step, ...]:
        """Steps, the parts of one together."""

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""


def shown(looks: Iterable[Run]) -> Run:
    """Show a run at each look, until it has ended; its last state."""
    return _on_terminal(looks) if sys.stderr.isatty() else _in_lines(looks)


def _in_lines(looks: Iterable[Run]) -> Run:
    lines = ChangeLines()
    last: Run | None = None
    for run in looks:
        lines.show(run)
        last = run
    return _known(last)


class ChangeLines:
    """Logs what has changed in a run since it was shown before."""

    def __init__(self) -> None:
        self.states: dict[str, str] = {}
        self.state = ""

    def show(self, run: Watched) -> None:
        """Log each step whose state has changed, and the run if its own has."""
        for step in run.steps:
            if self.states.get(step.id) != step.state:
                self.states[step.id] = step.state
                fields = {"run_id": run.id, "step": step.name, "part": step.part, "state": step.state}
                log.info(f"{step.label}: {state_shown(step)}", extra={"fields": fields})
        if self.state != run.state:
            self.state = run.state
            log.info(f"run {run.name}: {run.state}", extra={"fields": {"run_id": run.id, "state": run.state}})


def _on_terminal(looks: Iterable[Run]) -> Run:
    from rich.console import Console
    from rich.live import Live

    last: Run | None = None
    with Live(console=Console(stderr=True), auto_refresh=False) as live:
        for run in looks:
            last = run
            live.update(table_of(run), refresh=True)
    return _known(last)


def table_of(run: Watched) -> Group:
    """A run on one screen: the parts of a step are counted in one row."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table("step", "state", "took", box=None, pad_edge=False)
    for name, steps in groupby(run.steps, key=lambda step: (step.name, bool(step.part))):
        parts = list(steps)
        first = min((step.started for step in parts if step.started), default=None)
        ends = [step.ended for step in parts]
        last = None if None in ends else max(end for end in ends if end is not None)
        states = Counter(state_shown(step) for step in parts)
        text = "; ".join(f"{count} {state}" for state, count in states.items()) if name[1] else next(iter(states))
        colour = next((COLOURS[state] for state in COLOURS if any(step.state == state for step in parts)), "")
        table.add_row(Text(name[0]), Text(text, style=colour), lasted(first, last, run.ended))
    return Group(Text(f"run {run.name}: {run.state}"), table)


def _known(run: Run | None) -> Run:
    if run is None:
        raise PipelineError("the server reported nothing about the run")
    return run
