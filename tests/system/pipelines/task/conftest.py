"""Fixtures of the tests in this folder."""

from support.task.fixtures import (  # noqa: F401
    bucket,
    by_hand,
    in_bucket,
    ingested,
    kept,
    matrix,
    metrics,
    s3_server,
    simulated,
    volume,
)
