"""From an encoder back to the tracks: read from manifests, each of which names the one before by its fingerprint.

What made each is read from the record beside it: nothing is of the moment at which the model is registered.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from epilstm.errors import DataError
from epilstm.files.outputs import MANIFEST, fingerprint, read_json, sha256_file
from epilstm.model.encoder_folder import EncoderManifest, read_encoder_manifest
from epilstm.runtime.records import Record, read_record, record_path
from epilstm.store.manifests import MatrixManifest, SignalManifest, read_manifest
from epilstm.tracks.identity import TrackIdentity, same_tracks

PROVENANCE_FILE = "provenance.json"

#: File of a model folder whose SHA-256 its manifest has; named here because its own module loads torch.
WEIGHTS_FILE = "weights.safetensors"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceTrack(_Model):
    """A track and its bigWig: where it was read, and what it was; without fields in a file of an older version."""

    name: str
    cell_type: str | None = None
    assay: str | None = None
    replicate: str | None = None
    metadata: dict[str, str] = {}
    uri: str
    sha256: str
    bytes: int
    origin: str | None = None


#: Ports that the registry keeps the origin of, and the step that makes each.
MAKERS = {
    "signal": "ingest",
    "matrix": "preprocess",
    "model": "train",
    "encoder": "export",
    "embeddings": "embed",
    "evaluation": "evaluate",
}


#: Ports that are registered: without the record of each there is no registration.
RECORDED = ("model", "encoder")


class MadeBy(_Model):
    """How a step ran when it made what was registered, from its record.

    `code` is the fingerprint of its code, `code_revision` the commit of that, `project_revision` the commit of the
    repository that it ran in: None where it ran outside of one. `changed` names files in either that differed from
    the commit. `params` are resolved, `chosen` those that the data chose.
    """

    code: str
    code_revision: str | None
    project_revision: str | None
    changed: list[str]
    version: str
    python: str
    packages: dict[str, str]
    device: str
    threads: int
    started: str
    params: dict[str, Any]
    chosen: dict[str, Any]

    @classmethod
    def of(cls, record: Record) -> MadeBy:
        """What a record says."""
        return cls(
            code=record.code.fingerprint,
            code_revision=record.code.git_revision,
            project_revision=record.git_revision,
            changed=sorted({*record.git_changed, *record.code.git_changed}),
            version=record.version,
            python=record.python,
            packages=record.packages,
            device=record.device,
            threads=record.threads,
            started=record.started,
            params=record.params,
            chosen=record.chosen,
        )

    @property
    def revision(self) -> str | None:
        """Commit of the repository that it ran in, else of the code."""
        return self.project_revision or self.code_revision


class Provenance(_Model):
    """Everything that an encoder was made from.

    Each fingerprint is that of a dataset's manifest, which holds the next one; `files` are the encoder's, `params`
    those that each step ran with, defaults included. `made` is how each step ran, by step; a version of format 1 does
    not say. `code_revision` is the commit at which the model was trained, None where it is not known, `image` and
    `pipeline_ir_sha256` what ran it, where it ran in containers.
    """

    format: Literal["epilstm.provenance/1", "epilstm.provenance/2"] = "epilstm.provenance/2"
    encoder_fingerprint: str
    model_fingerprint: str
    matrix_fingerprint: str
    signal_fingerprint: str
    evaluation_fingerprint: str | None
    samplesheet: str
    samplesheet_sha256: str | None
    assembly: str
    bin_size: int
    embedding_size: int
    tracks: list[SourceTrack]
    files: dict[str, str]
    params: dict[str, Any]
    package_version: str
    code_revision: str | None
    image: str | None
    pipeline_ir_sha256: str | None
    made: dict[str, MadeBy] = {}

    @property
    def uncommitted(self) -> dict[str, list[str]]:
        """Files that differed from the commit when a step ran, by step; steps that ran from a commit are left out."""
        return {step: made.changed for step, made in self.made.items() if made.changed}

    @property
    def interface(self) -> tuple[Any, ...]:
        """What a client of the encoder depends on."""
        return [track.name for track in self.tracks], self.embedding_size, self.bin_size, self.assembly


def collect(
    root: Path,
    places: Mapping[str, str],
    image: str | None = None,
    pipeline_ir_sha256: str | None = None,
) -> Provenance:
    """Provenance of the encoder in a work tree; only manifests are read, so the datasets need not be there whole.

    Parameters
    ----------
    places : mapping of str to str
        Path of ``encoder``, ``model``, ``matrix``, ``signal``, ``samplesheet``, ``params`` and, where they are there,
        ``embeddings`` and ``evaluation``.

    Raises
    ------
    DataError
        A manifest or a record is missing, one does not follow from the next, or a record is not about what lies
        beside it; the message names them.
    """
    encoder = read_encoder_manifest(root / places["encoder"])
    matrix = read_manifest(root / places["matrix"], MatrixManifest)
    signal = read_manifest(root / places["signal"], SignalManifest)
    found = {name: fingerprint(root / places[name]) for name in ("encoder", "model", "matrix", "signal")}
    _require_chain(root, places, encoder, matrix, found)
    if not same_tracks(signal.track_set, encoder.track_set):
        raise DataError(f"{places['encoder']}: its tracks are not those of {places['signal']}; run 'dvc repro'")
    found |= _found_besides(root, places, found)
    records = {
        port: read_record(root / places[port], port)
        for port in MAKERS
        if port in found and (port in RECORDED or record_path(root / places[port]).is_file())
    }
    _require_inputs(root, places, records, found)
    _require_files(root / places["encoder"], encoder.files)
    _require_files(
        root / places["model"], {WEIGHTS_FILE: read_json(root / places["model"] / MANIFEST)["weights_sha256"]}
    )
    made = {MAKERS[port]: MadeBy.of(record) for port, record in records.items()}
    sheet = root / places["samplesheet"]
    return Provenance(
        encoder_fingerprint=found["encoder"],
        model_fingerprint=found["model"],
        matrix_fingerprint=found["matrix"],
        signal_fingerprint=found["signal"],
        evaluation_fingerprint=found.get("evaluation"),
        samplesheet=places["samplesheet"],
        samplesheet_sha256=sha256_file(sheet) if sheet.is_file() else None,
        assembly=encoder.assembly,
        bin_size=encoder.bin_size,
        embedding_size=encoder.config.embedding_size,
        tracks=_source_tracks(signal, sheet),
        files=encoder.files,
        params={step: each.params for step, each in made.items()},
        package_version=encoder.package_version,
        code_revision=made["train"].revision,
        image=image,
        pipeline_ir_sha256=pipeline_ir_sha256,
        made=made,
    )


def _require_chain(
    root: Path, places: Mapping[str, str], encoder: EncoderManifest, matrix: MatrixManifest, found: Mapping[str, str]
) -> None:
    model_matrix = read_json(root / places["model"] / MANIFEST).get("matrix_fingerprint")
    links = [
        ("encoder", "model", encoder.model_fingerprint),
        ("encoder", "matrix", encoder.matrix_fingerprint),
        ("model", "matrix", model_matrix),
        ("matrix", "signal", matrix.signal_fingerprint),
    ]
    for made, source, named in links:
        if named != found[source]:
            raise DataError(
                f"{places[made]}: was made from another {source} than {places[source]}; run 'dvc repro' so that they "
                "belong together"
            )


def _found_besides(root: Path, places: Mapping[str, str], found: Mapping[str, str]) -> dict[str, str]:
    """Fingerprints of the evaluation and of the embeddings, where they are there."""
    besides = {}
    evaluation = root / places["evaluation"] if "evaluation" in places else None
    if evaluation is not None and (evaluation / MANIFEST).is_file():
        if read_json(evaluation / MANIFEST)["model_fingerprint"] != found["model"]:
            raise DataError(f"{places['evaluation']}: is of another model than {places['model']}; run 'dvc repro'")
        besides["evaluation"] = fingerprint(evaluation)
    if _has_embeddings_of(root, places, found["encoder"]):
        besides["embeddings"] = fingerprint(root / places["embeddings"])
    return besides


def _has_embeddings_of(root: Path, places: Mapping[str, str], encoder: str) -> bool:
    """Whether an encoder's embeddings are there; those of another one are no part of it, and no fault."""
    folder = root / places["embeddings"] if "embeddings" in places else None
    if folder is None or not (folder / MANIFEST).is_file():
        return False
    return bool(read_json(folder / MANIFEST).get("encoder_fingerprint") == encoder)


