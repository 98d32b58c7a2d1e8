"""Fixtures of the evaluate step's tests."""

from __future__ import annotations

import pytest

from support.evaluate import tiny_evaluation


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tiny_evaluation.TinyEvaluation:
    """Inputs of an evaluation; read only."""
    return tiny_evaluation.make(tmp_path_factory.mktemp("evaluation"))
