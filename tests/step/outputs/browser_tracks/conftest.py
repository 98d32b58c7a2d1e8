"""Fixtures of the tests in this folder."""

from support.tracks.fixtures import small  # noqa: F401
