"""Take over what a pipeline made elsewhere (in a cluster, say), so that it can be registered from a fresh clone.

Models and the evaluation are put where ``dvc.yaml`` has them, and ``dvc.lock`` says so; of the bulk datasets, which
stay where they are, only the manifests are taken, for the provenance.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from epilstm.errors import RegistryError
from epilstm.files.outputs import MANIFEST, read_json, replacing, write_json
from epilstm.registry.storage import Storage, record_outputs
from epilstm.runtime.records import record_path

#: Ports taken over whole, and those of which the manifest is enough.
WHOLE = ("model", "encoder", "evaluation")
MANIFEST_ONLY = ("signal", "matrix", "embeddings")

#: Ports that need not be given.
OPTIONAL = ("embeddings", "evaluation")
FILES = ("params", "samplesheet")

#: Where what is not an output of ``dvc.yaml`` lies meanwhile; ignored by git.
WORK = Path("cache/adopted")


def adopt(root: Path, given: Mapping[str, Path], records: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Take over the outputs of a run.

    Parameters
    ----------
    root : Path
        Work tree of a clone.
    given : mapping of str to Path
        Folder or file of each port in `WHOLE`, `MANIFEST_ONLY` and `FILES`, but for those in `OPTIONAL`, and of each
        ``metrics/NAME.json``.
    records : mapping of str to JSON, optional
        Record of each port in `WHOLE` and `MANIFEST_ONLY`; if not given, those that lie beside what is given.

    Returns
    -------
    dict
        Paths in the work tree, where they differ from those of ``dvc.yaml``, for
        `epilstm.registry.publication.register`.

    Raises
    ------
    RegistryError
        A port is unknown or missing, or what is given for it is not there.
    """
    metrics = {name: path for name, path in given.items() if name.startswith("metrics/")}
    ports = {name: path for name, path in given.items() if name not in metrics}
    _require_given(ports, metrics)
    made = [name for name in (*WHOLE, *MANIFEST_ONLY) if name in ports]
    if records is None:
        beside = {name: record_path(ports[name]) for name in made}
        records = {name: read_json(path) for name, path in beside.items() if path.is_file()}

    storage = Storage(root)
    places = storage.places()
    _put_metrics(root, storage, metrics)
    _put(ports["params"], root / places["params"])
    elsewhere = _put_beside(root, ports)
    whole = [name for name in WHOLE if name in ports]
    for name in whole:
        _put(ports[name], root / places[name])
    for name in made:
        target = record_path(root / (elsewhere.get(name) or places[name]))
        target.unlink(missing_ok=True)  # of another run
        if name in records:
            write_json(target, records[name])
    record_outputs(root, [places[name] for name in whole])
    if "evaluation" not in whole:
        elsewhere["evaluation"] = ""
    return elsewhere


def _require_given(ports: Mapping[str, Path], metrics: Mapping[str, Path]) -> None:
    """Check that every port is known and there, and none that is needed is missing."""
    known = (*WHOLE, *MANIFEST_ONLY, *FILES)
    for name in ports:
        if name not in known:
            raise RegistryError(
                f"{name}: cannot be taken over; what can be is {', '.join(known)} and metrics/NAME.json"
            )
    for name in known:
        if name not in ports and name not in OPTIONAL:
            raise RegistryError(f"{name}: missing; give its path, the registry needs it")
    for name, path in {**ports, **metrics}.items():
        there = path.is_file() if name in (*FILES, *metrics) else (path / MANIFEST).is_file()
        if not there:
            raise RegistryError(f"{name}: {path} is not there, or is not what an epilstm step writes")


def _put_metrics(root: Path, storage: Storage, metrics: Mapping[str, Path]) -> None:
    """Put the metrics files where git has them; those of another run go."""
    in_git = {output.path for output in storage.outputs if output.in_git}
    for name in metrics:
        if name not in in_git:
            raise RegistryError(f"{name}: no stage of dvc.yaml writes it; those that are: {', '.join(sorted(in_git))}")
    for name in in_git:
        (root / name).unlink(missing_ok=True)
    for name, path in metrics.items():
        _put(path, root / name)


def _put_beside(root: Path, ports: Mapping[str, Path]) -> dict[str, str]:
    """Put what is no output of ``dvc.yaml`` into `WORK`; paths by port, empty for one that is not given."""
    elsewhere = {}
    for name in MANIFEST_ONLY:
        elsewhere[name] = str(WORK / name) if name in ports else ""
        if name in ports:
            _put(ports[name] / MANIFEST, root / WORK / name / MANIFEST)
    elsewhere["samplesheet"] = str(WORK / "samplesheet.csv")
    _put(ports["samplesheet"], root / elsewhere["samplesheet"])
    return elsewhere


def _put(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as successor:
        if source.is_dir():
            shutil.copytree(source, successor)
        else:
            shutil.copyfile(source, successor)
