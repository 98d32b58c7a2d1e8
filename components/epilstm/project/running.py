"""Runs the steps of a plan one after the other, each as a process of its own, and shows how far they are."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

from epilstm.console import PROGRESS_SECONDS, log
from epilstm.errors import EpilstmError, PipelineError
from epilstm.project.freshness import Done
from epilstm.project.plan import ORDER, WORK, Plan
from epilstm.runtime.runner import Interrupted
from epilstm.runtime.step_table import STEPS
from epilstm.trace_context import current_trace

LOG = "run.log"


@dataclass
class Outcome:
    """What a run did.

    Parameters
    ----------
    ran, kept : list of str
        Steps that ran, and that were done already.
    warnings : list of str
        Of the steps that ran.
    """

    ran: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Display(Protocol):
    """Shows the progress of a run."""

    def begin(self, number: int, step: str) -> None:
        """A step begins."""

    def line(self, text: str, content: dict[str, Any]) -> None:
        """A step wrote a line; `content` is its fields, empty where it is no JSON."""

    def end(self, number: int, step: str, summary: str, seconds: float) -> None:
        """A step has ended well; `summary` is what it reports."""

    def keep(self, number: int, step: str) -> None:
        """A step is done already."""


class LineDisplay:
    """One JSON object per line on standard error: the steps' own lines, and one where a step begins and ends."""

    def begin(self, number: int, step: str) -> None:
        """Log it."""
        self._log(number, step, f"step {number} of {len(ORDER)}: {step}")

    def line(self, text: str, content: dict[str, Any]) -> None:
        """Pass it on."""
        if content:
            print(text, file=sys.stderr, flush=True)

    def end(self, number: int, step: str, summary: str, seconds: float) -> None:
        """Log it."""
        self._log(number, step, f"step {number} of {len(ORDER)}: {step} is done", seconds=round(seconds, 1))

    def keep(self, number: int, step: str) -> None:
        """Log it."""
        self._log(number, step, f"step {number} of {len(ORDER)}: {step} is kept: nothing it follows from has changed")

    def _log(self, number: int, step: str, text: str, **more: Any) -> None:
        log.info(text, extra={"fields": {"number": number, "of": len(ORDER), "run_step": step, **more}})


class BarDisplay:
    """One bar on a terminal: the step, how far it is, the time since it began, and what it said last."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            Progress,
            TaskProgressColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TaskProgressColumn(), TimeElapsedColumn(),
                   TextColumn("left"), TimeRemainingColumn(),
                   TextColumn("{task.fields[note]}"))  # fmt: skip
        self.bars = Progress(*columns, console=Console(stderr=True), transient=True)
        self.task: Any = None
        self.heading = ""

    def begin(self, number: int, step: str) -> None:
        """Draw a bar."""
        self.heading = _heading(number, step)
        self.task = self.bars.add_task(self.heading, total=None, note="")

    def line(self, text: str, content: dict[str, Any]) -> None:
        """Move the bar; show warnings and errors above it."""
        message = str(content.get("message", ""))
        if {"done", "total"} <= content.keys():
            note = re.sub(r": \d+%", "", message)  # the bar shows it
            self.bars.update(self.task, total=content["total"], completed=content["done"], note=_short(note))
        elif content.get("level") in ("warning", "error"):
            self.bars.console.print(f"  {content['level']}: {message}", markup=False, highlight=False)
        elif message:
            self.bars.update(self.task, note=_short(message))

    def end(self, number: int, step: str, summary: str, seconds: float) -> None:
        """Leave one line of it."""
        self.bars.remove_task(self.task)
        said = f": {summary}" if summary else ""
        self._print(f"{_heading(number, step)} {duration(seconds)}{said}")

    def keep(self, number: int, step: str) -> None:
        """Leave one line of it."""
        self._print(f"{_heading(number, step)} kept: nothing it follows from has changed")

    def _print(self, text: str) -> None:
        self.bars.console.print(text, markup=False, highlight=False)


class QuietDisplay:
    """Warnings and errors only."""

    def begin(self, number: int, step: str) -> None:
        """Nothing."""

    def line(self, text: str, content: dict[str, Any]) -> None:
        """Pass on warnings and errors."""
        if content.get("level") in ("warning", "error"):
            print(content["message"] if sys.stderr.isatty() else text, file=sys.stderr, flush=True)

    def end(self, number: int, step: str, summary: str, seconds: float) -> None:
        """Nothing."""

    def keep(self, number: int, step: str) -> None:
        """Nothing."""


def _heading(number: int, step: str) -> str:
    return f"[{number}/{len(ORDER)}] {step:<10}"


def _short(text: str, width: int = 60) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def duration(seconds: float) -> str:
    """A time as people read it: ``9 s``, ``4 min 5 s``, ``2 h 3 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


@contextmanager
def shown(verbosity: int) -> Iterator[Display]:
    """The display that fits standard error: a bar on a terminal, lines elsewhere; warnings only if negative."""
    if verbosity < 0:
        yield QuietDisplay()
    elif sys.stderr.isatty():
        display = BarDisplay()
        with display.bars:
            yield display
    else:
        yield LineDisplay()


