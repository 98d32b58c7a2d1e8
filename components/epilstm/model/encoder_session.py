"""An encoder on one CPU thread: its session, and how long a call takes."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from epilstm.model.encoder_folder import SIGNAL

#: (batch, time) of the call that is timed, and how often it is made.
TIMED_SHAPE, TIMED_CALLS = (1, 100), 30


def cpu_session(path: Path) -> Any:
    """An onnxruntime session on one CPU thread, so that results do not depend on the machine's cores."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def median_milliseconds(session: Any, tracks: int) -> float:
    """Median time of a call on one CPU thread."""
    signal = np.random.default_rng(0).exponential(1, (*TIMED_SHAPE, tracks)).astype(np.float32)
    seconds = []
    for _ in range(TIMED_CALLS):
        started = time.perf_counter()
        session.run(None, {SIGNAL: signal})
        seconds.append(time.perf_counter() - started)
    return 1000 * statistics.median(seconds)
