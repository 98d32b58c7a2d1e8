"""Outputs of a finished step as kfp expects them: artifacts with metadata, output parameters, metrics."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from epilstm.errors import PipelineError
from epilstm.files.outputs import fingerprint, read_json, write_json
from epilstm.genome.assembly import bins_of
from epilstm.pipelines.task.assignment import Assignment
from epilstm.pipelines.task.datasets_kept import BULK, KeptDataset
from epilstm.pipelines.task.executor import Executor, flat_numbers
from epilstm.runtime.code_fingerprint import step_fingerprint
from epilstm.runtime.runner import record_path
from epilstm.store.evaluation_results import PREDICTIONS_FILE
from epilstm.store.manifests import EmbeddingsManifest, Manifest, MatrixManifest, SignalManifest, parse_manifest

#: Chromosomes that a dataset's description lists at most; of more only their number.
NAMED = 100


def report(assignment: Assignment, executor: Executor, manifest_file: Path | None) -> None:
    """Write every output that kfp expects of a step that is done.

    Parameters
    ----------
    manifest_file : Path or None
        Where the manifest of the step's dataset goes, as an artifact.
    """
    line = assignment.line
    for record in _records(assignment):
        require_made_by(line.step.name, record)
    if line.part is not None:
        executor.set_output("done", f"{line.step.name} {line.part}")
    if assignment.dataset is not None:
        _report_dataset(assignment, assignment.dataset, executor, manifest_file)
    for name, path in assignment.artifacts.items():
        if name == "metrics":
            executor.describe(name, flat_numbers(read_json(path)))
        else:
            record = read_json(record_path(path))
            executor.describe(name, {"fingerprint": fingerprint(path), "record": without_paths(record)})
    for port in line.step.outputs:
        if port.verdict and port.name in assignment.artifacts:
            # kfp.local takes a condition on an output of another name for false.
            executor.set_output("Output", str(read_json(assignment.artifacts[port.name])[port.verdict]))
    if "classification" in executor.artifacts and "evaluation" in assignment.artifacts:
        from epilstm.pipelines.task.roc import confidence_metrics

        points = confidence_metrics(assignment.artifacts["evaluation"] / PREDICTIONS_FILE)
        executor.describe("classification", {"confidenceMetrics": points} if points else {})
    executor.write()


def _records(assignment: Assignment) -> list[dict[str, Any]]:
    """Records beside what the step made."""
    paths = [record_path(path) for name, path in assignment.artifacts.items() if name != "metrics"]
    found = [read_json(path) for path in paths]
    return found if assignment.dataset is None else [*found, assignment.dataset.record()]


def require_made_by(step: str, record: Mapping[str, Any]) -> None:
    """Refuse outputs that a launcher has had made by other code than this image's, which they are named after.

    Raises
    ------
    PipelineError
        The record names other code.
    """
    here, made = step_fingerprint(step).sha256, record.get("code", {}).get("fingerprint")
    if made is not None and made != here:
        raise PipelineError(
            f"step {step}: ran code {made[:12]} where it was launched, this image has {here[:12]}; build all images "
            "from one commit, and compile the pipeline with their digests"
        )


def _report_dataset(
    assignment: Assignment, dataset: KeptDataset, executor: Executor, manifest_file: Path | None
) -> None:
    port = dataset.port
    text = dataset.manifest_text()
    if assignment.uri_file is not None:
        assignment.uri_file.parent.mkdir(parents=True, exist_ok=True)
        assignment.uri_file.write_text(dataset.uri, encoding="utf-8")
    else:
        executor.set_output(port.name, dataset.uri)
    if "metrics" in assignment.artifacts:
        write_json(assignment.artifacts["metrics"], dataset.metrics())
    if port.kind in BULK:
        manifest = parse_manifest(json.loads(text), BULK[port.kind], dataset.path)
        if manifest_file is not None:
            manifest_file.parent.mkdir(parents=True, exist_ok=True)
            manifest_file.write_bytes(text)
        executor.describe(
            f"{port.name}_manifest",
            {
                "uri": dataset.uri,
                "fingerprint": sha256(text).hexdigest(),
                "record": without_paths(dataset.record()),
                **extent(manifest),
            },
        )


def extent(manifest: Manifest) -> dict[str, Any]:
    """How large a dataset is: chromosomes, bins, and tracks or numbers per bin."""
    bins = sum(last - first for first, last in (bins_of(r, manifest.bin_size) for r in manifest.region_list()))
    chroms = manifest.chromosomes
    known: dict[str, Any] = {"chromosomes": chroms if len(chroms) <= NAMED else len(chroms), "bins": bins}
    if isinstance(manifest, SignalManifest | MatrixManifest):
        known["tracks"] = len(manifest.tracks)
    elif isinstance(manifest, EmbeddingsManifest):
        known["size"] = manifest.size
    return known


def without_paths(record: dict[str, Any]) -> dict[str, Any]:
    """A record as it may leave the cluster's volumes: of inputs and outputs the fingerprints alone."""
    content = dict(record)
    for role in ("inputs", "outputs"):
        content[role] = {name: entry["fingerprint"] for name, entry in record.get(role, {}).items()}
    return content
