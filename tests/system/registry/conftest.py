"""Fixtures of the tests in this folder."""

from support.registry.fixtures import identity, place, repository, template  # noqa: F401
