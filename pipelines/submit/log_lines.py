"""The line of a task's log that says why the task failed."""

from __future__ import annotations

import json
import re
from typing import Any

#: Characters that are shown of a line.
LONGEST_LINE = 500

#: Colours and other control characters of terminals.
_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(\x07|\x1b\\)"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]"
)
_RAISED = re.compile(r"([A-Za-z_]\w*\.)*[A-Z]\w*(Error|Exception|Interrupt|Exit)(: .*)?")


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
