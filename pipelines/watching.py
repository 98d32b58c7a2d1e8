"""A run while it is waited for: a table that changes on a terminal, a JSON line per change otherwise."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from epilstm.console import log
from epilstm.errors import PipelineError
from pipelines.answers import state_shown, steps_table

if TYPE_CHECKING:
    from rich.console import Group

    from pipelines.runs import Run


def shown(looks: Iterable[Run]) -> Run:
    """Show a run as it goes on; how it ended.

    Parameters
    ----------
    looks : iterable of Run
        The run again and again, until it has ended.
    """
    return _on_terminal(looks) if sys.stderr.isatty() else _in_lines(looks)


def _in_lines(looks: Iterable[Run]) -> Run:
    known: dict[str, str] = {}
    last: Run | None = None
    for run in looks:
        for step in run.steps:
            if known.get(step.id) != step.state:
                known[step.id] = step.state
                fields = {"run_id": run.id, "step": step.name, "part": step.part, "state": step.state}
                log.info(f"{step.label}: {state_shown(step)}", extra={"fields": fields})
        if last is None or last.state != run.state:
            log.info(f"run {run.name}: {run.state}", extra={"fields": {"run_id": run.id, "state": run.state}})
        last = run
    return _known(last)


def _on_terminal(looks: Iterable[Run]) -> Run:
    from rich.console import Console
    from rich.live import Live

    last: Run | None = None
    with Live(console=Console(stderr=True), auto_refresh=False) as live:
        for run in looks:
            last = run
            live.update(_view(run), refresh=True)
    return _known(last)


def _view(run: Run) -> Group:
    from rich.console import Group
    from rich.text import Text

    return Group(Text(f"run {run.name}: {run.state}"), steps_table(run))


def _known(run: Run | None) -> Run:
    if run is None:
        raise PipelineError("the server told nothing about the run")
    return run
