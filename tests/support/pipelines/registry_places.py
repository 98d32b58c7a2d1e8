"""A registry as a project has it: a bare git repository, with a DVC remote, in which nothing is registered yet."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from support.paths import PROJECT

IDENTITY = {
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
    "OMP_NUM_THREADS": "1",
}


def run(folder: Path, *command: str) -> str:
    """What a command prints."""
    start = [sys.executable, "-m", command[0]] if command[0] in ("dvc", "epilstm") else [command[0]]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [*start, *command[1:]],
        cwd=folder,
        env={**os.environ, **IDENTITY, "PATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@dataclass(frozen=True)
class Registry:
    """A registry and its DVC remote, both folders."""

    folder: Path

    @property
    def url(self) -> str:
        return str(self.folder / "registry.git")

    def git(self, *words: str) -> str:
        return run(Path(self.url), "git", *words)

    def tags(self) -> set[str]:
        return set(self.git("tag", "--list").split())

    def file(self, path: str, revision: str = "retraining") -> str:
        return self.git("show", f"{revision}:{path}")

    def clone(self, name: str, branch: str = "retraining") -> Path:
        run(self.folder, "git", "clone", "-q", "-b", branch, self.url, name)
        return self.folder / name


def make_registry(folder: Path, remote: str | None = None) -> Registry:
    """The project in git, without its report; a DVC remote is named."""
    seed = folder / "seed"
    seed.mkdir(parents=True)
    leave_out = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in (".dvcignore", ".gitignore", "dvc.yaml", "params.yaml"):
        shutil.copy(PROJECT / name, seed)
    for name in ("regions", "components", "manifests"):
        shutil.copytree(PROJECT / name, seed / name, ignore=leave_out)
    run(seed, "git", "init", "-q", "-b", "main")
    run(seed, "dvc", "init", "-q")
    run(seed, "dvc", "config", "core.analytics", "false")
    run(seed, "dvc", "remote", "add", "-q", "--default", "storage", remote or str(folder / "storage"))
    run(seed, "git", "add", "-A")
    run(seed, "git", "commit", "-qm", "Start")
    registry = Registry(folder)
    run(folder, "git", "clone", "-q", "--bare", str(seed), registry.url)
    return registry
