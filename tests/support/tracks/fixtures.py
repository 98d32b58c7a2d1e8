from __future__ import annotations

import pytest

from support.tracks.small_epigenome import SmallEpigenome, make


@pytest.fixture(scope="session")
def small(tmp_path_factory) -> SmallEpigenome:
    return make(tmp_path_factory.mktemp("small-epigenome"))
