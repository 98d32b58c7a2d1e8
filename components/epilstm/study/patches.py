"""Patches of a variant: changes to the code that its experiments run, made in a copy of the project."""

from __future__ import annotations

import re
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from epilstm.errors import PipelineError
from epilstm.files.outputs import exclusive, remove, sha256_file
from epilstm.params import parse_yaml
from epilstm.registry.repository import GitFailed, Repository
from epilstm.runtime.code_fingerprint import counted_files

PIPELINE_FILE = "dvc.yaml"

#: Where copies lie while they run: on the cache's disk, so that data need not be copied; git ignores it.
COPIES = Path(".dvc") / "tmp" / "studies"

#: The package, in the project's clone.
PACKAGE = "components/epilstm"

#: Folders that Python imports the project's code from.
CODE = ("components", ".")

#: A patch in the message of an experiment's commit.
RECORD = re.compile(r"(\S+) \(sha256 ([0-9a-f]{64})\)")

ADVICE = "mend the patch or take the variant out"


@dataclass(frozen=True)
class Patch:
    """A unified diff.

    Parameters
    ----------
    path : str
        Relative to the project.
    sha256 : str or None
        Of its content; None where there is no such file.
    """

    path: str
    sha256: str | None


def read_patch(root: Path, path: str) -> Patch:
    """A patch of the project."""
    return Patch(path, sha256_file(root / path) if (root / path).is_file() else None)


def message(patches: Sequence[Patch]) -> str:
    """Message of the commit of an experiment with patches, from which `is_recorded` knows them again."""
    return "patched by " + ", ".join(f"{patch.path} (sha256 {patch.sha256})" for patch in patches)


def is_recorded(patches: Sequence[Patch], told: str) -> bool:
    """Whether a commit's message tells of these patches and no others; of a patch that is gone the name must do."""
    recorded = RECORD.findall(told) if told.startswith(message([])) else []
    return [path for path, _ in recorded] == [patch.path for patch in patches] and all(
        patch.sha256 in (None, digest) for patch, (_, digest) in zip(patches, recorded, strict=True)
    )


def patched_tree(repository: Repository, patches: Sequence[Patch], where: str) -> str:
    """Git's tree of the project as it stands, with what is changed in tracked files, and with patches applied.

    Parameters
    ----------
    repository : Repository
    patches : sequence of Patch
        In the order in which they are applied.
    where : str
        Begins messages.

    Raises
    ------
    PipelineError
        A patch is not there, does not apply, or changes what DVC does not look at.
    """
    # A commit that no ref points to: neither the index nor the work tree is touched.
    present = repository.git("stash", "create") or repository.head()
    with tempfile.TemporaryDirectory() as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        repository.git("read-tree", present, environment=index)
        for patch in patches:
            path = repository.root / patch.path
            if not path.is_file():
                raise PipelineError(f"{where}: {patch.path}: no such patch; {ADVICE}")
            try:
                repository.git("apply", "--cached", "--whitespace=nowarn", str(path), environment=index)
            except GitFailed as error:
                reason = str(error).removeprefix("git apply: ")
                raise PipelineError(
                    f"{where}: {patch.path} does not apply to the present code: {reason}; {ADVICE}"
                ) from error
        tree = repository.git("write-tree", environment=index)
    _check_seen(repository, present, tree, f"{where}: {', '.join(patch.path for patch in patches)}")
    return tree


def _check_seen(repository: Repository, present: str, tree: str, where: str) -> None:
    # Else DVC takes results of the present code for the patched code's, and the other way round.
    seen = _dependencies(repository.read(tree, PIPELINE_FILE) or b"")
    with package_at(repository, tree) as package:
        counted = set() if package is None else {f"{PACKAGE}/{name}" for name in counted_files(package)}
    for path in repository.differing(present, tree):
        if path in counted:
            continue
        if path != PIPELINE_FILE and not any(path == each or path.startswith(f"{each}/") for each in seen):
            raise PipelineError(
                f"{where}: {path} is changed, which no stage of {PIPELINE_FILE} depends on, so that DVC would not see "
                "it; let the patch add it to the deps of the stages that use it"
            )


def _dependencies(pipeline: bytes) -> set[str]:
    stages = (parse_yaml(pipeline.decode(), PIPELINE_FILE) or {}).get("stages") or {}
    # Stages made by foreach or matrix have their deps under do.
    return {
        dep for stage in stages.values() for dep in stage.get("do", stage).get("deps") or [] if isinstance(dep, str)
    }


@contextmanager
def package_at(repository: Repository, tree: str) -> Iterator[Path | None]:
    """The package as a tree of git has it, in a folder that is gone afterwards; None where it has none."""
    if repository.read(tree, f"{PACKAGE}/__init__.py") is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "package.tar"
        repository.git("archive", "--format=tar", f"--output={archive}", tree, PACKAGE)
        with tarfile.open(archive) as content:
            content.extractall(folder, filter="data")
        yield Path(folder) / PACKAGE


@contextmanager
def copied(repository: Repository, tree: str, name: str) -> Iterator[Repository]:
    """A copy of the project at a tree, on the same commit and with the same DVC cache; it is gone afterwards.

    Parameters
    ----------
    repository : Repository
    tree : str
        Of `patched_tree`.
    name : str
        Of the copy's folder.

    Raises
    ------
    DataError
        Another process has it.
    """
    folder = repository.root / COPIES / name
    with exclusive(folder):
        # A killed run has left it.
        remove(folder)
        try:
            repository.git("clone", "--quiet", "--shared", "--no-checkout", str(repository.root), str(folder))
            copy = Repository(folder)
            copy.git("read-tree", "--reset", "-u", tree)
            _share_cache(repository.root, folder)
            yield copy
        finally:
            remove(folder)


def _share_cache(root: Path, folder: Path) -> None:
    from dvc.config import Config
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        local, cache = repo.config.read("local"), repo.cache.local_cache_dir
    # Where git has no .dvc, DVC would find that of the project around the copy, and run there.
    (folder / ".dvc").mkdir(exist_ok=True)
    with Config(str(folder / ".dvc"), validate=False).edit("local") as config:
        config.update(local)
        config.setdefault("cache", {})["dir"] = cache
        # Else DVC keeps a folder for the copy in /var/tmp, which nobody would delete.
        config.setdefault("core", {})["site_cache_dir"] = str(folder / ".dvc" / "tmp" / "site")


def bring_back(repository: Repository, copy: Repository, name: str) -> None:
    """Take over an experiment that was run in a copy."""
    reference = f"refs/exps/*/{name}"
    repository.git("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", str(copy.root), f"{reference}:{reference}")
