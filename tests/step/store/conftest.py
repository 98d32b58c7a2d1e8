"""Fixtures of the tests in this folder."""

from support.api.fixtures import model, project  # noqa: F401
