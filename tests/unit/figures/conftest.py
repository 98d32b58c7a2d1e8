"""Fixtures of the tests in this folder."""

from support.plot.fixtures import finished  # noqa: F401
from support.report.fixtures import finished_run  # noqa: F401