def run_plan(plan: Plan, done: Done, keep: list[str], verbosity: int) -> Outcome:
    """Run the steps that are not done.

    Parameters
    ----------
    plan : Plan
        Written into its folder.
    done : Done
        Brought up to date after every step.
    keep : list of str
        Steps to keep, the first of the order.
    verbosity : int
        Above 0 for debug lines, below 0 for warnings only.

    Raises
    ------
    EpilstmError
        A step failed, or the run was interrupted. Steps that ended well are kept by the next run.
    """
    outcome, started = Outcome(), time.monotonic()
    (plan.folder / WORK).mkdir(parents=True, exist_ok=True)
    with shown(verbosity) as display, open(plan.folder / LOG, "a", encoding="utf-8") as journal:
        for number, step in enumerate(ORDER, 1):
            # Also past the first step that runs: one whose outputs come out the same changes nothing after it.
            if step in keep or (outcome.ran and done.fits(step)):
                display.keep(number, step)
                outcome.kept.append(step)
                continue
            follows = done.follows(step)
            clock = time.monotonic()
            display.begin(number, step)
            process = _Step(plan, step, display, journal, verbosity)
            process.run()
            outcome.warnings += process.warnings
            done.add(step, follows)
            outcome.ran.append(step)
            display.end(number, step, process.last, time.monotonic() - clock)
    outcome.seconds = time.monotonic() - started
    return outcome


class _Step:
    """One step as a process; its lines are shown, and kept in the log of the run."""

    def __init__(self, plan: Plan, step: str, display: Display, journal: IO[str], verbosity: int) -> None:
        self.step, self.display, self.journal = step, display, journal
        flags = ("resume",) if step == "train" else ()
        paths = {name: str(path) for name, path in plan.paths(step).items()}
        line = STEPS[step].argv(str(plan.params_path), paths, flags)
        self.line = [sys.executable, "-m", *line, *(["--verbose"] if verbosity > 0 else [])]
        self.warnings: list[str] = []
        self.error = self.last = ""
        self.process: subprocess.Popen[str] | None = None
        self.asked = 0

    def run(self) -> None:
        environment = {**os.environ, "TRACEPARENT": current_trace().traceparent}
        if sys.stderr.isatty():
            environment[PROGRESS_SECONDS] = "0.5"
        # In a session of its own: Ctrl-C reaches this process, which passes it on once.
        before = {
            number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        }
        try:
            self.process = subprocess.Popen(
                self.line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                encoding="utf-8", errors="replace", env=environment, start_new_session=True,
            )  # fmt: skip
            assert self.process.stdout is not None
            for text in self.process.stdout:
                self._read(text.rstrip("\n"))
            code = self.process.wait()
        finally:
            if self.process is not None and self.process.poll() is None:
                _signal_group(self.process, signal.SIGKILL)
                self.process.wait()
            for number, handler in before.items():
                signal.signal(number, handler)
        if code or self.asked:
            raise self._failure(code)

    def _stop(self, number: int, frame: object) -> None:
        self.asked += 1
        if self.process is not None:
            # Asked a second time, it is not waited for.
            _signal_group(self.process, signal.SIGTERM if self.asked == 1 else signal.SIGKILL)

    def _read(self, text: str) -> None:
        self.journal.write(text + "\n")
        self.journal.flush()
        try:
            content = json.loads(text) if text.startswith("{") else {}
        except ValueError:
            content = {}
        content = content if isinstance(content, dict) else {}
        if content.get("level") == "warning":
            self.warnings.append(f"{self.step}: {content.get('message')}")
        elif content.get("level") == "info" and "done" not in content:
            self.last = str(content.get("message", ""))
        elif not content and text.strip():
            self.error = text.strip()
        self.display.line(text, content)

    def _failure(self, code: int) -> EpilstmError:
        if self.asked:
            return Interrupted(
                f"interrupted in {self.step}; nothing half-written is left, give the same command again to resume"
            )
        if self.error.startswith("error: "):
            error = PipelineError(f"{self.step}: {self.error.removeprefix('error: ').removeprefix(f'{self.step}: ')}")
            error.exit_code = 1
            return error
        where = f"the log is {self.journal.name}"
        if code < 0:
            name = signal.Signals(-code).name
            memory = ", as the system does where memory runs out" if name == "SIGKILL" else ""
            return PipelineError(f"{self.step}: its process was ended by {name}{memory}; {where}")
        return PipelineError(f"{self.step}: ended with exit code {code}: {self.error or 'it gave no reason'}; {where}")


def _signal_group(process: subprocess.Popen[str], number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def what_is_kept(done: Done) -> list[str]:
    """The first steps of the order whose outputs still fit, up to one that has to run."""
    kept: list[str] = []
    for step in ORDER:
        if not done.fits(step):
            break
        kept.append(step)
    return kept


def relative(path: Path) -> str:
    """A path as it is shown: relative to the working directory where it lies inside it."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
