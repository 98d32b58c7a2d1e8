"""Fixtures of the tests in this folder."""

from support.task.fixtures import bucket, by_hand, in_bucket, s3_server, simulated, volume  # noqa: F401
