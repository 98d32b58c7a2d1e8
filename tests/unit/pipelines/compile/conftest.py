"""Fixtures of the tests in this folder."""

from support.pipelines.fixtures import epilstm_pipeline, kfp_server  # noqa: F401
