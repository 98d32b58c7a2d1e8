"""The preprocess step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from epilstm.artifacts import fingerprint, write_json
from epilstm.code_fingerprint import step_fingerprint
from epilstm.config import PreprocessParams
from epilstm.console import progress
from epilstm.datasets import MatrixManifest, Scaler, SignalManifest, Split, read_manifest, write_manifest
from epilstm.model.encoder_folder import read_encoder_manifest, scaler_digest
from epilstm.parts import Finish, FolderOf, Parts, fill, group_of
from epilstm.preprocess.frames import widen_to_frames
from epilstm.preprocess.matrix_dataset import MatrixWriter, Shard, require_files, shards_of, workers_within
from epilstm.preprocess.standardise import (
    fit_scaler,
    reference_histograms,
    require_bin_size,
    require_binned_alike,
    rows_of,
    split_chromosomes,
)
from epilstm.processes import outcomes
from epilstm.runner import StepContext, StepResult
from epilstm.store import Masks, MaskWriter, available_cores, create_bin_array, require_group
from epilstm.track_identity import TrackSet

MATRIX = "matrix.zarr"


def run(params: PreprocessParams, context: StepContext) -> StepResult:
    """Turn signal into the standardised matrix.

    Raises
    ------
    DataError, GenomeError
        The signal or the split is unusable, or does not fit the encoder.
    """
    signal = context.inputs["signal"]
    source = read_manifest(signal, SignalManifest)
    split, scaler = _split_and_scaler(source, params, context.inputs.get("encoder"))
    regions = widen_to_frames(source.region_list(), params.frame_bins * source.bin_size)
    rows = rows_of(scaler, source)
    # Names are the scaler's, fields the signal's, which an encoder of an older version does not have.
    tracks = TrackSet(tuple(scaler.tracks), source.track_set.select(rows).identities)
    manifest = MatrixManifest(
        assembly=source.assembly,
        bin_size=source.bin_size,
        chromosome_sizes=source.chromosome_sizes,
        regions=[(region.chrom, region.start, region.end) for region in regions],
        tracks=list(tracks.names),
        identities=list(tracks.identities),
        frame_bins=params.frame_bins,
        split=split,
        bins_with_data=source.bins_with_data,
        signal_fingerprint=fingerprint(signal),
        scaler_sha256=scaler_digest(scaler),
    )

    def write(arrays: Sequence[str], folder_of: FolderOf, finish: Finish) -> None:
        require_files(signal / "signal.zarr", source, [chrom for array in arrays for chrom in manifest.arrays[array]])
        writers = {
            array: MatrixWriter(signal / "signal.zarr", folder_of(array) / MATRIX, scaler, rows) for array in arrays
        }
        _write_matrix(writers, source, manifest, params, finish)

    parts = None
    if "parts" in context.work:
        code = step_fingerprint("preprocess").sha256
        follows_from = [code, manifest.signal_fingerprint, scaler.model_dump(), params.frame_bins, params.codec]
        parts = Parts.of(context.work["parts"], "preprocess", MATRIX, follows_from)
    if parts is not None and context.part is not None:
        group = group_of(context.part, manifest)
        done = parts.add(group, write)
        count = sum(manifest.region_bins(array) for array in done)
        told = f"{count:,} bins x {len(manifest.tracks)} tracks" if done else "done before, nothing to do"
        return StepResult(f"{context.part}: {told}", bins=count, tracks=len(manifest.tracks))

    matrix = context.outputs["matrix"]
    # With an encoder nothing trains: over all there is, to be held against the histograms of the model's matrix.
    reference = reference_histograms(source, split.train or source.chromosomes, rows, tracks, signal)
    matrix.mkdir(parents=True)
    write_json(matrix / "scaler.json", scaler.model_dump(mode="json"))
    write_json(matrix / "histograms.json", reference.model_dump(mode="json"))
    _copy_masks(signal / "mask.zarr", matrix / "mask.zarr", manifest)
    fill(matrix, MATRIX, list(manifest.arrays), write, parts, manifest.places)
    write_manifest(matrix, manifest)

    bins = _bins(manifest)
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
    afterwards = None if parts is None else partial(parts.drop, list(manifest.arrays))
    workers = _workers(params, len(manifest.tracks))
    return StepResult(summary, metrics, bins=total, tracks=len(manifest.tracks), threads=workers, afterwards=afterwards)


def _workers(params: PreprocessParams, tracks: int) -> int:
    return params.workers or workers_within(available_cores(), tracks)


def _split_and_scaler(source: SignalManifest, params: PreprocessParams, encoder: Path | None) -> tuple[Split, Scaler]:
    if encoder is None:
        split = split_chromosomes(source, params.split.validation, params.split.test)
        return split, fit_scaler(source, split)
    made_for = read_encoder_manifest(encoder)
    require_bin_size(source, made_for.bin_size)
    require_binned_alike(source, made_for.scaler)
    # Nothing is fitted to these data, so none of their chromosomes trains and none is held out.
    return Split(train=[], validation=[], test=[]), made_for.scaler


def _bins(manifest: MatrixManifest) -> dict[str, int]:
    return {chrom: sum(last - first for first, last in ranges) for chrom, ranges in manifest.bin_ranges.items()}


def _copy_masks(source: Path, target: Path, manifest: MatrixManifest) -> None:
    """Copy masks chromosome by chromosome; the bins that complete the last frame have no data."""
    masks, writer = Masks(source, manifest.bins_with_data), MaskWriter(target, manifest.places)
    for chrom in manifest.chromosomes:
        writer.add(chrom, masks[chrom])
    writer.close()


@dataclass(frozen=True)
class _Job:
    writer: MatrixWriter
    shard: Shard


def _do(job: _Job) -> None:
    job.writer.write(job.shard)


def _write_matrix(
    writers: Mapping[str, MatrixWriter],
    source: SignalManifest,
    manifest: MatrixManifest,
    params: PreprocessParams,
    finish: Finish,
) -> None:
    """Write each of the matrix's arrays that there is a writer for."""
    shards: list[Shard] = []
    for name, writer in writers.items():
        shape = manifest.array_bins(name), len(manifest.tracks)
        shared = name not in manifest.arrays[name]
        create_bin_array(
            require_group(writer.matrix), name, *shape, "float16", params.codec, float("nan"), shared=shared
        )
        shards += shards_of(name, source, manifest)
    jobs = [_Job(writers[shard.array], shard) for shard in shards]
    left = Counter(shard.array for shard in shards)
    workers = _workers(params, len(manifest.tracks))
    with (
        progress("writing the matrix, bins", sum(shard.bins for shard in shards)) as bar,
        outcomes(_do, jobs, workers) as done,
    ):
        for outcome in done:
            outcome.result()
            shard = shards[outcome.index]
            left[shard.array] -= 1
            if not left[shard.array]:
                finish(shard.array, {})
            bar.note(shard.array)
            bar.advance(shard.bins)
