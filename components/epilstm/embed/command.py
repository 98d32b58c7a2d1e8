"""``epilstm embed``: the encoder over every bin of the matrix."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from epilstm.artifacts import fingerprint, read_json
from epilstm.config import EmbedParams
from epilstm.console import progress
from epilstm.datasets import EmbeddingsManifest, MatrixManifest, Scaler, parse_manifest, read_manifest, write_manifest
from epilstm.embed.belonging import require_same_input
from epilstm.embed.core_encoder import Provider, load_core
from epilstm.embed.encoding import Counts, ShardEncoder
from epilstm.embed.windows import Shard, WindowShape, shards_of
from epilstm.errors import DataError
from epilstm.genome import bins_of
from epilstm.model.encoder_folder import ENCODER, checked_file, read_encoder_manifest
from epilstm.runner import StepContext, StepResult
from epilstm.shards import BinArray, open_bins
from epilstm.store import SHARD_BINS, available_cores, create_bin_array, create_group, read_mask

#: Windows per call where the params leave it open: few keep a call's values in a core's cache, many fill a GPU.
BATCH: dict[Provider, int] = {"cpu": 8, "cuda": 64}

#: Input values (bins x tracks) per call, likewise.
CALL_VALUES: dict[Provider, int] = {"cpu": 8_000_000, "cuda": 256_000_000}

Task = TypeVar("Task")
Value = TypeVar("Value")


def run(params: EmbedParams, context: StepContext) -> StepResult:
    """Embed every bin of the matrix's regions, shard by shard."""
    matrix_folder, encoder_folder = context.inputs["matrix"], context.inputs["encoder"]
    matrix = read_manifest(matrix_folder, MatrixManifest)
    encoder = read_encoder_manifest(encoder_folder)
    scaler_file = matrix_folder / "scaler.json"
    require_same_input(matrix, parse_manifest(read_json(scaler_file), Scaler, scaler_file), encoder)
    core = load_core(checked_file(encoder_folder, encoder, ENCODER), params.provider)

    folder = context.outputs["embeddings"]
    manifest = EmbeddingsManifest(
        assembly=matrix.assembly,
        bin_size=matrix.bin_size,
        chromosome_sizes=matrix.chromosome_sizes,
        regions=[(r.chrom, r.start, min(r.end, matrix.chromosome_sizes[r.chrom])) for r in matrix.region_list()],
        size=encoder.config.embedding_size,
        matrix_fingerprint=fingerprint(matrix_folder),
        model_fingerprint=encoder.model_fingerprint,
        encoder_fingerprint=fingerprint(encoder_folder),
    )
    group = create_group(folder / "embeddings.zarr")
    for chrom in manifest.chromosomes:
        create_bin_array(group, chrom, manifest.bins(chrom), manifest.size, "float32", params.codec, float("nan"))
    embeddings = open_bins(folder / "embeddings.zarr")
    shape = WindowShape(
        params.chunk_bins, params.warmup_bins, params.warmup_bins if encoder.config.directions == 2 else 0
    )
    encode = ShardEncoder(
        core,
        matrix_arrays(matrix_folder, matrix),
        mask_arrays(matrix_folder, matrix),
        manifest.size,
        shape,
        params.batch or default_batch(core.provider, shape.bins * len(matrix.tracks)),
    )

    def embed(shard: Shard) -> Counts:
        values, counts = encode(shard)
        array, number = embeddings[shard.chrom], shard.first // SHARD_BINS
        start = number * SHARD_BINS
        rows = np.full((min(SHARD_BINS, array.shape[0] - start), manifest.size), np.nan, np.float32)
        rows[shard.first - start : shard.last - start] = values
        array.write_shard(number, rows)
        return counts

    shards = [
        shard
        for chrom in manifest.chromosomes
        for shard in shards_of(chrom, _ranges(matrix, chrom), manifest.bins(chrom), SHARD_BINS)
    ]
    bins = bins_with_data = 0
    with progress("embedding bins", sum(shard.bins for shard in shards)) as bar:
        for counts in in_threads(embed, shards, params.threads or available_cores()):
            bins += counts.bins
            bins_with_data += counts.with_data
            bar.advance(counts.bins)
    write_manifest(folder, manifest)
    metrics = {
        "bins": bins,
        "bins_with_data": bins_with_data,
        "size": manifest.size,
        "chunk_bins": params.chunk_bins,
        "warmup_bins": params.warmup_bins,
        "provider": core.provider,
    }
    summary = f"{bins:,} bins embedded in {manifest.size} numbers each, {bins_with_data:,} of them with data"
    return StepResult(summary, metrics, bins=bins, tracks=len(matrix.tracks))


def default_batch(provider: Provider, values: int) -> int:
    """Windows per call, by where the encoder runs and the input values (bins x tracks) of a window."""
    return max(1, min(BATCH[provider], CALL_VALUES[provider] // values))


def matrix_arrays(folder: Path, manifest: MatrixManifest) -> Mapping[str, BinArray]:
    """The matrix by chromosome, (bin, track) float16.

    Raises
    ------
    DataError
        An array is missing or not of the manifest's shape.
    """
    shapes = {chrom: (manifest.bins(chrom), len(manifest.tracks)) for chrom in manifest.chromosomes}
    arrays = open_bins(folder / "matrix.zarr", whole=True)
    for chrom, shape in shapes.items():
        if chrom not in arrays or arrays[chrom].shape != shape:
            raise _missing(folder / "matrix.zarr", chrom, shape)
    return arrays


def mask_arrays(folder: Path, manifest: MatrixManifest) -> dict[str, NDArray[np.bool_]]:
    """Which bins have data, by chromosome, (bin,) bool.

    Raises
    ------
    DataError
        An array is missing or not of the manifest's shape.
    """
    masks = {}
    for chrom in manifest.chromosomes:
        mask = read_mask(folder / "mask.zarr", chrom, manifest.bins_with_data.get(chrom))
        if mask.shape != (manifest.bins(chrom),):
            raise _missing(folder / "mask.zarr", chrom, (manifest.bins(chrom),))
        masks[chrom] = mask
    return masks


def _missing(path: Path, chrom: str, shape: tuple[int, ...]) -> DataError:
    return DataError(f"{path}: the array of {chrom} is missing or not of shape {shape}; run preprocess again")


def _ranges(manifest: MatrixManifest, chrom: str) -> list[tuple[int, int]]:
    return [bins_of(region, manifest.bin_size) for region in manifest.region_list([chrom])]


def in_threads(function: Callable[[Task], Value], tasks: Sequence[Task], threads: int) -> Iterator[Value]:
    """Call a function on every task; results come as they are ready.

    While one thread waits for the disk or decompresses, another runs the encoder. The first error, or leaving early,
    drops the tasks that have not begun.
    """
    with ThreadPoolExecutor(threads) as pool:
        try:
            for future in as_completed([pool.submit(function, task) for task in tasks]):
                yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
