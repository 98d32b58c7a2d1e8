"""Fixtures of the tests in this folder."""

from support.client.fixtures import any_encoder, certificate, encoder, ingested, place, server  # noqa: F401
