"""Fixtures of the tests in this folder."""

from support.report.fixtures import finished_run, own_run  # noqa: F401
