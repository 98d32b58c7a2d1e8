"""Fixtures of the tests in this folder."""

from support.project.fixtures import epigenome  # noqa: F401
