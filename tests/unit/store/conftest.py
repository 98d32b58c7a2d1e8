"""Fixtures of the tests in this folder."""

from support.store.fixtures import files  # noqa: F401
