"""What the signals of requests look like, from a sample of them: to detect drift from the training data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from threading import Lock
from typing import Any

import numpy as np
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from epilstm.serving.server.tensors import Tensor

#: Seconds between samples, and bins of a sample at most, spread over the request.
SAMPLE_SECONDS, SAMPLE_BINS = 0.05, 8


class InputStatistics(Collector):
    """Per track: values seen, how many are missing (NaN), and the sum and sum of squares of arcsinh of the others.

    Counters, so that any window of time can be looked at: the mean over an hour is ``increase(sum) / increase(values -
    missing)``. The training data's mean and standard deviation are the scaler's.

    Parameters
    ----------
    tracks : sequence of str
        Names in input order.
    """

    def __init__(self, tracks: Sequence[str]) -> None:
        self.tracks = list(tracks)
        self._lock = Lock()
        self._due = -math.inf
        self._sums = np.zeros((4, len(self.tracks)))

    def observe(self, signal: Tensor, now: float) -> None:
        """Take a sample of a signal (batch, time, track), if one is due."""
        if now < self._due or signal.shape[-1] != len(self.tracks):
            return
        self._due = now + SAMPLE_SECONDS
        bins = signal.reshape(-1, signal.shape[-1])
        sample = bins[:: max(1, len(bins) // SAMPLE_BINS)][:SAMPLE_BINS]
        missing = np.isnan(sample)
        with np.errstate(over="ignore"):
            transformed = np.arcsinh(np.where(missing, 0.0, sample), dtype=np.float64)
        if not np.isfinite(transformed).all():
            return
        sums = np.stack([
            np.full(len(self.tracks), len(sample)),
            missing.sum(axis=0),
            transformed.sum(axis=0),
            np.square(transformed).sum(axis=0),
        ])  # fmt: skip
        with self._lock:
            self._sums += sums

    def collect(self) -> Iterator[Any]:
        """The counters, for Prometheus."""
        with self._lock:
            sums = self._sums.copy()
        for name, text, values in zip(
            ("values", "missing_values", "arcsinh_sum", "arcsinh_squares"),
            (
                "Signal values looked at in a sample of the requests",
                "Of those, values without data (NaN)",
                "Sum of arcsinh(signal) over the others",
                "Sum of squares of arcsinh(signal) over the others",
            ),
            sums,
            strict=True,
        ):
            family = CounterMetricFamily(f"epilstm_serve_input_{name}", text, labels=["track"])
            for track, value in zip(self.tracks, values, strict=True):
                family.add_metric([track], float(value))
            yield family
