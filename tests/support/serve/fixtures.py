"""An encoder, and one server for all tests that only ask it things."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from support.export.small_model import TRACKS
from support.serve.server_process import ServerProcess, export_encoder


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory) -> Path:
    return export_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="session")
def server(tmp_path_factory, encoder_folder):
    process = ServerProcess(tmp_path_factory.mktemp("server"), encoder_folder)
    yield process
    assert process.stop() == 0


@pytest.fixture
def start(tmp_path, encoder_folder):
    """Starts servers, and ends those that a test left running."""
    processes = []

    def started(*options: str, model=encoder_folder) -> ServerProcess:
        processes.append(ServerProcess(tmp_path, model, *options))
        return processes[-1]

    yield started
    for process in processes:
        process.process.kill()
        process.process.wait(60)


@pytest.fixture
def signal() -> np.ndarray:
    """Signal of 3 sequences of 40 bins, some of it missing."""
    rng = np.random.default_rng(5)
    values = rng.exponential(2, (3, 40, TRACKS)).astype(np.float32)
    values[rng.random(values.shape) < 0.1] = np.nan
    values[1, 7] = np.nan
    return values
