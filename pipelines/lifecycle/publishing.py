"""Publish what a run made: register it in a fresh clone, and make it champion if the gate decided so."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from epilstm.console import log
from epilstm.errors import PipelineError
from epilstm.files.outputs import MANIFEST, write_json
from epilstm.params import read_yaml
from epilstm.pipelines.lifecycle.clone import fresh_clone, in_new_clones
from epilstm.pipelines.lifecycle.provenance import RunInputs, kept_metrics
from epilstm.pipelines.task.line import with_integers
from epilstm.registry import publication
from epilstm.registry.adoption import adopt
from epilstm.registry.provenance import MAKERS
from epilstm.registry.repository import Repository
from epilstm.steps.promote.decision import read_decision


@dataclass(frozen=True)
class Made:
    """What a run made, and from what.

    Parameters
    ----------
    folders : dict of str to Path
        ``model``, ``encoder`` and ``evaluation``.
    manifests : dict of str to Path
        Manifest file of ``signal``, ``matrix`` and ``embeddings``.
    metrics : dict of str to Path
        Metrics file of each step.
    samplesheet, decision, reasons : Path
        Files; the last two are the gate's.
    image : str
        Image that ran the steps.
    ir_sha256 : str or None
        Of the compiled pipeline; None if it is not known.
    records : mapping of str to JSON
        Record of each folder and of each manifest's dataset, as their artifacts carry it.
    """

    folders: Mapping[str, Path]
    manifests: Mapping[str, Path]
    metrics: Mapping[str, Path]
    samplesheet: Path
    decision: Path
    reasons: Path
    run: RunInputs
    image: str
    ir_sha256: str | None = None
    records: Mapping[str, Any] = field(default_factory=dict)


def records_of(artifacts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Records that artifacts carry, by port.

    Parameters
    ----------
    artifacts : mapping of str to mapping
        Metadata of each input artifact.

    Raises
    ------
    PipelineError
        One carries none.
    """
    found = {}
    for port in MAKERS:
        name = port if port in artifacts else f"{port}_manifest"
        record = with_integers(artifacts.get(name, {}).get("record"))
        if not record:
            raise PipelineError(
                f"artifact {name}: its metadata hold no record, so its origin is unknown; run the pipeline "
                "again without the cache"
            )
        found[port] = record
    return found


def known_sha256(text: str) -> str | None:
    """A SHA-256 as a run's parameter; None where it is empty.

    Raises
    ------
    PipelineError
        It is something else.
    """
    if text and not re.fullmatch(r"[0-9a-f]{64}", text):
        raise PipelineError(
            f"ir_sha256 {text!r}: not a SHA-256, 64 hexadecimal digits; leave it empty, or start the run with "
            "'epilstm pipeline submit', which fills it in"
        )
    return text or None


def publish(url: str, branch: str, made: Made) -> str:
    """Register a run's encoder and, if the gate decided so, make it champion. Doing it again changes nothing.

    Parameters
    ----------
    url : str
        Git repository of the registry.
    branch : str
        Branch to commit to; created if it does not exist.

    Returns
    -------
    str
        Its version.

    Raises
    ------
    RefsTaken
        Other publishers were faster at each attempt; nothing was published.
    RegistryError, DataError
        The registry, or what the run made, is not valid.
    """

    def attempt() -> str:
        with fresh_clone(url, branch) as repository, tempfile.TemporaryDirectory() as work:
            return _publish_into(repository, branch, made, Path(work))

    return in_new_clones(f"publishing to {url}", attempt)


def _publish_into(repository: Repository, branch: str, made: Made, work: Path) -> str:
    decision = work / "decision.json"
    shutil.copyfile(made.decision, decision)
    shutil.copyfile(made.reasons, decision.with_suffix(".md"))
    request = publication.Request(
        branch=branch,
        decision=decision,
        origin=publication.Origin(made.image, made.ir_sha256),
        elsewhere=adopt(repository.root, _adopted(repository, made, work), made.records),
    )
    done = publication.register(repository, request)
    log.info(f"{done.version.tag}: {'registered' if done.created else 'registered already'}")
    if read_decision(decision).decision == "promote":
        _, changed = publication.promote(repository, done.version.name, decision=decision)
        log.info(f"{done.version.tag}: {'champion' if changed else 'champion already'}")
    return done.version.name


def _adopted(repository: Repository, made: Made, work: Path) -> dict[str, Path]:
    """Paths by port, as `epilstm.registry.adoption.adopt` takes them."""
    params = work / "params.yaml"
    # Sections that a run has none of, such as that of simulate, stay as the repository has them.
    sections = {**(read_yaml(repository.root / "params.yaml") or {}), **made.run.sections}
    params.write_text(yaml.safe_dump(sections, sort_keys=False), encoding="utf-8")
    given = {**made.folders, "params": params, "samplesheet": made.samplesheet}
    for name, manifest in made.manifests.items():
        given[name] = work / name
        given[name].mkdir()
        shutil.copyfile(manifest, given[name] / MANIFEST)
    for name, content in kept_metrics(made.metrics, made.run).items():
        given[name] = work / name
        given[name].parent.mkdir(exist_ok=True)
        write_json(given[name], content)
    return given
