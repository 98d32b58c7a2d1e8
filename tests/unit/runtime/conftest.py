"""Fixtures of the tests in this folder."""

from support.runtime.fixtures import toy  # noqa: F401
