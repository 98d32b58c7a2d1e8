"""Reports a run of a step to Prometheus when it has ended, well or not."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from epilstm import __version__
from epilstm.console import log
from epilstm.runtime.telemetry import destinations
from epilstm.runtime.telemetry.failures import reason_of
from epilstm.trace_context import current_trace

if TYPE_CHECKING:
    from epilstm.runtime.telemetry.series import Series

#: Environment variable: which pipeline a step is run for, such as ``training``.
PIPELINE = "EPILSTM_PIPELINE"
LOCAL = "local"

#: Ports whose fingerprint is the version of the data, and that of the model; the first that a step has counts.
DATA_PORTS = ("matrix", "signal", "samplesheet")
MODEL_PORTS = ("model", "encoder")
VERSION_DIGITS = 12


@dataclass
class StepRun:
    """What is known of a run; the runner fills it in.

    Parameters
    ----------
    numbers : mapping
        For the metrics file.
    fingerprints : mapping of str to str
        Of inputs and outputs, by port.
    inputs, outputs : mapping of str to Path
        By port.
    peak_memory : int
        Bytes.
    """

    step: str
    part: str | None = None
    numbers: Mapping[str, Any] = field(default_factory=dict)
    bins: int = 0
    tracks: int = 0
    retries: int = 0
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, Path] = field(default_factory=dict)
    outputs: Mapping[str, Path] = field(default_factory=dict)
    peak_memory: int = 0


def common_labels(step: str, part: str | None) -> dict[str, str]:
    """Labels of every series of a run."""
    labels = {"pipeline": os.environ.get(PIPELINE, "").strip() or LOCAL, "step": step}
    return labels if part is None else {**labels, "part": part}


def reports() -> bool:
    """Whether this process reports the run: under ``torchrun`` the first one does."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def observed(step: str, part: str | None = None) -> Iterator[StepRun]:
    """Report a run when it has ended; nothing where no destination is configured or another process reports it.

    Whatever is wrong with a destination or a number, the run ends as it would have.
    """
    run, started = StepRun(step, part), time.monotonic()
    try:
        yield run
    except BaseException as error:
        _report(run, time.monotonic() - started, reason_of(error))
        raise
    _report(run, time.monotonic() - started, None)


def report_failure(step: str, part: str | None, reason: str) -> None:
    """Report a run that failed and can no longer report itself.

    Parameters
    ----------
    reason : str
        One of `epilstm.runtime.telemetry.failures.ALL_REASONS`.
    """
    _deliver(step, part, lambda series: _failure(reason, series))


def report_reuse(step: str, part: str | None) -> None:
    """Report that a step is done because its output was there already; the metrics of the run that made it stay."""
    _deliver(step, part, _good_end)


def _report(run: StepRun, seconds: float, reason: str | None) -> None:
    def fill(series: Series) -> None:
        if reason is None:
            _success(run, seconds, series)
        else:
            _failure(reason, series)

    _deliver(run.step, run.part, fill)


def _deliver(step: str, part: str | None, fill: Callable[[Series], None]) -> None:
    if not destinations.configured() or not reports():
        return
    try:
        from epilstm.runtime.telemetry.series import Series

        series = Series(common_labels(step, part))
        fill(series)
        destinations.deliver(series)
    except Exception as error:
        log.warning(f"the metrics of the run cannot be delivered: {type(error).__name__}: {error}")


def _good_end(series: Series) -> None:
    series.set("epilstm_step_success", 1)
    series.set("epilstm_step_last_success_timestamp_seconds", time.time())


def _success(run: StepRun, seconds: float, series: Series) -> None:
    from epilstm.runtime.telemetry.step_numbers import set_numbers

    _good_end(series)
    series.set("epilstm_step_duration_seconds", seconds)
    series.set("epilstm_step_bins", run.bins)
    series.set("epilstm_step_tracks", run.tracks)
    series.set("epilstm_step_throughput_bins_per_second", run.bins / seconds if run.bins and seconds else None)
    series.set("epilstm_step_input_bytes", sum(size_of(path) for path in run.inputs.values()))
    series.set("epilstm_step_output_bytes", sum(size_of(path) for path in run.outputs.values()))
    series.set("epilstm_step_peak_memory_bytes", run.peak_memory)
    series.set("epilstm_step_retries", run.retries)
    series.set(
        "epilstm_step_info",
        1,
        version=__version__,
        data_version=_version(run, DATA_PORTS),
        model_version=_version(run, MODEL_PORTS),
        run_id=current_trace().trace_id,
    )
    set_numbers(run.step, run.numbers, series, time.time())


def _failure(reason: str, series: Series) -> None:
    series.set("epilstm_step_success", 0)
    series.set("epilstm_step_last_failure_timestamp_seconds", time.time())
    series.set("epilstm_step_failure_info", 1, reason=reason, run_id=current_trace().trace_id)


def _version(run: StepRun, ports: tuple[str, ...]) -> str:
    return next((run.fingerprints[port][:VERSION_DIGITS] for port in ports if port in run.fingerprints), "")


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; 0 where there is nothing."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
