"""A clone of a small project on which the pipeline has run, with a bare repository as origin and a DVC remote."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from epilstm.files.outputs import fingerprint
from support.paths import PROJECT

IDENTITY = {
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
}

TINY: dict[str, dict[str, Any]] = {
    "simulate": {
        "chromosomes": {"chr1": 400_000, "chr2": 200_000, "chr3": 200_000, "chr4": 200_000},
        "cell_types": 2,
        "assays": ["DNase", "H3K4me3", "H3K27ac"],
    },
    "train": {"embedding_size": 2, "context_size": 0, "hidden_size": 8, "epochs": 1, "streams": 4, "warmup_steps": 20},
    "evaluate": {
        "bootstrap": 50,
        "pooling": ["mean"],
        "folds": {"by": "chromosome", "count": 2},
        "classifier": {"trees": 10},
    },
}


def environment() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, **IDENTITY, "PATH": path, "OMP_NUM_THREADS": "1"}


def run(folder: Path, *command: str, check: bool = True) -> str:
    """Run a command; what it printed. ``dvc`` and ``epilstm`` are those of this Python."""
    start = [sys.executable, "-m", command[0]] if command[0] in ("dvc", "epilstm") else [command[0]]
    done = subprocess.run([*start, *command[1:]], cwd=folder, env=environment(), capture_output=True, text=True)
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + ("" if check else done.stderr)


def make(folder: Path) -> None:
    """The project in git, without its report, and the pipeline run once; nothing of the run is committed."""
    folder.mkdir()
    for name in (".dvcignore", ".gitignore"):
        shutil.copy(PROJECT / name, folder)
    stages = yaml.safe_load((PROJECT / "dvc.yaml").read_text())
    del stages["stages"]["report"]
    (folder / "dvc.yaml").write_text(yaml.safe_dump(stages, sort_keys=False))
    shutil.copytree(PROJECT / "regions", folder / "regions")
    shutil.copytree(
        PROJECT / "components", folder / "components", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
    )
    set_params(folder, yaml.safe_load((PROJECT / "params.yaml").read_text()), **TINY)
    run(folder, "git", "init", "-q", "-b", "main")
    run(folder, "dvc", "init", "-q")
    run(folder, "dvc", "config", "core.analytics", "false")
    run(folder, "git", "add", "-A")
    run(folder, "git", "commit", "-qm", "Start")
    run(folder, "dvc", "repro", "-q")


def set_params(folder: Path, params: dict[str, Any] | None = None, /, **sections: dict[str, Any]) -> None:
    path = folder / "params.yaml"
    params = yaml.safe_load(path.read_text()) if params is None else params
    for name, values in sections.items():
        params[name] |= values
    path.write_text(yaml.safe_dump(params, sort_keys=False))


@dataclass(frozen=True)
class Place:
    """A clone, its origin and its DVC remote, all in one folder."""

    folder: Path

    @property
    def root(self) -> Path:
        return self.folder / "clone"

    @property
    def origin(self) -> Path:
        return self.folder / "origin.git"

    @property
    def storage(self) -> Path:
        return self.folder / "storage"

    def another_clone(self, name: str = "other") -> Path:
        """A fresh clone, as on another machine."""
        run(self.folder, "git", "clone", "-q", str(self.origin), name)
        return self.folder / name

    def object_of(self, path: str) -> Path:
        """The remote's object of a file that DVC tracks."""
        import hashlib

        digest = hashlib.md5((self.root / path).read_bytes()).hexdigest()
        return self.storage / "files" / "md5" / digest[:2] / digest[2:]

    def origin_refs(self) -> set[str]:
        output = run(self.origin, "git", "for-each-ref", "--format=%(refname)")
        return set(output.split())


def lay_out(template: Path, folder: Path, storage_url: str | None = None) -> Place:
    """A clone of its own for one test."""
    place = Place(folder)
    shutil.copytree(template, place.root, symlinks=True)
    run(place.root, "dvc", "remote", "add", "-q", "--default", "storage", storage_url or str(place.storage))
    run(place.root, "git", "commit", "-qam", "Name the remote")
    run(folder, "git", "init", "-q", "--bare", "-b", "main", str(place.origin))
    run(place.root, "git", "remote", "add", "origin", str(place.origin))
    run(place.root, "git", "push", "-q", "origin", "main")
    return place


def rewrite_record(output: Path, port: str, **changes: Any) -> None:
    """Make a record one about what lies beside it, as the step that wrote that would."""
    path = output.with_name(f"{output.name}.record.json")
    record = json.loads(path.read_text()) | changes
    record["outputs"][port]["fingerprint"] = fingerprint(output)
    path.unlink()
    path.write_text(json.dumps(record))


def another_encoder(root: Path, number: int, **changes: Any) -> None:
    """Make the work tree's encoder another one, as a retraining would; ``dvc.lock`` knows of it."""
    path = root / "models" / "encoder" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["parity"]["encoder.onnx"] = number * 1e-7
    manifest |= changes
    path.unlink()  # a link into DVC's cache
    path.write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")
    rewrite_record(root / "models" / "encoder", "encoder")
    run(root, "dvc", "commit", "--force", "--quiet", "export")
