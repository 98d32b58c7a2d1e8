"""From an encoder back to the tracks: read from manifests, each of which names the one before by its fingerprint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from epilstm.artifacts import MANIFEST, fingerprint, read_json, sha256_file
from epilstm.config import read_yaml
from epilstm.datasets import MatrixManifest, SignalManifest, read_manifest
from epilstm.errors import DataError
from epilstm.model.encoder_folder import EncoderManifest, read_encoder_manifest
from epilstm.track_identity import TrackIdentity, same_tracks

PROVENANCE_FILE = "provenance.json"


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


class Provenance(_Model):
    """Everything that an encoder was made from.

    Each fingerprint is that of a dataset's manifest, which holds the next one; `files` are the encoder's, `params` the
    pipeline's. `code_revision` is the commit of the code, `image` and `pipeline_ir_sha256` what ran it, where it ran in
    containers.
    """

    format: Literal["epilstm.provenance/1"] = "epilstm.provenance/1"
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
    code_revision: str
    image: str | None
    pipeline_ir_sha256: str | None

    @property
    def interface(self) -> tuple[Any, ...]:
        """What a client of the encoder depends on."""
        return [track.name for track in self.tracks], self.embedding_size, self.bin_size, self.assembly


def collect(
    root: Path,
    places: Mapping[str, str],
    code_revision: str,
    image: str | None = None,
    pipeline_ir_sha256: str | None = None,
) -> Provenance:
    """Provenance of the encoder in a work tree; only manifests are read, so the datasets need not be there whole.

    Parameters
    ----------
    root : Path
    places : mapping of str to str
        Path of ``encoder``, ``model``, ``matrix``, ``signal``, ``samplesheet``, ``params`` and, if there is one,
        ``evaluation``.
    code_revision : str
    image, pipeline_ir_sha256 : str, optional

    Raises
    ------
    DataError
        A manifest is missing, or one does not follow from the next; the message names both.
    """
    encoder = read_encoder_manifest(root / places["encoder"])
    matrix = read_manifest(root / places["matrix"], MatrixManifest)
    signal = read_manifest(root / places["signal"], SignalManifest)
    found = {name: fingerprint(root / places[name]) for name in ("encoder", "model", "matrix", "signal")}
    _require_chain(root, places, encoder, matrix, found)
    tracks = signal.track_set
    if not same_tracks(tracks, encoder.track_set):
        raise DataError(f"{places['encoder']}: its tracks are not those of {places['signal']}; run 'dvc repro'")
    evaluation = root / places["evaluation"] if "evaluation" in places else None
    has_evaluation = evaluation is not None and (evaluation / MANIFEST).is_file()
    if has_evaluation and read_json(root / places["evaluation"] / MANIFEST)["model_fingerprint"] != found["model"]:
        raise DataError(f"{places['evaluation']}: judges another model than {places['model']}; run 'dvc repro'")
    sheet = root / places["samplesheet"]
    origins = _origins(sheet)
    return Provenance(
        encoder_fingerprint=found["encoder"],
        model_fingerprint=found["model"],
        matrix_fingerprint=found["matrix"],
        signal_fingerprint=found["signal"],
        evaluation_fingerprint=fingerprint(evaluation) if evaluation is not None and has_evaluation else None,
        samplesheet=places["samplesheet"],
        samplesheet_sha256=sha256_file(sheet) if sheet.is_file() else None,
        assembly=encoder.assembly,
        bin_size=encoder.bin_size,
        embedding_size=encoder.config.embedding_size,
        tracks=[
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
            for name, track in zip(tracks.names, signal.tracks, strict=True)
        ],
        files=encoder.files,
        params=read_yaml(root / places["params"]) or {},
        package_version=encoder.package_version,
        code_revision=code_revision,
        image=image,
        pipeline_ir_sha256=pipeline_ir_sha256,
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


def _origins(sheet: Path) -> dict[TrackIdentity, str]:
    """Where imported tracks were brought in from."""
    from epilstm.sources.importing import SOURCES_FILE

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
    code = [f"code {provenance.code_revision}", f"epilstm {provenance.package_version}"]
    code += [f"image {provenance.image}"] if provenance.image else []
    code += [f"pipeline IR {provenance.pipeline_ir_sha256}"] if provenance.pipeline_ir_sha256 else []
    return "\n".join([*lines, ", ".join(code)])
