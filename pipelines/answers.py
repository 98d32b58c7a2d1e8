"""What a command tells of a run: text on a terminal, JSON otherwise; and the wait for its end."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from epilstm.errors import PipelineError

if TYPE_CHECKING:
    from pipelines.connection import Cluster
    from pipelines.runs import Run


class InterruptedCommandError(PipelineError):
    """Ctrl-C."""

    exit_code = 130


def wait_for(cluster: Cluster, run_id: str, name: str, poll: float) -> None:
    """Show a run's tasks until it has ended.

    Raises
    ------
    InterruptedCommandError
        Ctrl-C; the run goes on.
    PipelineError
        The run failed, or the server cannot be asked.
    """
    from pipelines import runs
    from pipelines.watching import shown

    link = cluster.connection.link(f"runs/details/{run_id}")
    try:
        ended = shown(runs.watch(cluster, run_id, poll))
    except KeyboardInterrupt:
        raise InterruptedCommandError(
            f"stopped waiting; run {name} goes on. Wait again: epilstm pipeline status {run_id} --wait. "
            f"End it: epilstm pipeline terminate {run_id}"
        ) from None
    ended.check(link)
    tell({**run_row(ended), "link": link}, f"run {ended.name} {ended.state.lower()}")


def tell(content: Mapping[str, Any], text: str | Callable[[], None]) -> None:
    """Print what a command found or did: `text` on a terminal, `content` as JSON otherwise."""
    if not sys.stdout.isatty():
        click.echo(json.dumps(content))
    elif isinstance(text, str):
        click.echo(text)
    else:
        text()


def run_row(run: Run) -> dict[str, Any]:
    """What JSON says of a run."""
    return {"run": run.name, "run_id": run.id, "state": run.state, **times(run.created, run.finished)}


def times(started: datetime | None, ended: datetime | None) -> dict[str, Any]:
    """Start and end in ISO 8601, where they are known."""
    return {
        "started": started.isoformat(timespec="seconds") if started else None,
        "ended": ended.isoformat(timespec="seconds") if ended else None,
    }


def print_run(run: Run, link: str) -> None:
    """Print a run with its tasks and failures."""
    from pipelines.runs import last_line

    click.echo(f"run {run.name} ({run.id}): {run.state}\n{link}")
    rows = [
        (task.name, task.state, moment(task.started), lasted(task.started, task.ended, run.ended)) for task in run.tasks
    ]
    print_table(("task", "state", "started", "took"), rows)
    for task in run.failures:
        click.echo(f"failed: {task.name}: {last_line(task.error) or 'the server gives no reason'}")


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under a header."""
    from rich.console import Console
    from rich.table import Column, Table

    # Folded, not cut: identifiers are there to be copied.
    table = Table(*(Column(name, overflow="fold") for name in header), box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    Console().print(table, markup=False)


def moment(time: datetime | None) -> str:
    """A time as the user's clock shows it; nothing of none."""
    return f"{time.astimezone():%Y-%m-%d %H:%M}" if time else ""


def lasted(started: datetime | None, ended: datetime | None, over: bool) -> str:
    """Hours, minutes and seconds until the end, or until now of what is not over."""
    if started is None or (over and ended is None):
        return ""
    seconds = int(((ended or datetime.now(UTC)) - started).total_seconds())
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
