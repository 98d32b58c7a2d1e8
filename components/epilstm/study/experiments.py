"""Experiments as DVC keeps them: commits under ``refs/exps``, each with the params that it was run with."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from epilstm.console import log
from epilstm.errors import DataError, EpilstmError, ParamsError, PipelineError
from epilstm.params import parse_yaml
from epilstm.registry.repository import Repository
from epilstm.registry.storage import require_sound_files
from epilstm.runtime.step_fingerprints import LOCK_FILE, fingerprint_text, fingerprints_in, md5_of
from epilstm.study.patches import CODE, bring_back, copied, is_recorded, package_at, patched_tree
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
    name : str
    commit : str
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
    told = repository.git("for-each-ref", "--sort=committerdate", "--format=%(objectname) %(refname)", "refs/exps")
    found: dict[str, Kept] = {}
    for line in told.splitlines():
        commit, _, reference = line.partition(" ")
        if matched := REFERENCE.fullmatch(reference):
            found[matched[3]] = Kept(matched[3], commit, matched[1] + matched[2])
    return found


#: What an experiment may have been run with that it would not be run with now.
Difference = Literal["other params or patches", "other code"]


def is_same(repository: Repository, experiment: Experiment, there: Kept) -> bool:
    """Whether an experiment was run with the params, the patches and the code that it would be run with now."""
    return difference(repository, experiment, there) is None


def difference(repository: Repository, experiment: Experiment, there: Kept) -> Difference | None:
    """What an experiment was run with that it would not be run with now; None where all is the same."""
    if not is_recorded(experiment.patches, repository.git("show", "--no-patch", "--format=%B", there.commit)):
        return "other params or patches"
    content = repository.read(there.commit, PARAMS_FILE)
    if content is None:
        return "other params or patches"
    wanted = effective_params(repository.root, experiment.overrides, experiment.name)
    try:
        if checked_sections(parse_yaml(content.decode(), there.name) or {}, there.name) != wanted:
            return "other params or patches"
    except ParamsError:
        return "other params or patches"
    return None if _has_same_code(repository, experiment, there, wanted) else "other code"


def _has_same_code(repository: Repository, experiment: Experiment, there: Kept, params: Sections) -> bool:
    """Compare the fingerprints that the experiment's stages depended on with those of now.

    A pipeline without fingerprints does not say which code it ran, and neither does a patch that is gone or that does
    not apply to the present code: what such an experiment came to is still shown.
    """
    lock = repository.read(there.commit, LOCK_FILE)
    recorded = fingerprints_in(lock.decode() if lock else "", LAST_STAGE)
    if not recorded or any(patch.sha256 is None for patch in experiment.patches):
        return True
    with ExitStack() as stack:
        code = None
        if experiment.patches:
            try:
                tree = patched_tree(repository, experiment.patches, experiment.where)
            except PipelineError:
                return True
            code = stack.enter_context(package_at(repository, tree))
        texts = {step: fingerprint_text(step, params[step], code) for step in recorded if step in params}
    return all(md5_of(text) == recorded[step] for step, text in texts.items())


def run(repository: Repository, experiments: list[Experiment], replace: bool) -> Iterator[tuple[Experiment, str]]:
    """Run the experiments that are not there yet; each with ``there``, ``done`` or ``failed`` once that is known.

    Parameters
    ----------
    repository : Repository
    experiments : list of Experiment
    replace : bool
        Remove those that were run with other params, patches or code, and run them again.

    Raises
    ------
    PipelineError
        One is there with other params, patches or code, and is not to be replaced, or a patch of one that is to run is
        unusable; nothing has been run then.
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
    to_run = [each for each in experiments if each.name not in there or each in outdated]
    for each in {each.where: each for each in to_run if each.patches}.values():
        patched_tree(repository, each.patches, each.where)
    for each in outdated:
        _dvc(repository.root, ["exp", "remove", each.name], _environment(repository))
        del there[each.name]
    for number, each in enumerate(experiments, 1):
        if each.name in there:
            yield each, "there"
            continue
        log.info(f"{each.name} ({number} of {len(experiments)})")
        run_one = _run_patched if each.patches else _run
        yield each, "done" if run_one(repository, each) else "failed"


def _run(repository: Repository, experiment: Experiment) -> bool:
    return _dvc(repository.root, experiment.arguments, _environment(repository))


def _run_patched(repository: Repository, experiment: Experiment) -> bool:
    tree = patched_tree(repository, experiment.patches, experiment.where)
    with copied(repository, tree, experiment.name) as copy:
        environment = _environment(repository)
        # The stages call epilstm, which is to be that of the copy, not the one that is installed.
        paths = [*(str(copy.root / folder) for folder in CODE), environment.get("PYTHONPATH")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        done = _dvc(copy.root, experiment.arguments, environment)
        if done:
            bring_back(repository, copy, experiment.name)
    return done


def _dvc(folder: Path, arguments: list[str], environment: Mapping[str, str]) -> bool:
    # A process of its own: its stages are processes too, and Ctrl-C is to reach them all.
    done = subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=folder, env=environment, stdout=sys.stderr)
    if done.returncode < 0:
        raise PipelineError(f"dvc {arguments[0]} {arguments[1]} was killed; run the same line again, it goes on")
    return done.returncode == 0


def _environment(repository: Repository) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**os.environ, "PATH": path, **_identity(repository)}


def _identity(repository: Repository) -> dict[str, str]:
    # Told outright: a copy of the repository has none of its settings.
    try:
        repository.require_identity()
    except EpilstmError:
        return {f"GIT_{role}_{key}": value for role in ROLES for key, value in IDENTITY.items()}
    found: dict[str, str] = {}
    for role in ROLES:
        name, _, rest = repository.git("var", f"GIT_{role}_IDENT").rpartition(" <")
        found |= {f"GIT_{role}_NAME": name, f"GIT_{role}_EMAIL": rest.partition(">")[0]}
    return found
