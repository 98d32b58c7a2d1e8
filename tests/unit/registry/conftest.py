"""Fixtures of the tests in this folder."""

from support.registry.fixtures import identity  # noqa: F401
