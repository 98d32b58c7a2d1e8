"""The server takes its encoder from the registry, and changes it when the champion changes."""

from __future__ import annotations

import sys

import pytest

from epilstm.errors import DataError, ParamsError
from epilstm.registry.rollout import Rollout, Served
from epilstm.serving.server.registry import RegistrySource, require_registry


def served(version: str) -> Served:
    return Served(version=version, revision="0" * 40, encoder_fingerprint="0" * 64)


def source(folder, **more) -> RegistrySource:
    return RegistrySource("nowhere", "champion", folder / "encoder", 0, **more)


def test_a_roll_out_file_says_which_version(tmp_path):
    file = tmp_path / "rollout.json"
    content = Rollout(artifact="encoder", stable=served("v1.0.0"), canary=served("v1.1.0"), canary_percent=10)
    file.write_text(content.model_dump_json())
    assert source(tmp_path).wanted() == "champion"
    assert source(tmp_path, rollout=file).wanted() == "v1.0.0"
    assert source(tmp_path, rollout=file, canary=True).wanted() == "v1.1.0"
    file.write_text(content.model_copy(update={"canary": None}).model_dump_json())
    assert source(tmp_path, rollout=file, canary=True).wanted() == "v1.0.0"
    file.write_text("{}")
    with pytest.raises(DataError, match="not a Rollout"):
        source(tmp_path, rollout=file).wanted()


def test_what_the_registry_needs_is_named(monkeypatch):
    monkeypatch.setattr(
        "epilstm.serving.server.registry.find_spec", lambda name: None if name in ("dvc", "gto") else sys
    )
    message = r"--registry needs dvc and gto; install epilstm's extras \[serve,cpu,pipeline\]"
    with pytest.raises(ParamsError, match=message):
        require_registry()
