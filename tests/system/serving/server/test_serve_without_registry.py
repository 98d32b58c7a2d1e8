"""A server whose registry is not there."""

from __future__ import annotations

import asyncio

import pytest

from epilstm.errors import RegistryError
from epilstm.serving.server.registry import RegistrySource


def source(folder, **more) -> RegistrySource:
    return RegistrySource("nowhere", "champion", folder / "encoder", 0, **more)


def test_a_registry_that_is_not_there_is_reported_unless_an_encoder_is(tmp_path, encoder_folder):
    with pytest.raises(RegistryError, match="--registry: nowhere: no repository there"):
        asyncio.run(source(tmp_path).fetch_first())
    (tmp_path / "encoder").symlink_to(encoder_folder)
    asyncio.run(source(tmp_path).fetch_first())
