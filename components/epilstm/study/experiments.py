"""Experiments as DVC keeps them: commits under ``refs/exps``, each with the params that it was run with."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from epilstm.console import log
from epilstm.errors import DataError, EpilstmError, ParamsError, PipelineError
from epilstm.params import parse_yaml
from epilstm.registry.repository import Repository
from epilstm.registry.storage import require_sound_files
from epilstm.runtime.step_fingerprints import LOCK_FILE, fingerprint_text, fingerprints_in, md5_of
from epilstm.study.plan import LAST_STAGE, PARAMS_FILE, Experiment, Sections, checked_sections, effective_params

#: refs/exps/<commit that it was run from, divided>/<name>
REFERENCE = re.compile(r"refs/exps/([0-9a-f]{2})/([0-9a-f]{38})/(.+)")

ROLES = ("AUTHOR", "COMMITTER")

#: Who commits experiments where git knows no name.
IDENTITY = {"NAME": "epilstm", "EMAIL": "epilstm@localhost"}


@dataclass(frozen=True)
class Kept:
    """An experiment that DVC has.

    Parameters
    ----------
    baseline : str
        Commit that it was run from.
    """

    name: str
    commit: str
    baseline: str


def open_project(root: Path) -> Repository:
    """The git repository of a project.

    Raises
    ------
    DataError
        The folder is not one with a DVC pipeline.
    RegistryError
        It is not in git.
    """
    for name, there in (("dvc.yaml", (root / "dvc.yaml").is_file()), (".dvc", (root / ".dvc").is_dir())):
        if not there:
            raise DataError(f"{root}: no DVC project, {name} is missing; run it in the project's folder")
    require_sound_files(root)
    repository = Repository.around(root)
    repository.head()
    return repository


def kept(repository: Repository) -> dict[str, Kept]:
    """Experiments that there are, by name; of several of one name the newest."""
    refs = repository.git("for-each-ref", "--sort=committerdate", "--format=%(objectname) %(refname)", "refs/exps")
    found: dict[str, Kept] = {}
    for line in refs.splitlines():
        commit, _, reference = line.partition(" ")
        if matched := REFERENCE.fullmatch(reference):
            found[matched[3]] = Kept(matched[3], commit, matched[1] + matched[2])
    return found


#: What an experiment may have been run with that it would not be run with now.
Difference = Literal["other params", "other code"]


def difference(repository: Repository, experiment: Experiment, there: Kept) -> Difference | None:
    """What an experiment was run with that it would not be run with now; None where all is the same."""
    content = repository.read(there.commit, PARAMS_FILE)
    if content is None:
        return "other params"
    wanted = effective_params(repository.root, experiment.overrides, experiment.name)
    try:
        if checked_sections(parse_yaml(content.decode(), there.name) or {}, there.name) != wanted:
            return "other params"
    except ParamsError:
        return "other params"
    return None if _has_same_code(repository, there, wanted) else "other code"


def _has_same_code(repository: Repository, there: Kept, params: Sections) -> bool:
    """Compare the fingerprints that the experiment's stages depended on with those of now.

    A pipeline without fingerprints does not say which code it ran: what such an experiment came to is still shown.
    """
    lock = repository.read(there.commit, LOCK_FILE)
    recorded = fingerprints_in(lock.decode() if lock else "", LAST_STAGE)
    texts = {step: fingerprint_text(step, params[step]) for step in recorded if step in params}
    return all(md5_of(text) == recorded[step] for step, text in texts.items())


def run(repository: Repository, experiments: list[Experiment], replace: bool) -> Iterator[tuple[Experiment, str]]:
    """Run the experiments that are not there yet; each with ``there``, ``done`` or ``failed`` once that is known.

    Parameters
    ----------
    replace : bool
        Remove those that were run with other params or code, and run them again.

    Raises
    ------
    PipelineError
        One is there with other params or code, and is not to be replaced; nothing has been run then.
    """
    there = kept(repository)
    differing = {
        each: found
        for each in experiments
        if each.name in there and (found := difference(repository, each, there[each.name])) is not None
    }
    outdated = list(differing)
    if outdated and not replace:
        more = f" (and {len(outdated) - 1} more)" if len(outdated) > 1 else ""
        raise PipelineError(
            f"experiment {outdated[0].name}{more}: is there with {differing[outdated[0]]}; --replace runs it again, "
            f"'dvc exp rename' keeps it under another name"
        )
    for each in outdated:
        _dvc(repository.root, ["exp", "remove", each.name], _environment(repository))
        del there[each.name]
    for number, each in enumerate(experiments, 1):
        if each.name in there:
            yield each, "there"
            continue
        log.info(f"{each.name} ({number} of {len(experiments)})")
        yield each, "done" if _dvc(repository.root, each.arguments, _environment(repository)) else "failed"


def _dvc(folder: Path, arguments: list[str], environment: Mapping[str, str]) -> bool:
    # A process of its own: its stages are processes too, and Ctrl-C is to reach them all.
    done = subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=folder, env=environment, stdout=sys.stderr)
    if done.returncode < 0:
        raise PipelineError(f"dvc {arguments[0]} {arguments[1]} was killed; run the same line again, it resumes")
    return done.returncode == 0


def _environment(repository: Repository) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**os.environ, "PATH": path, **_identity(repository)}


def _identity(repository: Repository) -> dict[str, str]:
    # Given outright: the copy of the repository that DVC runs in has none of its settings.
    try:
        repository.require_identity()
    except EpilstmError:
        return {f"GIT_{role}_{key}": value for role in ROLES for key, value in IDENTITY.items()}
    found: dict[str, str] = {}
    for role in ROLES:
        name, _, rest = repository.git("var", f"GIT_{role}_IDENT").rpartition(" <")
        found |= {f"GIT_{role}_NAME": name, f"GIT_{role}_EMAIL": rest.partition(">")[0]}
    return found
