"""Fixtures of the tests in this folder."""

from support.monitor.fixtures import monitor, small, with_context  # noqa: F401
