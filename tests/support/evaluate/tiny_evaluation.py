"""A matrix, a model and embeddings small enough for a test, with labels that follow from the signal."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from epilstm.files.outputs import fingerprint, to_json
from epilstm.genome.assembly import bin_count, bins_of, chromosomes_of, load_assembly, read_regions
from epilstm.model.cell_types import CellTypes
from epilstm.model.config import ModelConfig
from epilstm.model.folder import ModelManifest, TrainingSummary, save_model, save_weights
from epilstm.model.networks import build
from epilstm.store.arrays import SHARD_BINS, create_array, create_bin_array, create_group
from epilstm.store.manifests import EmbeddingsManifest, MatrixManifest, Scaler, Split, scaler_digest, write_manifest
from epilstm.store.matrix import Matrix

BIN = 25
#: Covered regions: all but the last 5 kb of each chromosome.
SIZES = {"chr1": 80_000, "chr2": 70_000, "chr3": 60_000, "chr4": 60_000, "chr5": 50_000}
REGIONS = [(chrom, 0, size - 5_000) for chrom, size in SIZES.items()]
TRACKS = [f"{cell}-{assay}" for cell in ("A", "B") for assay in ("H3K4me1", "H3K4me3", "H3K27ac")]
SPLIT = Split(train=["chr1", "chr2", "chr3"], validation=["chr4"], test=["chr5"])
EMBEDDING_SIZE = 3
#: Bins per chunk of the matrix: small, so that regions have several.
CHUNK_BINS = 500

TASKS = """
tasks:
  - name: expression
    kind: region
    windows: [gene_body, tss]
    labels: {format: rpkm, path: rpkm.tsv, annotation: genes.gtf.gz, threshold: 0.5}
    cell_types: [A, B]
  - name: contacts
    kind: pair
    windows: [promoter, enhancer, between]
    labels: {format: pairs, path: pairs.csv, cells: {A: cellA}}
    cell_types: [A]
  - name: fire
    kind: region
    windows: [region]
    labels: {format: bed, path: fire.bed}
    cell_types: [A]
  - name: timing
    kind: region
    windows: [region]
    labels: {format: bedgraph, path: timing.bedgraph, threshold: 0.0}
    cell_types: [B]
  - name: level
    kind: region
    windows: [gene_body, tss]
    labels: {format: rpkm, path: rpkm.tsv, annotation: genes.gtf.gz, target: level}
    cell_types: [A, B]
