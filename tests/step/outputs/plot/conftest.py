"""Fixtures of the tests in this folder."""

from support.plot.fixtures import draw, finished  # noqa: F401
