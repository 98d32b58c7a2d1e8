"""Fixtures of the tests in this folder."""

from support.segment.fixtures import planted, small  # noqa: F401
