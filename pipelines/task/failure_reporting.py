"""Failures that a step cannot report to Prometheus itself: it was killed, or never began."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from epilstm.errors import EpilstmError
from epilstm.pipelines.task.step_process import StepFailed
from epilstm.runtime.telemetry.failures import KILLED, reason_of
from epilstm.runtime.telemetry.step_run import report_failure

#: Exit codes from here on name the signal that ended a process; that of an interrupted step is no kill.
FIRST_SIGNAL, INTERRUPTED = 129, 130


@contextmanager
def failures_reported(step: str, part: str | None) -> Iterator[None]:
    """Report a failure, unless the step failed by itself and has reported it."""
    try:
        yield
    except StepFailed as error:
        if error.exit_code >= FIRST_SIGNAL and error.exit_code != INTERRUPTED:
            report_failure(step, part, KILLED)
        raise
    except EpilstmError as error:
        report_failure(step, part, reason_of(error))
        raise
