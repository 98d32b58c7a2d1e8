"""The trace that a process is part of: W3C trace context in the environment, as OpenTelemetry's tools read it.

The trace's identifier is the run's: log lines, records and metrics carry it.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from dataclasses import dataclass

#: ``00-<trace>-<span>-<flags>`` of the caller; of a process's own, for those that it starts.
TRACEPARENT = "TRACEPARENT"
#: Identifier of the run where there is no traceparent: a UUID such as Kubeflow's, or any text.
RUN_ID = "EPILSTM_RUN_ID"

_FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_HEX = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Trace:
    """Where a process stands in a trace.

    Parameters
    ----------
    trace_id : str
        32 hexadecimal digits; the run's identifier.
    span_id : str
        16; the process's own.
    parent_id : str or None
        Span that started it.
    flags : str
        2; the lowest bit says that the trace is recorded.
    """

    trace_id: str
    span_id: str
    parent_id: str | None = None
    flags: str = "01"

    @property
    def traceparent(self) -> str:
        """What is passed to a process that this one starts, or to a server that it calls."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


def parse_traceparent(text: str) -> Trace | None:
    """The caller of a traceparent, with its span as `span_id`; None where the text is none."""
    found = _FORM.fullmatch(text.strip())
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or not int(trace_id, 16) or not int(span_id, 16) or (version == "00" and more):
        return None
    return Trace(trace_id, span_id, flags=flags)


def trace_id_of(run_id: str) -> str:
    """The trace identifier of a run: a UUID without its hyphens, else a digest of the text."""
    plain = run_id.strip().lower().replace("-", "")
    if _HEX.fullmatch(plain) and int(plain, 16):
        return plain
    return hashlib.sha256(run_id.strip().encode()).hexdigest()[:32]


def join_trace() -> Trace:
    """Begin a span of the trace that the environment names, or a trace; processes started later are part of it."""
    global _current
    span_id = secrets.token_hex(8)
    caller = parse_traceparent(os.environ.get(TRACEPARENT, ""))
    run_id = os.environ.get(RUN_ID, "").strip()
    if caller is not None:
        _current = Trace(caller.trace_id, span_id, caller.span_id, caller.flags)
    else:
        _current = Trace(trace_id_of(run_id) if run_id else secrets.token_hex(16), span_id)
    os.environ[TRACEPARENT] = _current.traceparent
    return _current


def current_trace() -> Trace:
    """The span of this process; begun if it was not yet."""
    return _current or join_trace()


_current: Trace | None = None