def _require_inputs(
    root: Path, places: Mapping[str, str], records: Mapping[str, Record], found: Mapping[str, str]
) -> None:
    """Compare what records say that a step read with what lies there."""
    for port, record in records.items():
        for source, read in record.inputs.items():
            if source in found and found[source] != read:
                raise DataError(
                    f"{record_path(root / places[port])}: {places[port]} was made from another {source} than lies in "
                    f"{places[source]}; run 'dvc repro' so that they belong together"
                )


def _require_files(folder: Path, digests: Mapping[str, str]) -> None:
    """Compare files with the SHA-256 that a manifest has of each."""
    for name, digest in digests.items():
        path = folder / name
        if not path.is_file():
            raise DataError(f"{path}: missing; run 'dvc pull' or 'dvc repro'")
        if sha256_file(path) != digest:
            raise DataError(
                f"{path}: was replaced or edited after it was made (its checksum is not the manifest's); run its step "
                "again ('dvc repro --force')"
            )


def _source_tracks(signal: SignalManifest, sheet: Path) -> list[SourceTrack]:
    """The tracks of the signal with their files, and where these were imported from."""
    origins = _origins(sheet)
    return [
        SourceTrack(
            name=name,
            cell_type=track.cell_type,
            assay=track.assay,
            replicate=track.replicate,
            metadata=track.metadata,
            uri=track.uri,
            sha256=track.sha256,
            bytes=track.bytes,
            origin=origins.get(track.identity),
        )
        for name, track in zip(signal.track_set.names, signal.tracks, strict=True)
    ]


