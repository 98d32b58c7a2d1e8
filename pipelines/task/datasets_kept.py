"""Datasets under the data root: named after what they follow from, made once, used again only if whole."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from epilstm.console import log
from epilstm.errors import DataError
from epilstm.files.completion import CompletionMarker
from epilstm.files.outputs import MANIFEST, exclusive, sha256_json
from epilstm.pipelines.task import storage
from epilstm.pipelines.task.data_root import DataRoot
from epilstm.pipelines.task.line import StepLine
from epilstm.runtime.code_fingerprint import step_fingerprint
from epilstm.runtime.runner import record_path
from epilstm.runtime.step_table import Port, Step
from epilstm.store.manifests import EmbeddingsManifest, Manifest, MatrixManifest, SignalManifest, parse_manifest

#: Kinds of dataset that are too large to be kfp artifacts: kfp passes their URI.
BULK: dict[str, type[Manifest]] = {
    "signal": SignalManifest,
    "matrix": MatrixManifest,
    "embeddings": EmbeddingsManifest,
}


def manifest_of(root: DataRoot, port: Port, value: str) -> Manifest:
    """Manifest of a dataset, under the data root or elsewhere.

    Raises
    ------
    DataError
        It has none, or one of another kind.
    """
    source = Path(value) / MANIFEST
    return parse_manifest(json.loads(root.manifest_text(port, value)), BULK[port.kind], source)


def content_key(line: StepLine, fingerprints: dict[str, str]) -> str:
    """What a step's outputs follow from, as 16 hexadecimal digits.

    Parameters
    ----------
    fingerprints : dict of str to str
        Of each input.
    """
    code = step_fingerprint(line.step.name).sha256
    return sha256_json([line.step.name, code, line.params.model_dump(mode="json"), fingerprints])[:16]


@dataclass(frozen=True)
class KeptDataset:
    """A dataset, there or to be made.

    Beside it are the step's record, its metrics, and its completion marker: its key, and the size of each of its files.
    Of these and of the dataset itself the manifest is written last.

    Parameters
    ----------
    name : str
        Path under the root.
    port : Port
        The output that it is.
    key : str
        What it must follow from.
    """

    root: DataRoot
    name: str
    port: Port
    key: str

    @property
    def uri(self) -> str:
        """Where other tasks find it."""
        return self.root.absolute(self.name)

    @property
    def path(self) -> Path:
        """Where the step writes it."""
        return self.root.folder / self.name

    def paths(self, step: Step) -> dict[str, str]:
        """What to give the step for the dataset and for its metrics."""
        paths = {self.port.name: str(self.path)}
        if any(port.kind == "metrics" for port in step.outputs):
            paths["metrics"] = str(self.metrics_path)
        return paths

    @property
    def metrics_path(self) -> Path:
        """Where the step's metrics are kept, so that a task that uses the dataset again can report them."""
        return self.path.with_name(f"{self.path.name}.metrics.json")

    @property
    def _marker_path(self) -> Path:
        return self.path.with_name(f"{self.path.name}.files.json")

    def exclusive(self) -> AbstractContextManager[None]:
        """Wait until no other task on the same volume makes this dataset.

        In a bucket nothing can be held: there, two tasks write the same files with the same content.
        """
        if self.root.remote:
            return nullcontext()
        # Not the dataset itself, which the step holds while it writes it.
        return exclusive(self._marker_path, waiting=f"{self.path}: another task makes the same dataset, waiting for it")

    def is_whole(self) -> bool:
        """Whether it is there, follows from the same inputs, and lacks nothing."""
        marker = CompletionMarker.parse(self._json(f"{self.uri}.files.json"))
        manifest = self._json(storage.join(self.uri, MANIFEST))
        if marker is None or manifest is None or marker.facts.get("key") != self.key:
            return False
        if self.port.kind in BULK:
            try:
                parse_manifest(manifest, BULK[self.port.kind], self.path / MANIFEST)
            except DataError as error:
                log.warning(f"{error}; making it again")
                return False
        if storage.sizes(self.uri) != marker.files:
            log.warning(f"{self.uri}: files are missing or damaged, making it again")
            return False
        return True

    def publish(self) -> None:
        """Note what belongs to the dataset that the step wrote; in a bucket, put it there.

        Raises
        ------
        DataError
            The storage fails; no manifest is then there.
        """
        files = storage.sizes(str(self.path))
        CompletionMarker({"key": self.key}, files).write(self._marker_path)
        if not self.root.remote or self.is_whole():
            return
        log.info(f"putting {self.uri}", extra={"fields": {"bytes": sum(files.values())}})
        there = storage.sizes(self.uri)
        storage.remove(self.uri, [name for name in there if name == MANIFEST or name not in files])
        storage.upload(self.path, [name for name in files if name != MANIFEST], self.uri)
        beside = [path for path in (record_path(self.path), self.metrics_path, self._marker_path) if path.is_file()]
        storage.upload(self.path.parent, [path.name for path in beside], self.uri.rpartition("/")[0])
        storage.upload(self.path, [MANIFEST], self.uri)

    def manifest_text(self) -> bytes:
        """Content of its manifest."""
        content = storage.read(storage.join(self.uri, MANIFEST))
        if content is None:
            raise DataError(f"{self.uri}: the dataset has gone; run the task again")
        return content

    def record(self) -> dict[str, Any]:
        """Record of the run that made it; empty if it was lost."""
        return self._json(f"{self.uri}.record.json") or {}

    def metrics(self) -> dict[str, Any]:
        """Metrics of the run that made it; empty where it has none."""
        return self._json(f"{self.uri}.metrics.json") or {}

    def _json(self, uri: str) -> Any:
        content = storage.read(uri)
        try:
            return None if content is None else json.loads(content)
        except ValueError:
            log.warning(f"{uri}: not JSON")
            return None
