"""An encoder by its version or stage, from a repository anywhere, whole and checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from epilstm.errors import DataError, ModelError, RegistryError
from epilstm.files.outputs import (
    check_replaceable,
    exclusive,
    fingerprint,
    remove,
    replacing,
    write_json,
)
from epilstm.model.encoder_folder import checked_file, read_encoder_manifest
from epilstm.params import parse_yaml
from epilstm.registry.publication import ARTIFACT, provenance_at
from epilstm.registry.repository import Repository, opened
from epilstm.registry.storage import download
from epilstm.registry.versions import Version, read_registered
from epilstm.runtime.runner import record_path


@dataclass(frozen=True)
class Fetched:
    """A version that was fetched, and whether it had to be."""

    version: Version
    downloaded: bool


def fetch(
    place: str,
    wanted: str,
    target: Path,
    *,
    artifact: str = ARTIFACT,
    git_remote: str = "origin",
    dvc_remote: str | None = None,
) -> Fetched:
    """Bring a registered encoder to a folder; what is there already is left alone.

    Parameters
    ----------
    place : str
        Repository: a folder or a URL.
    wanted : str
        Version, stage or ``latest``.
    target : Path
        Encoder folder to write; its record says which version it is.
    artifact, git_remote : str
        The latter names the shared repository of a local one.
    dvc_remote : str, optional
        Name of the DVC remote; the repository's default one if not given.

    Raises
    ------
    RegistryError
        There is no such version, it is unavailable, or what the remote gives is not what was registered.
    """
    with opened(place, git_remote) as repository:
        repository.refresh()
        version = read_registered(repository, artifact).version(wanted)
        provenance = provenance_at(repository, version, artifact)
        path = _path_of(repository, version, artifact)
        record = {
            "artifact": artifact,
            "version": version.name,
            "tag": version.tag,
            "revision": version.commit,
            "fingerprint": provenance.encoder_fingerprint,
            "provenance": provenance.model_dump(mode="json"),
        }
        with exclusive(target):
            check_replaceable(target, folder=True, kind="encoder")
            if target.is_dir() and any(target.iterdir()) and fingerprint(target) == provenance.encoder_fingerprint:
                _require_whole(target, version, provenance.encoder_fingerprint)
                write_json(record_path(target), record)
                return Fetched(version, downloaded=False)
            origin = str(repository.root) if repository.url else place
            with replacing(target) as successor:
                download(origin, version.commit, path, successor, dvc_remote)
                _require_whole(successor, version, provenance.encoder_fingerprint)
                write_json(record_path(target), record)
    return Fetched(version, downloaded=True)


def write_none(target: Path) -> None:
    """Write an empty folder: there is no encoder to fetch.

    Raises
    ------
    DataError
        Something else than an encoder stands there.
    """
    check_replaceable(target, folder=True, kind="encoder")
    remove(target)
    remove(record_path(target))
    target.mkdir(parents=True)


def _path_of(repository: Repository, version: Version, artifact: str) -> str:
    text = (repository.read(version.commit, "dvc.yaml") or b"").decode("utf-8-sig", "replace")
    content = parse_yaml(text, f"{version.tag}: dvc.yaml") or {}
    entry = (content.get("artifacts") or {}).get(artifact)
    if not entry:
        raise RegistryError(f"{version.tag}: dvc.yaml has no artifact {artifact!r} there")
    return str(entry["path"])


def _require_whole(folder: Path, version: Version, expected: str) -> None:
    advice = "the DVC remote's copy is corrupted; register it again from a work tree that has it whole"
    try:
        manifest = read_encoder_manifest(folder)
        for name in manifest.files:
            checked_file(folder, manifest, name)
    except (DataError, ModelError) as error:
        what = str(error).replace(str(folder), "").lstrip("/: ")
        raise RegistryError(f"{version.tag}: {what.partition(';')[0]}; {advice}") from error
    if fingerprint(folder) != expected:
        raise RegistryError(f"{version.tag}: its manifest.json is not the one that was registered; {advice}")