def _origins(sheet: Path) -> dict[TrackIdentity, str]:
    """Where imported tracks were brought in from."""
    from epilstm.store.track_import import SOURCES_FILE

    path = sheet.with_name(SOURCES_FILE)
    if not path.is_file():
        return {}
    return {
        TrackIdentity(source["cell_type"], source["assay"], source.get("replicate")): source["uri"]
        for source in read_json(path)["tracks"].values()
    }


def lineage(provenance: Provenance, version: str) -> str:
    """The way from an encoder back to each bigWig, as text."""
    steps = [
        (f"encoder {version}", provenance.encoder_fingerprint),
        ("model", provenance.model_fingerprint),
        ("matrix", provenance.matrix_fingerprint),
        ("signal", provenance.signal_fingerprint),
    ]
    lines = [f"{'  ' * depth}{name}  {identity}" for depth, (name, identity) in enumerate(steps)]
    sheet = f"{provenance.samplesheet}  {provenance.samplesheet_sha256 or '(not kept)'}"
    lines.append(f"{'  ' * len(steps)}samplesheet {sheet}")
    width = max((len(track.name) for track in provenance.tracks), default=0)
    for track in provenance.tracks:
        origin = f"  from {track.origin}" if track.origin else ""
        lines.append(f"{'  ' * len(steps)}{track.name:<{width}}  {track.sha256}  {track.uri}{origin}")
    code = [f"code {provenance.code_revision or 'of an unknown commit'}", f"epilstm {provenance.package_version}"]
    code += [f"image {provenance.image}"] if provenance.image else []
    code += [f"pipeline IR {provenance.pipeline_ir_sha256}"] if provenance.pipeline_ir_sha256 else []
    lines.append(", ".join(code))
    for step, each in provenance.made.items():
        lines.append(f"{step}: {_how(each)}")
    return "\n".join(lines)


def _how(made: MadeBy) -> str:
    """How a step ran, in a line."""
    words = [f"code {made.code[:12]}", f"commit {made.revision or 'unknown'}"]
    words += [f"changed: {', '.join(made.changed)}"] if made.changed else []
    words += [f"on {made.device}, threads: {made.threads}", f"epilstm {made.version}", f"python {made.python}"]
    return "; ".join([*words, *(f"{name} {version}" for name, version in made.packages.items())])
