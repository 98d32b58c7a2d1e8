"""The manifests as a cluster gets them, and what stands in them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.paths import PROJECT

MANIFESTS = PROJECT / "manifests"

OVERLAYS = sorted(str(path.parent.relative_to(MANIFESTS)) for path in MANIFESTS.glob("*/overlays/*/kustomization.yaml"))

#: For a whole cluster: in no namespace.
CLUSTER = ["pipelines/cluster"]

#: Applied by hand, by no kustomization.
LOOSE = [
    "monitoring/alertmanager-secret.example.yaml",
    "pipelines/data-shell.yaml",
    "pipelines/overlays/retraining/secret.example.yaml",
    "pipelines/overlays/s3/secret.example.yaml",
]

Document = dict[str, Any]


def kustomize(folder: Path) -> subprocess.CompletedProcess[str]:
    if shutil.which("kubectl") is None:
        if os.environ.get("CI"):
            pytest.fail("kubectl is not installed, and in CI nothing is skipped")
        pytest.skip("kubectl is not installed")
    return subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, timeout=60)


@cache
def _text(folder: Path) -> str:
    done = kustomize(folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def rendered(overlay: str) -> list[Document]:
    """Documents of one of `OVERLAYS`, `CLUSTER` or `LOOSE`, or of a folder."""
    path = MANIFESTS / overlay
    return list(yaml.safe_load_all(path.read_text() if path.is_file() else _text(path)))


def one(documents: list[Document], kind: str, name: str | None = None) -> Document:
    [found] = [
        document for document in documents if document["kind"] == kind and name in (None, document["metadata"]["name"])
    ]
    return found


def pods(document: Document) -> Iterator[Document]:
    """Pod specs that a document leads to; KServe's with `model` as the container that it is merged into."""
    spec = document.get("spec", {})
    if document["kind"] == "Pod":
        yield spec
    elif document["kind"] == "Deployment":
        yield spec["template"]["spec"]
    elif document["kind"] == "ClusterTrainingRuntime":
        for job in spec["template"]["spec"]["replicatedJobs"]:
            yield job["template"]["spec"]["template"]["spec"]
    elif document["kind"] == "InferenceService":
        stable = spec["predictor"]
        for predictor in [stable, *({**stable, **canary["predictor"]} for canary in spec.get("canary", []))]:
            yield {**predictor, "containers": predictor.get("containers") or [predictor["model"]]}
