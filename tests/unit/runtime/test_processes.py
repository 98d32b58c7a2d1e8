"""Worker processes: outcomes, errors, deaths, and that none outlives its parent."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from epilstm.console import log
from epilstm.errors import TrackError
from epilstm.runtime.processes import WorkerDied, outcomes
from support.watching import alive, wait_until


def square(number: int) -> int:
    if number < 0:
        raise TrackError(f"{number} is negative")
    if number == 13:
        raise ValueError("a bug")
    if number == 99:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 98:
        os._exit(3)
    return number * number


def process_id(_: int) -> int:
    return os.getpid()


class OpenedAfterDeath:
    """An answer that the parent reads in full only when the worker that sent it is gone."""

    def __reduce__(self) -> tuple[object, ...]:
        return (wait_for_death, (os.getpid(),))


def wait_for_death(process: int) -> str:
    wait_until(lambda: not alive(process))
    return "answered"


def answer_and_die(dies: bool) -> object:
    if not dies:
        return "answered"
    threading.Timer(0.2, os._exit, (3,)).start()
    return OpenedAfterDeath()


def report_and_sleep(folder: str) -> None:
    if folder:
        Path(folder, str(os.getpid())).touch()
        time.sleep(120)


@pytest.mark.parametrize("workers", [1, 3])
def test_every_task_has_its_outcome(workers: int) -> None:
    with outcomes(square, [3, -1, 5, 2], workers) as done:
        found = {outcome.index: outcome for outcome in done}
    assert {index: found[index].result() for index in (0, 2, 3)} == {0: 9, 2: 25, 3: 4}
    with pytest.raises(TrackError, match="-1 is negative"):
        found[1].result()


def warn(number: int) -> int:
    log.warning("number %d is odd", number, extra={"fields": {"number": number}})
    log.debug("looking closely")
    return number


@pytest.mark.parametrize("workers", [1, 2])
def test_what_workers_log_is_logged_here(workers: int, caplog: pytest.LogCaptureFixture, monkeypatch) -> None:
    monkeypatch.setattr(log, "propagate", True)
    with caplog.at_level(logging.INFO, logger="epilstm"), outcomes(warn, [3, 5], workers) as done:
        assert sorted(outcome.result() for outcome in done) == [3, 5]
    assert set(caplog.messages) == {"number 3 is odd", "number 5 is odd"}
    assert {record.fields["number"] for record in caplog.records} == {3, 5}


def test_one_worker_is_this_process() -> None:
    with outcomes(process_id, [1, 2], 1) as done:
        assert {outcome.result() for outcome in done} == {os.getpid()}


def test_no_tasks_are_done_at_once() -> None:
    with outcomes(square, [], 4) as done:
        assert list(done) == []


def test_a_bug_in_a_worker_says_where_it_was() -> None:
    with outcomes(square, [13, 1], 2) as done:
        error = next(outcome.error for outcome in done if outcome.index == 0)
    assert isinstance(error, ValueError)
    assert "in square" in error.__notes__[0]


def test_a_killed_worker_is_the_error_of_its_task_only() -> None:
    with outcomes(square, [99, 1, 2, 3], 2) as done:
        found = {outcome.index: outcome for outcome in done}
    assert [found[index].value for index in (1, 2, 3)] == [1, 4, 9]
    with pytest.raises(WorkerDied, match="for want of memory"):
        found[0].result()


def test_when_every_worker_died_the_rest_is_reported() -> None:
    with outcomes(square, [99, 98, 1], 2) as done:
        found = {outcome.index: outcome for outcome in done}
    assert sorted(found) == [0, 1, 2]
    with pytest.raises(WorkerDied, match="exit code 3"):
        found[1].result()
    assert isinstance(found[2].error, WorkerDied) or found[2].value == 1


def test_a_worker_that_dies_between_tasks_is_the_error_of_the_next_and_its_answer_is_kept() -> None:
    with outcomes(answer_and_die, [True, True, False, False], 2) as done:
        found = {outcome.index: outcome for outcome in done}
    assert [found[index].result() for index in (0, 1)] == ["answered", "answered"]
    with pytest.raises(WorkerDied, match="exit code 3"):
        found[2].result()
    assert sorted(found) == [0, 1, 2, 3]
    assert isinstance(found[3].error, WorkerDied)


def test_leaving_the_block_ends_the_workers_at_once(tmp_path: Path) -> None:
    with outcomes(report_and_sleep, [str(tmp_path), ""], 2) as done:
        assert next(done).index == 1  # generators run when they are asked: the one that answers, beside one that sleeps
        wait_until(lambda: len(list(tmp_path.iterdir())) == 1)
    assert not any(alive(int(path.name)) for path in tmp_path.iterdir())
