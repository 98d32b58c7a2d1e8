"""Metrics of a step while it runs, at ``/metrics`` of a port."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from epilstm import __version__, console
from epilstm.console import log
from epilstm.runtime.telemetry.step_run import common_labels, reports
from epilstm.trace_context import current_trace

if TYPE_CHECKING:
    from epilstm.runtime.telemetry.series import Series

_series: Series | None = None


def set_metric(name: str, value: float, **labels: str) -> None:
    """Set a metric of the run under way, if it is served."""
    if _series is not None:
        _series.set(name, value, **labels)


@contextmanager
def served(port: int | None, step: str, part: str | None) -> Iterator[None]:
    """Serve the metrics of a run until it ends; an unavailable port is a warning.

    Parameters
    ----------
    port : int or None
        On every address of the machine; 0 takes a free one, None serves nothing. Under ``torchrun`` the first process
        serves.
    """
    global _series
    if port is None or not reports():
        yield
        return
    from prometheus_client import start_http_server
    from prometheus_client.process_collector import ProcessCollector

    from epilstm.runtime.telemetry.gpu import Gpus
    from epilstm.runtime.telemetry.series import Series

    series = Series(common_labels(step, part))
    ProcessCollector(registry=series.registry)
    Gpus(series.common).register(series.registry)
    series.set("epilstm_run_info", 1, version=__version__, run_id=current_trace().trace_id)
    series.set("epilstm_run_start_timestamp_seconds", time.time())
    try:
        server, thread = start_http_server(port, registry=series.registry)
    except (OSError, OverflowError) as error:
        log.warning(f"--metrics-port {port}: cannot listen: {error}; the run continues without")
        yield
        return
    log.info(f"metrics at port {server.server_port}", extra={"fields": {"metrics_port": server.server_port}})
    _series = series
    console.listeners.append(_Stages(series))
    try:
        yield
    finally:
        _series = None
        console.listeners.pop()
        server.shutdown()
        server.server_close()
        thread.join()


class _Stages:
    """Reports the progress of the stages of the run."""

    def __init__(self, series: Series) -> None:
        self.series = series
        self.done: dict[str, float] = {}

    def begun(self, stage: str, total: float) -> None:
        self.done[stage] = 0.0
        self.series.add("epilstm_progress_work_total", 0, stage=stage)
        self.series.set("epilstm_progress_ratio", 0, stage=stage)

    def advanced(self, stage: str, amount: float, total: float) -> None:
        self.done[stage] += amount
        self.series.add("epilstm_progress_work_total", amount, stage=stage)
        self.series.set("epilstm_progress_ratio", min(1.0, self.done[stage] / total), stage=stage)
