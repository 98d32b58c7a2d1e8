"""Fixtures of the tests in this folder."""

from support.pipelines.fixtures import _compiled, epilstm_pipeline, kfp_server, other_package, package  # noqa: F401
