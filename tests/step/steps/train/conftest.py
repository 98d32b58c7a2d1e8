"""Fixtures of the tests in this folder."""

from support.train.fixtures import matrix  # noqa: F401
