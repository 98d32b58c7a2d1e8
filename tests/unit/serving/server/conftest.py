"""Fixtures of the tests in this folder."""

from support.serve.fixtures import encoder_folder  # noqa: F401
