"""What a run was made from, as the registry keeps it, and whether that differs from the champion's.

Beside the params, which are in the provenance, the registry keeps the versions of data and labels that `epilstm task
plan` reported: in the metrics of the steps that read them, which are committed with the version.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from epilstm.console import log
from epilstm.errors import PipelineError
from epilstm.files.outputs import read_json
from epilstm.genome.assembly import BUILT_IN_ASSEMBLIES
from epilstm.params import SECTIONS
from epilstm.pipelines.graphs.defaults import PATH_KEYS, STAND_INS
from epilstm.pipelines.lifecycle.clone import require_plain
from epilstm.pipelines.task import storage
from epilstm.pipelines.task.line import parse_section
from epilstm.registry.publication import ARTIFACT, provenance_at
from epilstm.registry.repository import Repository, opened
from epilstm.registry.versions import Version, read_registered

#: Steps whose params make another model, or change its scores.
DECISIVE = ("ingest", "preprocess", "train", "export", "embed", "evaluate")

#: Where the registry keeps a version of what a step read: metrics file, key.
KEPT = {"data_version": "metrics/ingest.json", "labels_version": "metrics/evaluate.json"}

DAY = 86400


@dataclass(frozen=True)
class RunInputs:
    """What a run is made from.

    Parameters
    ----------
    data_version, labels_version : str
        As the plan reported them.
    sections : dict of str to dict
        Params of the run, with paths that hold outside of the data root too.
    code : dict of str to str
        Fingerprint of the code of each step, as the plan reported them.
    """

    data_version: str
    labels_version: str
    sections: dict[str, dict[str, Any]]
    code: dict[str, str]


def code_of_steps(text: str) -> dict[str, str]:
    """Fingerprint of the code of each step, from the plan's JSON.

    Raises
    ------
    PipelineError
        It is something else.
    """
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    if not isinstance(content, dict) or not all(isinstance(each, str) for each in content.values()):
        raise PipelineError(f"--code {text[:60]!r}: not what the plan reports, a JSON object of fingerprints by step")
    return content


def run_sections(data_root: str, sections: Mapping[str, str], paths: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Params of a run as a params file has them.

    Parameters
    ----------
    data_root : str
        Relative paths are under it; they come out absolute, so that a clone does not look for them in itself.
    sections : mapping of str to str
        Each as JSON.
    paths : mapping of str to str
        The pipeline's parameters that name files (``samplesheet``, ...); empty for none.

    Raises
    ------
    ParamsError
        A section is unusable.
    PipelineError
        It is not JSON.
    """
    found = {name: parse_section(name, text).model_dump(mode="json") for name, text in sections.items()}
    for name, keys in PATH_KEYS.items():
        for key in keys:
            if name in found and paths.get(key):
                found[name][key] = _under(data_root, paths[key])
            elif name in found and key in paths:
                found[name][key] = STAND_INS.get(key, "")
    assembly = found.get("ingest", {}).get("assembly")
    if assembly and assembly not in BUILT_IN_ASSEMBLIES:
        found["ingest"]["assembly"] = _under(data_root, assembly)
    return found


def _under(data_root: str, path: str) -> str:
    return path if path.startswith("/") or storage.is_remote(path) else storage.join(data_root, path)


def changes(url: str, run: RunInputs, max_age_days: int) -> list[str]:
    """Why a run would make something else than the champion, or one that was rolled back; empty if it would not.

    Parameters
    ----------
    url : str
        Git repository of the registry.
    max_age_days : int
        Age at which a champion is retrained though nothing is new; 0 for never.

    Raises
    ------
    RegistryError
        The registry cannot be reached.
    """
    require_plain(url)
    with opened(url) as repository:
        registered = read_registered(repository, ARTIFACT)
        if registered.champion is None:
            return ["there is no champion yet"]
        found = _differences(repository, registered.champion, run, max_age_days)
        for version in registered.versions if found else ():
            # Or the next scheduled run would undo what someone decided against the gate.
            if registered.was_rolled_back(version) and not _differences(repository, version, run, 0):
                log.info(f"{version.tag} was made from the same, and was rolled back")
                return []
        return found


def _differences(repository: Repository, champion: Version, run: RunInputs, max_age_days: int) -> list[str]:
    provenance = provenance_at(repository, champion, ARTIFACT)
    found = []
    for key, now in (("data_version", run.data_version), ("labels_version", run.labels_version)):
        before = _kept(repository, champion, key)
        what = key.removesuffix("_version")
        if before is None:
            found.append(f"{champion.tag} does not say which {what} it was made from")
        elif before != now:
            found.append(f"{what}: {now[:12]}, {champion.tag} was made from {before[:12]}")
    for name in DECISIVE:
        if name in run.sections:
            # Whether the content of files differs, the plan's versions show.
            keys = _differing(run.sections[name], provenance.params.get(name) or {}) - _paths_of(name)
            if keys:
                found.append(f"params of {name}: {', '.join(sorted(keys))}")
    for name in DECISIVE:
        before = provenance.made[name].code if name in provenance.made else None
        if name in run.code and run.code[name] != before:
            by = before[:12] if before else f"epilstm {provenance.package_version}, code not recorded"
            found.append(f"code of {name}: {run.code[name][:12]}, {champion.tag} was made by {by}")
    age = (time.time() - champion.time) / DAY
    if max_age_days and age > max_age_days:
        found.append(f"age: {champion.tag} was registered {age:.0f} days ago, more than {max_age_days}")
    return found


def _kept(repository: Repository, version: Version, key: str) -> str | None:
    content = repository.read(version.commit, KEPT[key])
    if content is None:
        return None
    value = json.loads(content).get(key)
    return value if isinstance(value, str) else None


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> set[str]:
    return {key for key in {*one, *other} if one.get(key) != other.get(key)}


def _paths_of(section: str) -> set[str]:
    """Keys of a section that name files."""
    return {*PATH_KEYS.get(section, ()), *({"assembly"} if section == "ingest" else ())}


def kept_metrics(metrics: Mapping[str, Path], run: RunInputs) -> dict[str, dict[str, Any]]:
    """Metrics of a run as the registry keeps them, by path in the repository.

    Parameters
    ----------
    metrics : mapping of str to Path
        Metrics file of each step.
    """
    contents = {f"metrics/{step}.json": read_json(path) for step, path in metrics.items()}
    for key, path in KEPT.items():
        if path not in contents:
            raise PipelineError(f"{path}: missing; the registry keeps the {key} in it")
        contents[path] = {**contents[path], key: getattr(run, key)}
    return contents


def known_sections(given: Mapping[str, str | None]) -> dict[str, str]:
    """Options that are params sections and were given."""
    return {name: text for name, text in given.items() if name in SECTIONS and text is not None}
