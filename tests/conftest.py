"""Fixtures shared by all tests."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from support.file_order import lane_of, longest_first, quick_lanes_first
from support.paths import SHARED_DATA

# How fast examples are made depends on what else the machine does; no test is about it.
settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-machine")

pytest_plugins = ["support.engine", "support.monitoring_stack"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """How long a unit test may take."""
    parser.addoption(
        "--unit-seconds",
        type=float,
        help="fail a unit test that takes more CPU time, fixtures not counted (make check)",
    )


def pytest_configure() -> None:
    """Let Ctrl-C reach programs under test, which a shell's background jobs ignore, and let threads wait asleep."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Threads of torch wait asleep: several processes of tests share the cores. Read when torch is first imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark each test with its lane, which is its folder, and sort the lanes.

    In one process the quick lanes come first. Several processes (``pytest -n 2 --dist loadfile``) take the long files
    first, so that the many short ones keep all of them busy to the end.
    """
    order = longest_first if hasattr(config, "workerinput") else quick_lanes_first
    for item in items:
        item.add_marker(lane_of(item.path))
    items.sort(key=lambda item: order(item.path))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a unit test that takes more CPU time than ``--unit-seconds``."""
    started = time.process_time()
    result = yield
    spent, limit = time.process_time() - started, item.config.getoption("--unit-seconds")
    if limit is not None and spent > limit and item.get_closest_marker("unit") is not None:
        pytest.fail(f"took {spent:.1f} s of CPU time, a unit test at most {limit:g} s: make it a step test")
    return result


@pytest.fixture
def warnings_logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Messages that the package logs as warnings or errors while the test runs."""
    from epilstm.console import log

    found: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    handler = Handler(logging.WARNING)
    monkeypatch.setattr(log, "disabled", False)
    log.addHandler(handler)
    yield found
    log.removeHandler(handler)


@pytest.fixture(scope="session")
def pilot() -> Path:
    """Folder of the real Roadmap tracks over the ENCODE pilot regions."""
    folder = SHARED_DATA / "roadmap-pilot"
    if not folder.is_dir():
        pytest.skip("the Roadmap pilot data (../shared/data/roadmap-pilot) is not on this machine")
    return folder


@pytest.fixture(scope="session")
def published_model() -> Path:
    """Folder of the weights published with Epi-LSTM."""
    folder = SHARED_DATA / "published-model"
    if not folder.is_dir():
        pytest.skip("the published weights (../shared/data/published-model) are not on this machine")
    return folder


@pytest.fixture(scope="session")
def roadmap_catalog() -> Path:
    """The catalogue of Roadmap tracks as it was handed over."""
    path = SHARED_DATA / "roadmap-catalog.csv"
    if not path.is_file():
        pytest.skip("the Roadmap catalogue (../shared/data/roadmap-catalog.csv) is not on this machine")
    return path
