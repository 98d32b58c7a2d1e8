"""One round of retraining: refresh -> dvc repro -> gate -> register -> promote or hold -> roll-out file.

Each part is idempotent, so a round that was killed is finished by the next.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from epilstm.console import log
from epilstm.errors import PipelineError, RegistryError
from epilstm.params import PromoteParams, load_section
from epilstm.registry import fetching, publication
from epilstm.registry.repository import Repository
from epilstm.registry.rollout import read_rollout, rollout, write_rollout
from epilstm.registry.storage import Storage
from epilstm.registry.versions import Registered, Version
from epilstm.runtime.runner import run_step
from epilstm.runtime.step_table import STEPS
from epilstm.steps.promote.decision import Decision, read_decision
from epilstm.store import track_import

#: Where the gate's decision and the champion lie until the version is registered; ignored by git.
WORK = Path("cache/promote")
#: Further attempts at a remote read of a source.
RETRIES = 4


@dataclass(frozen=True)
class Round:
    """What a round came to.

    Parameters
    ----------
    version : Version
        The encoder that there is now.
    decision : Decision or None
        The gate's; None where it was not asked.
    """

    outcome: Literal["nothing new", "promoted", "held"]
    version: Version
    decision: Decision | None


@dataclass(frozen=True)
class Settings:
    """How a round is run.

    Parameters
    ----------
    branch : str or None
        Branch to commit to; the one that is checked out if None.
    dvc_remote : str or None
        The default one if None.
    rollout : Path or None
        Roll-out file.
    canary_percent : int
        Share of the traffic for a new champion.
    force : str
        Reason to promote whatever the gate finds; empty for none.
    """

    branch: str | None = None
    dvc_remote: str | None = None
    rollout: Path | None = None
    canary_percent: int = 100
    force: str = ""
    artifact: str = publication.ARTIFACT


def retrain(repository: Repository, settings: Settings) -> Round:
    """Run one round.

    Raises
    ------
    EpilstmError
        An error that the user can fix; run it again then, it resumes where it stopped.
    """
    publication.require_publishable(repository, settings.branch, settings.artifact, settings.dvc_remote)
    _refresh(repository)
    registered = publication.current(repository, settings.artifact)
    storage = Storage(repository.root, settings.dvc_remote)
    known = _registered_as(repository, registered, storage) if _up_to_date(storage) else None
    if known is not None and not _unfinished(repository, registered, known, settings):
        _roll_out(repository, registered, settings, only_if_unknown=True)
        return Round("nothing new", known, None)
    if known is None:
        _reproduce(repository)
    decision = _decide(repository, settings, Storage(repository.root, settings.dvc_remote).places())
    path = repository.root / WORK / "decision.json"
    request = publication.Request(
        artifact=settings.artifact, branch=settings.branch, decision=path, dvc_remote=settings.dvc_remote
    )
    done = publication.register(repository, request)
    if decision.decision == "hold":
        return Round("held", done.version, decision)
    registered, _ = publication.promote(repository, done.version.name, artifact=settings.artifact, decision=path)
    _roll_out(repository, registered, settings, only_if_unknown=False)
    return Round("promoted", registered.version(done.version.name), decision)


def _refresh(repository: Repository) -> None:
    """Bring in what has changed at its source, where the data set was imported."""
    storage = Storage(repository.root)
    folder = (repository.root / storage.places()["samplesheet"]).parent
    if not (folder / track_import.SOURCES_FILE).is_file():
        return
    done = track_import.refresh(folder, RETRIES)
    if done.anything:
        log.info(f"{folder.name}: {len(done.changed)} tracks changed at their source, {len(done.removed)} are gone")
    else:
        log.info(f"{folder.name}: no source has changed")
    # Also where a source was only touched, or an earlier round was killed before this: DVC is behind then.
    if done.anything or folder.with_name(f"{folder.name}.dvc").is_file():
        track_import.put_under_dvc(folder)


def _up_to_date(storage: Storage) -> bool:
    """Whether ``dvc repro`` would make nothing anew."""
    return not storage.status()


def _registered_as(repository: Repository, registered: Registered, storage: Storage) -> Version | None:
    identity = publication.read_fingerprint(repository.root / storage.artifact_path(registered.artifact))
    return publication.find_by_fingerprint(repository, registered, identity)


def _unfinished(repository: Repository, registered: Registered, version: Version, settings: Settings) -> bool:
    """Whether a version is registered but what follows from it was not done: a killed round, or one to be forced."""
    if registered.champion is not None and registered.champion.name == version.name:
        return False
    if settings.force:
        return True
    decision = publication.decision_at(repository, version, settings.artifact)
    never_champion = all(each.version != version.name or each.stage == "challenger" for each in registered.assignments)
    return never_champion and (decision is None or decision.decision == "promote")


def _reproduce(repository: Repository) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    # A process of its own: its stages are processes too, and Ctrl-C is to reach them all.
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "repro"], cwd=repository.root, env=environment, stdout=sys.stderr
    )
    if done.returncode:
        raise PipelineError("dvc repro: a stage failed, as it says above; fix that and run retrain again, it resumes")


def _decide(repository: Repository, settings: Settings, places: dict[str, str]) -> Decision:
    root = repository.root
    work = root / WORK
    work.mkdir(parents=True, exist_ok=True)
    champion = work / "champion"
    if publication.current(repository, settings.artifact).champion is None:
        fetching.write_none(champion)
    else:
        fetching.fetch(
            str(root),
            "champion",
            champion,
            artifact=settings.artifact,
            git_remote=repository.remote,
            dvc_remote=settings.dvc_remote,
        )
    paths = {name: root / places[name] for name in ("matrix", "model", "encoder", "evaluation")}
    paths |= {name: root / places[name] for name in ("tasks", "labels") if name in places}
    outputs = {"decision": work / "decision.json", "reasons": work / "decision.md"}
    section = load_section(root / places["params"], "promote", PromoteParams).model_dump(mode="json")
    if settings.force:
        section["force"] = settings.force
    with tempfile.TemporaryDirectory() as folder:
        params = Path(folder) / "params.yaml"
        params.write_text(yaml.safe_dump({"promote": section}), encoding="utf-8")
        result = run_step(STEPS["promote"], params, {**paths, "champion": champion, **outputs}, frozenset())
    log.info(result.summary)
    return read_decision(outputs["decision"])


def _roll_out(repository: Repository, registered: Registered, settings: Settings, only_if_unknown: bool) -> None:
    file = settings.rollout
    if file is None or registered.champion is None:
        return
    if only_if_unknown and file.is_file():
        served = read_rollout(file)
        if registered.champion.name in {served.stable.version, served.canary.version if served.canary else None}:
            return
    write_rollout(file, rollout(repository, registered, settings.canary_percent))


def require_force_reason(force: str | None) -> str:
    """The reason given with ``--force``; empty where it was not given.

    Raises
    ------
    RegistryError
        It was given without one.
    """
    if force is not None and not force.strip():
        raise RegistryError("--force needs a reason; it is kept in the registry")
    return (force or "").strip()
