"""The preprocess step."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from epilstm.artifacts import fingerprint, sha256_file, write_json
from epilstm.config import PreprocessParams
from epilstm.console import progress
from epilstm.datasets import MatrixManifest, SignalManifest, read_manifest, write_manifest
from epilstm.errors import DataError
from epilstm.genome import bins_of
from epilstm.preprocess.frames import widen_to_frames
from epilstm.preprocess.matrix_dataset import MatrixWriter, Shard, require_files, shards_of, workers_within
from epilstm.preprocess.standardise import fit_scaler, reference_histograms, split_chromosomes
from epilstm.processes import outcomes
from epilstm.runner import StepContext, StepResult
from epilstm.store import available_cores, create_bin_array, create_group, create_mask, read_mask


def run(params: PreprocessParams, context: StepContext) -> StepResult:
    """Turn signal into the standardised matrix.

    Raises
    ------
    DataError, GenomeError
        The signal or the split is unusable.
    """
    signal, matrix = context.inputs["signal"], context.outputs["matrix"]
    source = read_manifest(signal, SignalManifest)
    require_files(signal / "signal.zarr", source)
    split = split_chromosomes(source, params.split.validation, params.split.test)
    scaler = fit_scaler(source, split)
    reference = reference_histograms(source, split, _histograms(signal, source))

    matrix.mkdir(parents=True)
    write_json(matrix / "scaler.json", scaler.model_dump(mode="json"))
    write_json(matrix / "histograms.json", reference.model_dump(mode="json"))
    regions = widen_to_frames(source.region_list(), params.frame_bins * source.bin_size)
    manifest = MatrixManifest(
        assembly=source.assembly,
        bin_size=source.bin_size,
        chromosome_sizes=source.chromosome_sizes,
        regions=[(region.chrom, region.start, region.end) for region in regions],
        tracks=scaler.tracks,
        frame_bins=params.frame_bins,
        split=split,
        bins_with_data=source.bins_with_data,
        signal_fingerprint=fingerprint(signal),
        scaler_sha256=sha256_file(matrix / "scaler.json"),
    )
    _copy_masks(signal / "mask.zarr", matrix / "mask.zarr", manifest)
    _write_matrix(
        MatrixWriter(signal / "signal.zarr", matrix / "matrix.zarr", scaler),
        manifest,
        params,
    )
    write_manifest(matrix, manifest)

    bins = {chrom: sum(last - first for first, last in _ranges(manifest, chrom)) for chrom in manifest.chromosomes}
    total, with_data = sum(bins.values()), sum(manifest.bins_with_data.values())
    metrics = {
        "tracks": len(manifest.tracks),
        "bins": total,
        "frames": total // params.frame_bins,
        "train_bins": sum(bins[chrom] for chrom in split.train),
        "validation_bins": sum(bins[chrom] for chrom in split.validation),
        "test_bins": sum(bins[chrom] for chrom in split.test),
        "bins_with_data": with_data,
        "fraction_with_data": with_data / total,
    }
    summary = (
        f"{total:,} bins x {len(manifest.tracks)} tracks, {metrics['fraction_with_data']:.1%} with data; "
        f"{metrics['train_bins']:,} train, {metrics['validation_bins']:,} validation, {metrics['test_bins']:,} test"
    )
    return StepResult(summary, metrics, bins=total, tracks=len(manifest.tracks))


def _histograms(signal: Path, manifest: SignalManifest) -> np.ndarray:
    path = signal / "histograms.npy"
    try:
        histograms: np.ndarray = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}; run ingest again") from error
    expected = (len(manifest.tracks), len(manifest.chromosomes), len(manifest.histogram_edges) - 1)
    if histograms.shape != expected:
        raise DataError(f"{path}: of shape {histograms.shape}, the manifest says {expected}; run ingest again")
    return histograms


def _ranges(manifest: MatrixManifest, chrom: str) -> list[tuple[int, int]]:
    return [bins_of(region, manifest.bin_size) for region in manifest.region_list([chrom])]


def _copy_masks(source: Path, target: Path, manifest: MatrixManifest) -> None:
    """Copy masks chromosome by chromosome; the bins that complete the last frame have no data."""
    group = create_group(target)
    for chrom in manifest.chromosomes:
        mask = read_mask(source, chrom, manifest.bins_with_data.get(chrom))
        create_mask(group, chrom, manifest.bins(chrom))[: len(mask)] = mask


@dataclass(frozen=True)
class _Job:
    writer: MatrixWriter
    shard: Shard


def _do(job: _Job) -> None:
    job.writer.write(job.shard)


def _write_matrix(writer: MatrixWriter, manifest: MatrixManifest, params: PreprocessParams) -> None:
    group = create_group(writer.matrix)
    shards: list[Shard] = []
    for chrom in manifest.chromosomes:
        bins = manifest.bins(chrom)
        create_bin_array(group, chrom, bins, len(manifest.tracks), "float16", params.codec, float("nan"))
        shards += shards_of(chrom, bins, _ranges(manifest, chrom))
    jobs = [_Job(writer, shard) for shard in shards]
    workers = params.workers or workers_within(available_cores(), len(manifest.tracks))
    with (
        progress("writing the matrix, bins", sum(shard.bins for shard in shards)) as bar,
        outcomes(_do, jobs, workers) as done,
    ):
        for outcome in done:
            outcome.result()
            bar.note(shards[outcome.index].chrom)
            bar.advance(shards[outcome.index].bins)
