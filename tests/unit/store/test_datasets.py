"""Manifests: written, read back, and refused when they are of another kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from epilstm.errors import DataError
from epilstm.files.outputs import MANIFEST
from epilstm.genome.assembly import Region
from epilstm.store.manifests import (
    EmbeddingsManifest,
    Manifest,
    MatrixManifest,
    SignalManifest,
    Split,
    TrackEntry,
    read_manifest,
    write_manifest,
)

GENOME: dict[str, Any] = {
    "assembly": "toy",
    "bin_size": 25,
    "chromosome_sizes": {"chr2": 5_010, "chr1": 2_500},
    "regions": [("chr2", 0, 1000), ("chr2", 2000, 5010), ("chr1", 0, 2500)],
}
TRACK = TrackEntry(
    cell_type="liver",
    assay="DNase",
    uri="a.bigwig",
    sha256="0" * 64,
    bytes=9,
    covered_fraction=1 / 3,
    moments={"chr2": (7, 0.1, 1e-17), "chr1": (0, 0.0, 0.0)},
)
SIGNAL = SignalManifest(
    **GENOME, tracks=[TRACK], blacklist_sha256="", bins_with_data={"chr2": 7, "chr1": 0}, histogram_edges=[0.0, 0.1]
)
MATRIX = MatrixManifest(
    **GENOME,
    tracks=["liver-DNase"],
    frame_bins=100,
    split=Split(train=["chr2"], validation=["chr1"], test=[]),
    bins_with_data={"chr2": 7, "chr1": 0},
    signal_fingerprint="1",
    scaler_sha256="2",
)
EMBEDDINGS = EmbeddingsManifest(
    **GENOME, size=12, matrix_fingerprint="1", encoder_fingerprint="2", model_fingerprint="3"
)


@pytest.mark.parametrize("manifest", [SIGNAL, MATRIX, EMBEDDINGS])
def test_manifests_read_back_as_they_were_written(tmp_path: Path, manifest: BaseModel) -> None:
    write_manifest(tmp_path, manifest)
    assert read_manifest(tmp_path, type(manifest)) == manifest


def test_the_order_of_chromosomes_survives(tmp_path: Path) -> None:
    """Sorted JSON keys must not become the order of the chromosomes."""
    write_manifest(tmp_path, SIGNAL)
    assert read_manifest(tmp_path, SignalManifest).chromosomes == ["chr2", "chr1"]


def test_regions_are_given_for_all_or_some_chromosomes() -> None:
    assert len(SIGNAL.region_list()) == 3
    assert SIGNAL.region_list(["chr1"]) == [Region("chr1", 0, 2500)]
    assert SIGNAL.region_list([]) == []


def test_a_signal_has_whole_bins_and_a_matrix_whole_frames() -> None:
    assert (SIGNAL.bins("chr2"), SIGNAL.bins("chr1")) == (201, 100)
    assert (MATRIX.bins("chr2"), MATRIX.bins("chr1")) == (300, 100)


def test_a_track_is_named_after_cell_type_and_assay() -> None:
    assert TRACK.name == "liver-DNase"


@pytest.mark.parametrize("model", [MatrixManifest, EmbeddingsManifest])
def test_a_folder_of_another_kind_is_refused(tmp_path: Path, model: type[Manifest]) -> None:
    write_manifest(tmp_path, SIGNAL)
    article = {MatrixManifest: "a", EmbeddingsManifest: "an"}[model]
    with pytest.raises(DataError, match=f"not {article} {model.__name__}.*is it the right folder"):
        read_manifest(tmp_path, model)


def test_a_missing_folder_and_one_without_a_manifest_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        read_manifest(tmp_path / "none", SignalManifest)
    with pytest.raises(DataError, match="run the step that writes it"):
        read_manifest(tmp_path, SignalManifest)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format": 3}'])
def test_a_broken_manifest_is_an_error_that_names_the_file(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(DataError, match=MANIFEST):
        read_manifest(tmp_path, SignalManifest)
