from __future__ import annotations

import pytest

from support.segment.planted_states import PlantedStates, make
from support.tracks.small_epigenome import SmallEpigenome
from support.tracks.small_epigenome import make as make_small


@pytest.fixture(scope="session")
def planted(tmp_path_factory) -> PlantedStates:
    return make(tmp_path_factory.mktemp("planted-states"))


@pytest.fixture(scope="session")
def small(tmp_path_factory) -> SmallEpigenome:
    """Other bins than the planted ones."""
    return make_small(tmp_path_factory.mktemp("small-epigenome"))
