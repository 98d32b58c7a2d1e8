"""A matrix, a model and embeddings of a few hundred bins, with gaps and a chromosome that ends within a bin."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from epilstm.files.outputs import fingerprint, to_json
from epilstm.model.config import ModelConfig
from epilstm.model.folder import ModelManifest, TrainingSummary, save_model, save_weights
from epilstm.model.networks import build
from epilstm.store.arrays import create_bin_array, create_group, create_mask
from epilstm.store.manifests import EmbeddingsManifest, MatrixManifest, Scaler, Split, scaler_digest, write_manifest

BIN, FRAME, DIMENSIONS = 25, 10, 3
#: chr10 comes after chr2, as in the assembly; its last bin is 10 bp long and its last frame is not whole.
SIZES = {"chr2": 6_000, "chr10": 5_010}
REGIONS = [("chr2", 500, 2_000), ("chr2", 3_000, 6_000), ("chr10", 0, 5_250)]
TRACKS = ["A-H3K4me3", "A-H3K27me3", "B-H3K4me3", "B-meth"]
SCALER = Scaler(
    tracks=TRACKS,
    transform=["arcsinh", "arcsinh", "log1p", "none"],
    mean=[0.3, 0.2, 0.5, 0.1],
    scale=[0.5, 0.4, 0.8, 0.3],
)
#: Bins of chr2 without data, inside a region.
GAP = slice(50, 56)


@dataclass(frozen=True)
class SmallEpigenome:
    """Where it lies, and the arrays behind it: (bins, columns) by chromosome, NaN without data."""

    folder: Path
    matrix_rows: dict[str, np.ndarray]
    mask: dict[str, np.ndarray]
    embedding: dict[str, np.ndarray]

    @property
    def embeddings(self) -> Path:
        return self.folder / "embeddings"

    @property
    def matrix(self) -> Path:
        return self.folder / "matrix"

    @property
    def model(self) -> Path:
        return self.folder / "model"

    def rows(self) -> list[tuple[str, int, int, np.ndarray]]:
        """Chromosome, start, end and embedding of every bin with data, in genome order."""
        return [
            (chrom, BIN * place, min(BIN * (place + 1), SIZES[chrom]), values)
            for chrom in SIZES
            for place, values in enumerate(self.embedding[chrom])
            if np.isfinite(values[0])
        ]


def write_matrix(
    folder: Path,
    rows: dict[str, np.ndarray],
    mask: dict[str, np.ndarray],
    sizes: dict[str, int] = SIZES,
    regions: list[tuple[str, int, int]] = REGIONS,
    scaler: Scaler = SCALER,
    train: tuple[str, ...] = ("chr2",),
) -> None:
    values, masks = create_group(folder / "matrix.zarr"), create_group(folder / "mask.zarr")
    for chrom, each in rows.items():
        create_bin_array(values, chrom, *each.shape, "float16", "lz4", 0.0)[:] = each
        create_mask(masks, chrom, len(each))[:] = mask[chrom]
    (folder / "scaler.json").write_text(to_json(scaler.model_dump(mode="json")))
    test = [chrom for chrom in sizes if chrom not in train]
    manifest = MatrixManifest(
        assembly="hg19", bin_size=BIN, chromosome_sizes=sizes, regions=regions, tracks=scaler.tracks, frame_bins=FRAME,
        split=Split(train=list(train), validation=test[:1], test=test[1:]),
        bins_with_data={chrom: int(each.sum()) for chrom, each in mask.items()}, signal_fingerprint="0" * 64,
        scaler_sha256=scaler_digest(scaler),
    )  # fmt: skip
    write_manifest(folder, manifest)


def write_embeddings(
    folder: Path,
    rows: dict[str, np.ndarray],
    sizes: dict[str, int] = SIZES,
    regions: list[tuple[str, int, int]] = REGIONS,
    matrix_fingerprint: str = "0" * 64,
    assembly: str = "hg19",
    split: Split | None = None,
) -> None:
    group = create_group(folder / "embeddings.zarr")
    for chrom, each in rows.items():
        create_bin_array(group, chrom, *each.shape, "float32", "lz4", np.nan)[:] = each
    manifest = EmbeddingsManifest(
        assembly=assembly, bin_size=BIN, chromosome_sizes=sizes,
        regions=[(chrom, start, min(end, sizes[chrom])) for chrom, start, end in regions],
        size=next(iter(rows.values())).shape[1], matrix_fingerprint=matrix_fingerprint, model_fingerprint="1" * 64,
        encoder_fingerprint="2" * 64, split=split,
    )  # fmt: skip
    write_manifest(folder, manifest)


def make(folder: Path) -> SmallEpigenome:
    random = np.random.default_rng(4)
    rows, mask, embedding = {}, {}, {}
    for chrom, size in SIZES.items():
        bins = -(-size // BIN)
        whole = -(-bins // FRAME) * FRAME
        inside = np.zeros(whole, bool)
        for name, start, end in REGIONS:
            if name == chrom:
                inside[start // BIN : end // BIN] = True
        inside[bins:] = False
        if chrom == "chr2":
            inside[GAP] = False
        mask[chrom] = inside
        rows[chrom] = np.where(inside[:, None], random.normal(size=(whole, len(TRACKS))), -0.5).astype(np.float16)
        values = random.normal(size=(bins, DIMENSIONS)).astype(np.float32)
        embedding[chrom] = np.where(inside[:bins, None], values, np.float32(np.nan))
    write_matrix(folder / "matrix", rows, mask)
    write_embeddings(folder / "embeddings", embedding, matrix_fingerprint=fingerprint(folder / "matrix"))
    _write_model(folder / "model")
    return SmallEpigenome(folder, rows, mask, embedding)


def _write_model(folder: Path) -> None:
    config = ModelConfig(architecture="bottleneck", tracks=len(TRACKS), embedding_size=DIMENSIONS, hidden_size=4)
    digest = save_weights(folder, build(config, 1))
    training = TrainingSummary(
        epochs=1, best_epoch=1, steps=1, bins_seen=1, train_mse=1.0, validation_mse=1.0, validation_r2=0.0,
        validation_mse_per_track={}, validation_r2_per_track={}, weights_moved=1.0, device="cpu",
    )  # fmt: skip
    manifest = ModelManifest(
        config=config, scaler=SCALER, assembly="hg19", bin_size=BIN, frame_bins=FRAME,
        split=Split(train=["chr2"], validation=["chr10"], test=[]), seed=1, matrix_fingerprint="0" * 64,
        weights_sha256=digest, training=training,
    )  # fmt: skip
    save_model(folder, manifest)
