"""The encoder folder: what lies in it and what it says of itself.

============================ ==========================================================================
file                         content
============================ ==========================================================================
``encoder.onnx``             raw signal in, embedding out; each call starts from a zero state
``encoder_stateful.onnx``    the same with the state in and out (encoders of one direction without context level)
``triton/<name>/``           on request: a Triton model repository with ``config.pbtxt`` per encoder
``manifest.json``            `EncoderManifest`
============================ ==========================================================================
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from epilstm.errors import ModelError
from epilstm.files.outputs import sha256_file
from epilstm.model.config import ModelConfig
from epilstm.store.manifests import Scaler, Split, read_manifest
from epilstm.tracks.identity import TrackSet

STATEFUL_ENCODER = "encoder_stateful.onnx"

#: Names of the graph's inputs, outputs and the two values between which no raw signal is seen.
SIGNAL, EMBEDDING = "signal", "embedding"
STANDARDISED, STANDARDISED_BY_TIME, EMBEDDING_BY_TIME = "standardised", "standardised_by_time", "embedding_by_time"
#: Of an encoder with a context level besides: the bin level's code, frames' tokens and their codes.
BIN_CODE_BY_TIME, FRAME_TOKENS, CONTEXT_CODES = "bin_code_by_time", "frame_tokens", "context_codes"
#: Constants of an encoder of a model by cell type: which track each assay of each cell type is, and whether it has one.
ASSAY_COLUMNS, ASSAYS_PRESENT = "bin_columns", "bin_present"
STATE_INPUTS, STATE_OUTPUTS = ("h0", "c0"), ("h", "c")


class EncoderManifest(BaseModel):
    """What an encoder computes and where it comes from.

    `split` is that of the model's training, None where it is not known. `files` maps each file of the folder to its
    SHA-256; `parity` maps each encoder to its largest difference to the model, relative to the standard deviation of
    what it computes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["epilstm.encoder/1"] = "epilstm.encoder/1"
    config: ModelConfig
    scaler: Scaler
    scaler_sha256: str
    assembly: str
    bin_size: int
    model_fingerprint: str
    matrix_fingerprint: str
    split: Split | None = None
    package_version: str
    opset: int
    parity: dict[str, float]
    files: dict[str, str]

    @property
    def tracks(self) -> list[str]:
        """Track names in input order."""
        return self.scaler.tracks

    @property
    def track_set(self) -> TrackSet:
        """The tracks with their fields, in input order."""
        return self.scaler.track_set


def read_encoder_manifest(folder: Path) -> EncoderManifest:
    """Manifest of an encoder folder.

    Raises
    ------
    DataError
        Missing, or not an encoder folder.
    """
    return read_manifest(folder, EncoderManifest)


def checked_file(folder: Path, manifest: EncoderManifest, name: str) -> Path:
    """Path of a file of an encoder folder.

    Raises
    ------
    ModelError
        The encoder has no such file, or it is not the one that the manifest names.
    """
    if name not in manifest.files:
        raise ModelError(
            f"{folder}: has no {name}: {', '.join(manifest.files)} only (a model of two directions or with a context "
            "level cannot stream)"
        )
    path = folder / name
    if not path.is_file():
        raise ModelError(f"{path}: missing; run export again or pull it with dvc")
    if sha256_file(path) != manifest.files[name]:
        raise ModelError(f"{path}: damaged or replaced (its checksum differs from the manifest's); run export again")
    return path
