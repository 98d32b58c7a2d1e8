"""Worker processes that outlive neither their parent nor an interrupt."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from logging import LogRecord
from logging.handlers import QueueHandler
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Generic, TypeVar

from epilstm.console import log
from epilstm.errors import EpilstmError

Task = TypeVar("Task")
Value = TypeVar("Value")


class WorkerDied(EpilstmError):
    """A worker process ended without an answer."""


@dataclass(frozen=True)
class Outcome(Generic[Value]):
    """The outcome of one task: a value, or the error that it ended with.

    Parameters
    ----------
    index : int
        Place of the task in the list.
    value : object
        What the function returned; None after an error.
    error : Exception or None
        What it raised, or `WorkerDied`.
    """

    index: int
    value: Value | None
    error: Exception | None

    def result(self) -> Value:
        """Return the value, or raise the error."""
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]


@contextmanager
def outcomes(
    function: Callable[[Task], Value], tasks: Sequence[Task], workers: int
) -> Iterator[Iterator[Outcome[Value]]]:
    """Run a function over tasks in worker processes; outcomes come as they are ready.

    Leaving the block, for whatever reason, ends the workers at once. Workers ignore Ctrl-C (the parent decides) and
    end by themselves when the parent is gone. What they log, this process logs, while it waits for the next outcome. A
    single worker is this process itself.

    Parameters
    ----------
    function : callable
        Importable by name; called with one task.
    tasks : sequence
        Picklable.
    workers : int
        Processes at most; each runs one task at a time.
    """
    run = _run_here(function, tasks) if workers == 1 else _run(function, tasks, workers)
    with closing(run) as running:
        yield running


@dataclass
class _Worker:
    process: SpawnProcess
    connection: Connection
    index: int


def _run(
    function: Callable[[Task], Value], tasks: Sequence[Task], workers: int
) -> Generator[Outcome[Value], None, None]:  # closing it runs the finally
    context = multiprocessing.get_context("spawn")  # fork would copy the locks of threads that zarr and BLAS run
    waiting = iter(range(len(tasks)))
    crew: list[_Worker] = []

    def dismiss(worker: _Worker) -> None:
        crew.remove(worker)
        worker.connection.close()
        worker.process.join()

    def death_of(worker: _Worker) -> Outcome[Value]:
        dismiss(worker)
        return Outcome(worker.index, None, _death(worker.process.exitcode))

    def give(worker: _Worker) -> Iterator[Outcome[Value]]:
        """Send the next task, or let the worker go; an outcome only where it had died since its last answer."""
        index = next(waiting, None)
        if index is None:
            dismiss(worker)
            return
        worker.index = index
        try:
            worker.connection.send(tasks[index])
        except ConnectionError:
            yield death_of(worker)

    try:
        for _ in range(min(workers, len(tasks))):
            own_end, other_end = context.Pipe()
            process = context.Process(target=_serve, args=(function, other_end, log.getEffectiveLevel()), daemon=True)
            process.start()
            other_end.close()
            crew.append(_Worker(process, own_end, -1))
            yield from give(crew[-1])
        while crew:
            for connection in wait([worker.connection for worker in crew]):
                worker = next(worker for worker in crew if worker.connection is connection)
                try:
                    message = worker.connection.recv()
                except (EOFError, ConnectionError):
                    yield death_of(worker)
                    continue
                if isinstance(message, LogRecord):
                    log.handle(message)
                    continue
                value, error = message
                yield Outcome(worker.index, value, error)
                yield from give(worker)
        yield from (Outcome(index, None, WorkerDied("not begun: its worker process had died")) for index in waiting)
    finally:
        for worker in crew:
            worker.process.kill()
        for worker in crew:
            worker.process.join()
            worker.connection.close()


def _run_here(function: Callable[[Task], Value], tasks: Sequence[Task]) -> Generator[Outcome[Value], None, None]:
    for index, task in enumerate(tasks):
        try:
            outcome = Outcome(index, function(task), None)
        except Exception as error:
            outcome = Outcome(index, None, error)
        yield outcome


def _death(exitcode: int | None) -> WorkerDied:
    if exitcode == -signal.SIGKILL:
        return WorkerDied(
            "its worker process was killed, most likely for want of memory; "
            "give the step more memory or fewer workers and run it again"
        )
    how = f"by signal {-exitcode}" if exitcode is not None and exitcode < 0 else f"with exit code {exitcode}"
    return WorkerDied(f"its worker process ended {how}; run the step again, with -v if it happens twice")


class _ToParent(QueueHandler):
    """Sends log records to the parent, which knows how they are to be shown."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(None)  # type: ignore[arg-type]
        self.connection = connection

    def enqueue(self, record: LogRecord) -> None:
        self.connection.send(record)


def _serve(function: Callable[[Task], Value], connection: Connection, level: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    log.handlers[:] = [_ToParent(connection)]
    log.propagate = False
    log.setLevel(level)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            task = connection.recv()
        except EOFError:
            return
        try:
            answer: tuple[Value | None, Exception | None] = (function(task), None)
        except Exception as error:
            if not isinstance(error, EpilstmError | OSError):
                error.add_note(f"in a worker process:\n{traceback.format_exc()}")
            answer = (None, error)
        connection.send(answer)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
