"""Fixtures of the tests in this folder."""

from support.evaluate.fixtures import tiny  # noqa: F401
