"""What a command prints about a run: text on a terminal, JSON otherwise; and the wait for its end."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from epilstm.errors import PipelineError

if TYPE_CHECKING:
    from rich.table import Table

    from epilstm.pipelines.submit.run_steps import Step
    from epilstm.pipelines.submit.runs import Run
    from epilstm.pipelines.submit.server import Server


#: Colours of states; several steps in a row have the colour of the first of these states that one of them has.
COLOURS = {"FAILED": "red", "RUNNING": "yellow", "SUCCEEDED": "green", "SKIPPED": "cyan", "NOT_REACHED": "dim"}


class InterruptedCommandError(PipelineError):
    """Ctrl-C."""

    exit_code = 130


def wait_for(server: Server, run_id: str, name: str, poll: float, as_json: bool = False) -> None:
    """Show a run's steps until it has ended.

    Raises
    ------
    InterruptedCommandError
        Ctrl-C; the run continues.
    PipelineError
        The run failed, or the server does not answer.
    """
    from epilstm.pipelines.submit import runs, step_errors
    from epilstm.pipelines.submit.watching import shown

    link = server.connection.link(f"runs/details/{run_id}")
    try:
        ended = shown(runs.watch(server, run_id, poll))
    except KeyboardInterrupt:
        raise InterruptedCommandError(
            f"stopped waiting; run {name} continues. Wait again: epilstm pipeline status {run_id} --wait. "
            f"End it: epilstm pipeline terminate {run_id}"
        ) from None
    step_errors.with_reasons(server, ended).check(link)
    print_result({**run_row(ended), "link": link}, f"run {ended.name} {ended.state.lower()}", as_json)


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option that asks for JSON on a terminal as well."""
    return click.option(
        "--json", "as_json", is_flag=True, help="JSON on a terminal as well; a file or a pipe gets it anyway."
    )(command)


def is_json(as_json: bool) -> bool:
    """Whether to print JSON: it was requested, or standard output is no terminal."""
    return as_json or not sys.stdout.isatty()


def print_result(content: Mapping[str, Any], text: str | Callable[[], None], as_json: bool = False) -> None:
    """Print a result: `text` on a terminal, `content` as JSON otherwise or if requested."""
    if is_json(as_json):
        click.echo(json.dumps(content))
    elif isinstance(text, str):
        click.echo(text)
    else:
        text()


def run_row(run: Run) -> dict[str, Any]:
    """A run in JSON."""
    return {"run": run.name, "run_id": run.id, "state": run.state, **times(run.created, run.finished)}


def times(started: datetime | None, ended: datetime | None) -> dict[str, Any]:
    """Start and end in ISO 8601, where they are known."""
    return {
        "started": started.isoformat(timespec="seconds") if started else None,
        "ended": ended.isoformat(timespec="seconds") if ended else None,
    }


def step_row(step: Step, over: bool) -> dict[str, Any]:
    """A step in JSON, of a run that is `over` or not."""
    return {
        "step": step.name,
        "part": step.part or None,
        "state": step.state,
        "cached": step.cached,
        **times(step.started, step.ended),
        "seconds": seconds(step.started, step.ended, over),
    }


def failure_row(step: Step) -> dict[str, Any]:
    """A failed step in JSON."""
    return {"step": step.name, "part": step.part or None, "error": step.error or None, "pod": step.pod or None}


def print_run(run: Run, link: str) -> None:
    """Print a run with its steps and failures."""
    from rich.console import Console

    click.echo(f"run {run.name} ({run.id}): {run.state}\n{link}")
    if run.steps:
        Console().print(steps_table(run), markup=False)
    for step in run.failures:
        click.echo(f"failed: {step.label}: {step.error or 'its log was not read'}")


def steps_table(run: Run) -> Table:
    """A run's steps as a table."""
    from rich.table import Table
    from rich.text import Text

    header = ("step", "part", "state", "took") if any(step.part for step in run.steps) else ("step", "state", "took")
    table = Table(*header, box=None, pad_edge=False)
    for step in run.steps:
        name = Text(f"{step.name} (its driver)" if step.driver else step.name)
        state = Text(state_shown(step), style=COLOURS.get(step.state, ""))
        took = "" if step.cached else lasted(step.started, step.ended, run.ended)
        table.add_row(name, *([step.part] if "part" in header else []), state, took)
    return table


def state_shown(step: Step) -> str:
    """A step's state in words."""
    if step.state == "NOT_REACHED":
        return "not reached"
    return f"{step.state}, from the cache" if step.cached else step.state


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
    """A time in the local time zone; empty for none."""
    return f"{time.astimezone():%Y-%m-%d %H:%M}" if time else ""


def lasted(started: datetime | None, ended: datetime | None, over: bool) -> str:
    """Hours, minutes and seconds until the end, or until now if it is not over."""
    taken = seconds(started, ended, over)
    return "" if taken is None else f"{taken // 3600}:{taken // 60 % 60:02}:{taken % 60:02}"


def seconds(started: datetime | None, ended: datetime | None, over: bool) -> int | None:
    """Seconds until the end, or until now if it is not over; None if it is unknown."""
    if started is None or (over and ended is None):
        return None
    # The clocks of the cluster and of this machine may differ.
    return max(0, int(((ended or datetime.now(UTC)) - started).total_seconds()))
