"""A tiny matrix to train on."""

import pytest

from support.train.toy_matrix import write_matrix


@pytest.fixture(scope="session")
def matrix(tmp_path_factory):
    """A matrix dataset of 6 tracks."""
    return write_matrix(tmp_path_factory.mktemp("train") / "matrix")
