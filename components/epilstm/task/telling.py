"""Prometheus is told of tasks whose step cannot tell of itself: killed, never begun, or not needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from epilstm.errors import EpilstmError
from epilstm.task.step_process import StepFailed
from epilstm.telemetry.failures import KILLED, reason_of
from epilstm.telemetry.step_run import tell_failure

#: Exit codes from here on say by which signal a process was ended; one of an interrupted step is no kill.
FIRST_SIGNAL, INTERRUPTED = 129, 130


@contextmanager
def failures_told(step: str, part: str | None) -> Iterator[None]:
    """Tell of a failure, unless it is one of the step itself: that one has told."""
    try:
        yield
    except StepFailed as error:
        if error.exit_code >= FIRST_SIGNAL and error.exit_code != INTERRUPTED:
            tell_failure(step, part, KILLED)
        raise
    except EpilstmError as error:
        tell_failure(step, part, reason_of(error))
        raise
