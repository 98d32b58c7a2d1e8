"""Fixtures of the tests in this folder."""

from support.task.fixtures import metrics  # noqa: F401
