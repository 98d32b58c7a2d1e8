"""Fixtures shared by all tests."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How fast examples are made depends on what else the machine does; no test is about it.
settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-machine")

pytest_plugins = ["engine", "monitoring_stack"]

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_configure() -> None:
    """Let Ctrl-C be sent to programs under test: a shell's background jobs ignore it, and so would their children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the unit tests, and run what needs processes, servers or containers last."""
    for item in items:
        if item.get_closest_marker("integration") is None and not _shared_fixtures(item):
            item.add_marker("unit")
    items.sort(key=lambda item: item.get_closest_marker("integration") is not None)


def _shared_fixtures(item: pytest.Item) -> set[str]:
    """Fixtures of this project that several tests share, such as the outputs of steps that were run once."""
    known = item._fixtureinfo.name2fixturedefs if hasattr(item, "_fixtureinfo") else {}
    return {
        name
        for name, found in known.items()
        if found and found[-1].scope != "function" and found[-1].func.__module__.partition(".")[0] != "_pytest"
    }


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
