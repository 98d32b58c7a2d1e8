"""The step as a separate process: its output and signals are passed on, its last error line is kept."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from epilstm.errors import EpilstmError
from epilstm.runtime.runner import Interrupted
from epilstm.runtime.step_table import Step

#: For the last lines of a step that has ended.
LINGERING_SECONDS = 5.0


class StepFailed(EpilstmError):
    """The step ended with an error; the exit code is its own, and its line says whether a retry can help."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def command_of(step: Step, words: Sequence[str], processes: int, launcher: str = "") -> list[str]:
    """How the step is started: by a launcher, else with this Python, under torchrun for several processes."""
    if launcher:
        return [*shlex.split(launcher), *words]
    module = ["-m", "epilstm", *words[1:]]
    if processes > 1 and step.distributed:
        torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        return [sys.executable, *torchrun, *module]
    return [sys.executable, *module]


class StopSignals:
    """SIGTERM and Ctrl-C: handed to the step while it runs, else the end of the task."""

    def __init__(self, step: Step, part: str | None = None) -> None:
        #: How errors name what runs: Kubeflow numbers parts only, and does not say what they hold.
        self.where = f"step {step.name}" if part is None else f"step {step.name}, part {part}"
        self.process: subprocess.Popen[bytes] | None = None
        self.asked = False

    def __call__(self, number: int, frame: object) -> None:
        """Handle one signal."""
        if self.process is not None and self.process.poll() is None:
            self.asked = True
            self.process.send_signal(number)
        elif not self.asked:  # a second one must not cut off what is done because of the first
            raise Interrupted(f"{self.where}: interrupted; run it again to resume")


@contextmanager
def stop_signals(step: Step, part: str | None = None) -> Iterator[StopSignals]:
    """Handle SIGTERM and Ctrl-C for as long as the task lasts: process 1 of a container gets no default handler."""
    handler = StopSignals(step, part)
    before = {number: signal.signal(number, handler) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield handler
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def run_process(
    argv: Sequence[str], folder: Path, signals: StopSignals, every: float, meanwhile: Callable[[], None]
) -> None:
    """Run the step to its end.

    Parameters
    ----------
    folder : Path
        Its working directory.
    every : float
        Seconds between calls of `meanwhile`.
    meanwhile : callable
        Called while the step runs.

    Raises
    ------
    StepFailed
        Its last error line, and its exit code; 128 + n where signal n ended it.
    """
    # A separate session: Ctrl-C on a terminal reaches it once, through this process.
    process = subprocess.Popen(argv, cwd=folder, stderr=subprocess.PIPE, start_new_session=True)
    signals.process = process
    assert process.stderr is not None
    lines = LastLines(process.stderr)
    while True:
        try:
            code = process.wait(every)
            break
        except subprocess.TimeoutExpired:
            meanwhile()
    # What the step started may outlive it, and hold its standard error open.
    lines.join(LINGERING_SECONDS)
    if code:
        raise _failure(signals, code, lines)


def _failure(signals: StopSignals, code: int, lines: LastLines) -> StepFailed:
    where = signals.where
    if signals.asked:
        return StepFailed(f"{where}: {lines.error or 'interrupted; run it again to resume'}", code if code > 0 else 130)
    if code < 0:
        name = signal.Signals(-code).name
        advice = "; it may have run out of memory, give the task more" if name == "SIGKILL" else ""
        return StepFailed(f"{where}: killed by {name}{advice}", 128 - code)
    return StepFailed(f"{where}: {lines.error or lines.last or f'ended with exit code {code}'}", code)


class LastLines(threading.Thread):
    """Passes standard error on, line by line, and keeps the last line of an error and the last one at all."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self.stream = stream
        self.error = ""
        self.last = ""
        self.start()

    def run(self) -> None:
        """Read to the end."""
        for line in self.stream:
            sys.stderr.buffer.write(line)
            sys.stderr.buffer.flush()
            text = line.decode(errors="replace").strip()
            if text.startswith("error: "):
                self.error = text.removeprefix("error: ")
            self.last = text or self.last
