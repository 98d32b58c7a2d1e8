"""What a server exposes of its inputs, as Prometheus reads it."""

from __future__ import annotations

import numpy as np
from prometheus_client import CollectorRegistry, generate_latest

from epilstm.serving.server.input_statistics import SAMPLE_SECONDS, InputStatistics


def scrape(signal, path):
    """What /metrics says after requests with a signal (track by name, all bins), 100 bins each."""
    statistics = InputStatistics(list(signal))
    rows = np.stack(list(signal.values()), axis=1)
    for number, first in enumerate(range(0, len(rows) - 100, 100)):
        statistics.observe(rows[None, first : first + 100], now=number * 2 * SAMPLE_SECONDS)
    registry = CollectorRegistry()
    registry.register(statistics)
    path.write_bytes(generate_latest(registry))
    return path
