"""The roll-out file: which version serving is to run, and how much of the traffic a new one gets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from epilstm.files.outputs import read_json, write_json
from epilstm.registry.publication import provenance_at
from epilstm.registry.repository import Repository
from epilstm.registry.versions import Registered, Version
from epilstm.store.manifests import parse_manifest


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Served(_Model):
    """A version to serve; `revision` is the commit that ``dvc get`` takes."""

    version: str
    revision: str
    encoder_fingerprint: str


class Rollout(_Model):
    """What serving is to run: `stable`, and beside it `canary` with that share of the traffic."""

    format: Literal["epilstm.rollout/1"] = "epilstm.rollout/1"
    artifact: str
    stable: Served
    canary: Served | None = None
    canary_percent: Annotated[int, Field(ge=0, le=100)] = 0


def rollout(repository: Repository, registered: Registered, canary_percent: int = 100) -> Rollout:
    """What serving is to run, by who is champion.

    Parameters
    ----------
    canary_percent : int
        Share of the traffic for the champion, the one before it serving the rest; 100, or no champion before, is all.

    Raises
    ------
    RegistryError
        There is no champion.
    """
    champion = registered.version("champion")
    before = registered.champions()[-2:-1]
    if canary_percent >= 100 or not before:
        return Rollout(artifact=registered.artifact, stable=_served(repository, champion, registered.artifact))
    return Rollout(
        artifact=registered.artifact,
        stable=_served(repository, before[0], registered.artifact),
        canary=_served(repository, champion, registered.artifact),
        canary_percent=canary_percent,
    )


def _served(repository: Repository, version: Version, artifact: str) -> Served:
    identity = provenance_at(repository, version, artifact).encoder_fingerprint
    return Served(version=version.name, revision=version.commit, encoder_fingerprint=identity)


def write_rollout(path: Path, content: Rollout) -> bool:
    """Write the file, if it is to be another one than it is; whether it was.

    Raises
    ------
    DataError
        Something else stands there.
    """
    if path.is_file() and read_rollout(path) == content:
        return False
    write_json(path, content.model_dump(mode="json"))
    return True


def read_rollout(path: Path) -> Rollout:
    """The roll-out file.

    Raises
    ------
    DataError
        Missing, or not one.
    """
    return parse_manifest(read_json(path), Rollout, path)
