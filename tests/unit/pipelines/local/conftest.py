"""Fixtures of the tests in this folder."""

from support.pipelines.fixtures import _clean_environment, _short_stacks, epilstm_pipeline  # noqa: F401
