"""Fixtures of the tests in this folder."""

from support.task.fixtures import simulated, volume  # noqa: F401