"""


@dataclass(frozen=True)
class TinyEvaluation:
    """Inputs of the evaluate step, and the arrays behind them."""

    folder: Path
    values: dict[str, np.ndarray]
    mask: dict[str, np.ndarray]
    embedding: dict[str, np.ndarray]

    @property
    def inputs(self) -> dict[str, Path]:
        names = {"matrix": "matrix", "model": "model", "embeddings": "embeddings"}
        return {name: self.folder / path for name, path in names.items()} | {
            "tasks": self.folder / "tasks.yaml",
            "labels": self.folder / "labels",
        }


def make(folder: Path) -> TinyEvaluation:
    """Write everything into a folder."""
    random = np.random.default_rng(5)
    values, mask, embedding = {}, {}, {}
    mixing = random.normal(size=(EMBEDDING_SIZE, len(TRACKS)))
    for chrom, size in SIZES.items():
        bins = size // BIN
        steps = random.normal(size=(bins, EMBEDDING_SIZE))
        latent = np.array([steps[max(0, i - 60) : i + 1].sum(axis=0) for i in range(bins)]) / 7
        covered = np.arange(bins) < bins - 5_000 // BIN
        mask[chrom] = covered & (random.random(bins) > 0.02)
        rows = np.where(mask[chrom][:, None], latent @ mixing + random.normal(size=(bins, len(TRACKS))) * 0.2, -0.7)
        values[chrom] = rows.astype(np.float16)
        embedding[chrom] = np.where(mask[chrom][:, None], latent, np.nan).astype(np.float32)
    _write_matrix(folder / "matrix", values, mask)
    write_model(folder / "model", fingerprint(folder / "matrix"))
    _write_embeddings(folder / "embeddings", embedding, fingerprint(folder / "matrix"), fingerprint(folder / "model"))
    (folder / "labels").mkdir()
    _write_labels(folder / "labels", embedding, random)
    (folder / "tasks.yaml").write_text(TASKS)
    return TinyEvaluation(folder, values, mask, embedding)


def _write_matrix(folder: Path, values: dict[str, np.ndarray], mask: dict[str, np.ndarray]) -> None:
    folder.mkdir(parents=True)
    matrix_group, mask_group = create_group(folder / "matrix.zarr"), create_group(folder / "mask.zarr")
    for chrom, rows in values.items():
        chunks, shards = (CHUNK_BINS, rows.shape[1]), (SHARD_BINS, rows.shape[1])
        create_array(
            matrix_group, chrom, rows.shape, "float16", chunks=chunks, shards=shards, codec="none", fill_value=0.0
        )[:] = rows
        create_array(
            mask_group, chrom, (len(rows),), "bool", chunks=(1000,), shards=None, codec="none", fill_value=False
        )[:] = mask[chrom]
    scaler = Scaler(tracks=TRACKS, mean=[0.0] * len(TRACKS), scale=[1.0] * len(TRACKS))
    (folder / "scaler.json").write_text(to_json(scaler.model_dump()))
    write_manifest(
        folder,
        MatrixManifest(
            assembly="tiny",
            bin_size=BIN,
            chromosome_sizes=SIZES,
            regions=REGIONS,
            tracks=TRACKS,
            frame_bins=100,
            split=SPLIT,
            bins_with_data={chrom: int(each.sum()) for chrom, each in mask.items()},
            signal_fingerprint="none",
            scaler_sha256=scaler_digest(scaler),
        ),
    )


def _write_embeddings(folder: Path, embedding: dict[str, np.ndarray], matrix_fingerprint: str, model: str) -> None:
    folder.mkdir()
    group = create_group(folder / "embeddings.zarr")
    for chrom, rows in embedding.items():
        create_bin_array(group, chrom, *rows.shape, "float32", "none", np.nan)[:] = rows
    write_manifest(
        folder,
        EmbeddingsManifest(
            assembly="tiny",
            bin_size=BIN,
            chromosome_sizes=SIZES,
            regions=REGIONS,
            size=EMBEDDING_SIZE,
            matrix_fingerprint=matrix_fingerprint,
            model_fingerprint=model,
            encoder_fingerprint="none",
        ),
    )


def write_model(
    folder: Path, matrix_fingerprint: str, context_size: int = 0, cell_types: CellTypes | None = None
) -> None:
    config = ModelConfig(
        architecture="bottleneck",
        tracks=len(TRACKS),
        embedding_size=EMBEDDING_SIZE * (1 if cell_types is None else cell_types.count),
        cell_types=cell_types,
        hidden_size=4,
        layers=1,
        context_size=context_size,
    )
    digest = save_weights(folder, build(config, 11))
    training = TrainingSummary(
        epochs=1,
        best_epoch=1,
        steps=1,
        bins_seen=1,
        train_mse=1.0,
        validation_mse=1.0,
        validation_r2=0.0,
        validation_mse_per_track={},
        validation_r2_per_track={},
        weights_moved=1.0,
        device="cpu",
    )
    manifest = ModelManifest(
        config=config,
        scaler=Scaler(tracks=TRACKS, mean=[0.0] * len(TRACKS), scale=[1.0] * len(TRACKS)),
        assembly="tiny",
        bin_size=BIN,
        frame_bins=100,
        split=SPLIT,
        seed=12,
        matrix_fingerprint=matrix_fingerprint,
        weights_sha256=digest,
        training=training,
    )
    save_model(folder, manifest)


def _write_labels(folder: Path, embedding: dict[str, np.ndarray], random: np.random.Generator) -> None:
    def level(chrom: str, start: int, end: int) -> float:
        rows = embedding[chrom][start // BIN : -(-end // BIN), 0]
        return float(np.nanmean(rows)) if np.isfinite(rows).any() else 0.0

    genes, table, pairs, fire, timing = [], ["gene_id\tA\tB"], [], [], []
    for chrom, size in SIZES.items():
        for number, start in enumerate(range(1_500, size - 8_000, 1_700)):
            gene, end = f"{chrom}gene{number}", start + 1_200
            strand = "+" if number % 2 else "-"
            attributes = f'gene_id "{gene}.3"; gene_type "protein_coding";'
            genes.append(f"{chrom}\ttest\tgene\t{start + 1}\t{end}\t.\t{strand}\t.\t{attributes}\n")
            genes.append(f"{chrom}\ttest\texon\t{start + 1}\t{end}\t.\t{strand}\t.\t{attributes}\n")
            value = 2.0 ** (2 * level(chrom, start, end) + random.normal() * 0.3)
            table.append(f"{gene}\t{value:.4f}\t{random.random():.4f}\t")
            label = int(level(chrom, start + 3_000, start + 3_400) > 0.3)
            pairs.append(f"cellA,{chrom},{start + 3_000},{start + 3_400},{chrom},{start},{start + 500},{label}\n")
        for start in range(0, size, 2_000):
            end = min(start + 2_000, size)
            fire.append(f"{chrom}\t{start}\t{end}\t{int(level(chrom, start, end) > 0.2)}\n")
            timing.append(f"{chrom}\t{start}\t{end}\t{level(chrom, start, end) + random.normal() * 0.05:.4f}\n")
    with gzip.open(folder / "genes.gtf.gz", "wt") as stream:
        stream.writelines(genes)
    header = "cell,enhancer_chrom,enhancer_start,enhancer_end,promoter_chrom,promoter_start,promoter_end,label\n"
    (folder / "rpkm.tsv").write_text("\n".join(table) + "\n")
    (folder / "pairs.csv").write_text(header + "".join(pairs))
    (folder / "fire.bed").write_text("".join(fire))
    (folder / "timing.bedgraph").write_text("".join(timing))


def empty_matrix(folder: Path, bed: Path) -> Matrix:
    """A matrix of one track of zeros over the regions of a BED file, every bin with data."""
    assembly = load_assembly("hg19")
    regions = read_regions(bed, assembly, BIN)
    folder.mkdir()
    matrix_group, mask_group = create_group(folder / "matrix.zarr"), create_group(folder / "mask.zarr")
    sizes = {chrom: assembly[chrom] for chrom in chromosomes_of(regions)}
    for chrom, size in sizes.items():
        bins = bin_count(size, BIN)
        create_bin_array(matrix_group, chrom, bins, 1, "float16", "none", 0.0)
        mask = np.zeros(bins, dtype=bool)
        for region in regions:
            if region.chrom == chrom:
                mask[slice(*bins_of(region, BIN))] = True
        create_array(
            mask_group, chrom, (bins,), "bool", chunks=(100_000,), shards=None, codec="none", fill_value=False
        )[:] = mask
    manifest = MatrixManifest(
        assembly="hg19",
        bin_size=BIN,
        chromosome_sizes=sizes,
        regions=[(region.chrom, region.start, region.end) for region in regions],
        tracks=["E003-H3K4me3"],
        frame_bins=100,
        split=Split(train=list(sizes), validation=[], test=[]),
        bins_with_data={},
        signal_fingerprint="none",
        scaler_sha256="none",
    )
    write_manifest(folder, manifest)
    return Matrix(folder)
