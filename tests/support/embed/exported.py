"""Encoders exported and run for the tests of embedding, and what they write."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from epilstm.files.outputs import sha256_file
from epilstm.model.networks import Autoencoder
from epilstm.params import EmbedParams, ExportParams
from epilstm.runtime.runner import StepContext, StepResult
from epilstm.steps.embed.command import run as run_embed
from epilstm.steps.export.command import run as run_export
from epilstm.store.arrays import open_group
from epilstm.store.framed_codes import open_embedding_rows
from epilstm.store.manifests import EmbeddingsManifest, read_manifest
from support.export.small_model import SCALER, write_model


def export(folder: Path, network: Autoencoder, scaler=SCALER) -> Path:
    model = write_model(folder / "model", network, scaler)
    run_export(ExportParams(triton=False), StepContext({"model": model}, {"encoder": folder / "encoder"}, {}))
    return folder / "encoder"


def files_of(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): sha256_file(path) for path in folder.rglob("*") if path.is_file()}


def embed(matrix: Path, encoder: Path, embeddings: Path, **params) -> StepResult:
    return run_embed(
        EmbedParams(**params), StepContext({"matrix": matrix, "encoder": encoder}, {"embeddings": embeddings}, {})
    )


def array(folder: Path, group: str, chrom: str) -> np.ndarray:
    if group == "embeddings.zarr":
        return open_embedding_rows(folder, read_manifest(folder, EmbeddingsManifest))[chrom][:]
    return open_group(folder / group)[chrom][:]
