"""Why a step failed: the last line of error in its pod's log."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

from epilstm.pipelines.submit.run_steps import Step
from epilstm.pipelines.submit.runs import Run
from epilstm.pipelines.submit.server import Server, ServerError

#: Characters that are shown of a line.
LONGEST_LINE = 500
#: Failed steps of a run whose logs are read.
LOGS_READ = 5

#: Colours and other control characters of terminals.
_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(\x07|\x1b\\)"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]"
)
_RAISED = re.compile(r"([A-Za-z_]\w*\.)*[A-Z]\w*(Error|Exception|Interrupt|Exit)(: .*)?")


def with_reasons(server: Server, run: Run) -> Run:
    """A run whose failed steps say why they failed, as far as the server knows."""
    reasons = {step.id: _reason(server, run.id, step) for step in run.failures[:LOGS_READ]}
    steps = (replace(step, error=reasons.get(step.id, step.error)) for step in run.steps)
    return replace(run, steps=tuple(steps))


def last_error_line(log: str) -> str:
    """The last line of a step's log that reports an error; without one, the last that is not blank.

    Returns
    -------
    str
        At most `LONGEST_LINE` printable characters; empty if the log is.
    """
    lines = [line for line in map(_printable, log.splitlines()) if line]
    errors = (error for error in map(_error_in, reversed(lines)) if error)
    return _bounded(next(errors, lines[-1] if lines else ""))


def _reason(server: Server, run_id: str, step: Step) -> str:
    if step.error:
        return last_error_line(step.error)
    if not step.pod:
        return "the server does not name its pod, see the run's page"
    try:
        text = server.pod_log(run_id, step.pod)
    except ServerError as error:
        return f"its log (pod {step.pod}) cannot be read: {error}"
    if text is not None:
        return last_error_line(text) or f"its log (pod {step.pod}) is empty"
    if step.driver:
        # Some releases run drivers in a pod of the whole workflow, whose log is not given.
        return f"its log is not given; see kubectl describe workflow {step.pod.partition('-system-')[0]}"
    return f"its log is gone: the cluster has neither pod {step.pod} nor an archive of its log"


def _error_in(line: str) -> str:
    """The error that a line reports; empty if it reports none."""
    if line.startswith("error: ") or _RAISED.fullmatch(line):
        return line
    if line.startswith("{"):
        try:
            record: Any = json.loads(line)
        except ValueError:
            return ""
        if isinstance(record, dict) and str(record.get("level")).lower() in {"error", "critical"}:
            return _printable(str(record.get("message", "")))
    return ""


def _printable(line: str) -> str:
    return _CONTROL.sub("", line).strip()


def _bounded(line: str) -> str:
    return line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]}..."
