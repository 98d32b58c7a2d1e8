"""What a step reports while it runs: progress bars on a terminal, one JSON object per line otherwise."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Protocol

from epilstm.trace_context import join_trace

log = logging.getLogger("epilstm")

#: Seconds between progress lines where there is no terminal.
PROGRESS_INTERVAL = 15.0
#: Environment variable that says another number of seconds; `epilstm run` draws its bar from these lines.
PROGRESS_SECONDS = "EPILSTM_PROGRESS_SECONDS"


class JsonLines(logging.Formatter):
    """One JSON object per record: time, level, step, the trace it is part of, message and any extra fields."""

    def __init__(self, step: str) -> None:
        super().__init__()
        self.step = step
        self.trace = join_trace()

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "step": self.step,
            "trace_id": self.trace.trace_id,
            "span_id": self.trace.span_id,
            "message": record.getMessage(),
        }
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


class _StandardErrorHandler(logging.Handler):
    # Looks standard error up for every line: while a bar is drawn, rich stands there and puts lines above the bar.
    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr, flush=True)


def set_up(step: str, verbosity: int) -> None:
    """Send the package's log to standard error.

    Parameters
    ----------
    step : str
        Named in every JSON line.
    verbosity : int
        Above 0 shows debug lines, below 0 warnings and errors only.
    """
    handler = _StandardErrorHandler()
    handler.setFormatter(logging.Formatter("%(message)s") if sys.stderr.isatty() else JsonLines(step))
    log.handlers[:] = [handler]
    log.propagate = False
    log.setLevel(logging.DEBUG if verbosity > 0 else logging.WARNING if verbosity < 0 else logging.INFO)


class Progress(Protocol):
    """Counts work done."""

    def advance(self, amount: float = 1) -> None:
        """Add to the work done."""

    def note(self, text: str) -> None:
        """Show a few words beside the progress."""


class _LoggedProgress:
    def __init__(self, description: str, total: float) -> None:
        self.description, self.total, self.done, self.text = description, total, 0.0, ""
        self.started = self.reported = time.monotonic()
        self.interval = _progress_interval()

    def advance(self, amount: float = 1) -> None:
        self.done += amount
        now = time.monotonic()
        if now - self.reported >= self.interval:
            self.reported = now
            fields = {"done": self.done, "total": self.total, "elapsed_seconds": round(now - self.started, 1)}
            log.info(f"{self.description}: {self.done / self.total:.0%} {self.text}".rstrip(), extra={"fields": fields})

    def note(self, text: str) -> None:
        self.text = text


def _progress_interval() -> float:
    try:
        return float(os.environ.get(PROGRESS_SECONDS, ""))
    except ValueError:
        return PROGRESS_INTERVAL


class _BarProgress:
    def __init__(self, bar: Any, task: Any, description: str) -> None:
        self.bar, self.task, self.description = bar, task, description

    def advance(self, amount: float = 1) -> None:
        self.bar.advance(self.task, amount)

    def note(self, text: str) -> None:
        self.bar.update(self.task, description=f"{self.description} {text}")


class Listener(Protocol):
    """Notified of progress beside the terminal or the log."""

    def begun(self, stage: str, total: float) -> None:
        """A part of the work begins."""

    def advanced(self, stage: str, amount: float, total: float) -> None:
        """Some of it is done."""


#: Listeners that are notified (`epilstm.runtime.telemetry.live`).
listeners: list[Listener] = []


class _HeardProgress:
    def __init__(self, shown: Progress, stage: str, total: float) -> None:
        self.shown, self.stage, self.total = shown, stage, total
        for listener in listeners:
            listener.begun(stage, total)

    def advance(self, amount: float = 1) -> None:
        self.shown.advance(amount)
        for listener in listeners:
            listener.advanced(self.stage, amount, self.total)

    def note(self, text: str) -> None:
        self.shown.note(text)


@contextmanager
def progress(description: str, total: float) -> Iterator[Progress]:
    """Show how far a part of the work is.

    Parameters
    ----------
    description : str
        What is being done.
    total : float
        Amount of work, in the unit of `Progress.advance`.
    """
    with _shown(description, total) as shown:
        yield _HeardProgress(shown, description, max(total, 1e-9)) if listeners else shown


@contextmanager
def _shown(description: str, total: float) -> Iterator[Progress]:
    if not (sys.stderr.isatty() and log.isEnabledFor(logging.INFO)):
        yield _LoggedProgress(description, max(total, 1e-9))
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        yield _BarProgress(bars, bars.add_task(description, total=total), description)
