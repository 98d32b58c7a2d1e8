"""The record beside an output: what made it. One record answers: params, inputs, code, packages, device, threads."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from epilstm.errors import DataError
from epilstm.files.outputs import fingerprint, read_json

#: Packages whose version may matter to a result, by what they are imported as: the distributions that have them.
PACKAGES = {
    "numpy": ("numpy",),
    "scipy": ("scipy",),
    "zarr": ("zarr",),
    "numcodecs": ("numcodecs",),
    "pandas": ("pandas",),
    "pyarrow": ("pyarrow",),
    "sklearn": ("scikit-learn",),
    "torch": ("torch",),
    "onnx": ("onnx",),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "xgboost": ("xgboost", "xgboost-cpu"),
    "pydantic": ("pydantic",),
}

#: Variable by which an image says which commit its code is of; there is no repository in it.
REVISION_VARIABLE = "EPILSTM_GIT_REVISION"

DVC_LOCK = "dvc.lock"

#: Changed files that a record names at most.
NAMED_FILES = 20


def record_path(output: Path) -> Path:
    """Where the record of an output lies: beside it."""
    return output.with_name(f"{output.name}.record.json")


def package_versions() -> dict[str, str]:
    """Version of each of `PACKAGES` that is installed, from its metadata: nothing is imported.

    One that comes from another distribution than its own says so: ``3.2.0 (xgboost-cpu)``.
    """
    found = {}
    for name, distributions in PACKAGES.items():
        for distribution in distributions:
            try:
                installed = version(distribution)
            except PackageNotFoundError:
                continue
            found[name] = installed if distribution == distributions[0] else f"{installed} ({distribution})"
            break
    return found


@dataclass(frozen=True)
class WorkTree:
    """A git work tree as it was.

    Parameters
    ----------
    revision : str or None
        Commit; None outside a repository.
    changed : tuple of str
        Files in it that differ from that commit.
    """

    revision: str | None
    changed: tuple[str, ...] = ()

    @property
    def described(self) -> str | None:
        """The commit, with ``-dirty`` where files differ."""
        return f"{self.revision}-dirty" if self.revision and self.changed else self.revision


def project_tree(recorded: Iterable[Path] = ()) -> WorkTree:
    """The repository of the working directory.

    Tracked files count as changed, but for those that the pipeline itself writes (``dvc.lock`` and what it names) and
    those that the record holds itself.

    Parameters
    ----------
    recorded : iterable of Path
        Files that the record holds, such as the params file.
    """
    root = _git(Path.cwd(), "rev-parse", "--show-toplevel")
    if root is None:
        return WorkTree(None)
    revision = _git(Path.cwd(), "rev-parse", "--verify", "-q", "HEAD")
    changed = _changed(Path(root), "--untracked-files=no")
    known = [path.resolve() for path in recorded]
    written = _written_by_dvc(Path.cwd())
    left = [
        name for name in changed if not any((Path(root) / name).is_relative_to(place) for place in (*known, *written))
    ]
    return WorkTree(revision, tuple(left))


def code_tree() -> WorkTree:
    """The repository that the package is run from; of an installed package what the image says, if it is in one."""
    package = Path(__file__).resolve().parents[1]
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        of_image = os.environ.get(REVISION_VARIABLE, "")
        return WorkTree(of_image if of_image != "unknown" and of_image else None)
    return work_tree(package, (".",))


def work_tree(folder: Path, places: Iterable[str]) -> WorkTree:
    """The repository of a folder; files in some places below it count as changed, also those that git does not track.

    Parameters
    ----------
    places : iterable of str
        Files and folders below it.
    """
    revision = _git(folder, "rev-parse", "--verify", "-q", "HEAD")
    root = _git(folder, "rev-parse", "--show-toplevel")
    if revision is None or root is None:
        return WorkTree(None)
    changed = _changed(Path(root), "--untracked-files=all", "--", *(str(folder / place) for place in places))
    return WorkTree(revision, tuple(name for name in changed if "__pycache__" not in name))


def _changed(root: Path, *options: str) -> list[str]:
    status = _git(root, "-c", "core.quotePath=off", "status", "--porcelain", "-z", "--no-renames", *options)
    return [entry[3:] for entry in (status or "").split("\0") if len(entry) > 3]


def _written_by_dvc(folder: Path) -> list[Path]:
    """``dvc.lock`` and the outputs that it names."""
    lock = folder / DVC_LOCK
    if not lock.is_file():
        return []
    from epilstm.errors import ParamsError
    from epilstm.params import read_yaml

    try:
        stages = (read_yaml(lock) or {}).get("stages") or {}
        outputs = [out["path"] for stage in stages.values() for out in stage.get("outs") or []]
    except (ParamsError, AttributeError, KeyError, TypeError):
        outputs = []
    return [path.resolve() for path in (lock, *(folder / output for output in outputs))]


def _git(folder: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=10, check=True, errors="replace"
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if "-z" in words else done.stdout.strip()


def origin_of_run(code: str, recorded: Iterable[Path]) -> dict[str, Any]:
    """What a record says of the code and of where it runs.

    Parameters
    ----------
    code : str
        Fingerprint of the step's code.
    recorded : iterable of Path
        As for `project_tree`.
    """
    project, package = project_tree(recorded), code_tree()
    return {
        "git_revision": project.described,
        "git_changed": list(project.changed[:NAMED_FILES]),
        "code": {
            "fingerprint": code,
            "git_revision": package.described,
            "git_changed": list(package.changed[:NAMED_FILES]),
        },
        "packages": package_versions(),
    }


class Code(BaseModel):
    """The code that made something.

    `git_revision` is None where it ran outside of a repository; `git_changed` names files that differed from it.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    fingerprint: str
    git_revision: str | None = None
    git_changed: list[str] = []


class Record(BaseModel):
    """What a record says that others rely on; `inputs` and `outputs` are fingerprints by port."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    step: str
    params: dict[str, Any]
    chosen: dict[str, Any] = {}
    inputs: dict[str, str]
    outputs: dict[str, str]
    version: str
    python: str
    code: Code
    git_revision: str | None = None
    git_changed: list[str] = []
    packages: dict[str, str]
    device: str
    threads: int
    started: str

    @field_validator("inputs", "outputs", mode="before")
    @classmethod
    def _fingerprints(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return {name: each["fingerprint"] if isinstance(each, Mapping) else each for name, each in value.items()}


def read_record(output: Path, port: str) -> Record:
    """The record of an output, which must be about what lies there.

    Parameters
    ----------
    port : str
        Its name among the step's outputs.

    Raises
    ------
    DataError
        There is none, it lacks something, or it is about other content.
    """
    path = record_path(output)
    if not path.is_file():
        raise DataError(f"{path}: missing, so it is unknown what made {output.name}; run 'dvc pull' or 'dvc repro'")
    record = parse_record(read_json(path), str(path))
    if record.outputs.get(port) != fingerprint(output):
        raise DataError(
            f"{path}: is not the record of what lies in {output}: the fingerprints differ; the {port} was replaced or "
            "edited after the step that made it, so run that step again ('dvc repro --force')"
        )
    return record


def parse_record(content: Any, where: str) -> Record:
    """A record from its JSON.

    Raises
    ------
    DataError
        It is none, or one of an earlier version of the package, which said less.
    """
    try:
        return Record.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "content"
        raise DataError(
            f"{where}: {key}: {first['msg'].lower()}; an earlier version of epilstm wrote it, so run its step again "
            "('dvc repro --force')"
        ) from error
