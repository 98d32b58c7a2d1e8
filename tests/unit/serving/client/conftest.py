"""Fixtures of the tests in this folder."""

from support.client.fixtures import ingested, place  # noqa: F401
