"""The preprocess step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from epilstm.console import log, progress
from epilstm.files.completion import Facts
from epilstm.files.outputs import fingerprint, sha256_file, write_json
from epilstm.genome.assembly import bins_of
from epilstm.genome.frames import widen_to_frames
from epilstm.model.encoder_folder import read_encoder_manifest
from epilstm.params import PreprocessParams
from epilstm.runtime.code_fingerprint import step_fingerprint
from epilstm.runtime.processes import outcomes
from epilstm.runtime.runner import StepContext, StepResult
from epilstm.steps.preprocess.splitting import split_regions
from epilstm.steps.preprocess.standardise import NAMED, fit_scaler, reference_histograms, require_bin_size, rows_of
from epilstm.steps.preprocess.training_counts import TrainingCounts, training_counts, warn_of_few_values
from epilstm.store.arrays import Masks, MaskWriter, available_cores, create_bin_array, require_group
from epilstm.store.chromosome_split import split_chromosomes
from epilstm.store.manifests import (
    REFERENCE_FILE,
    SCALER_FILE,
    USES,
    MatrixManifest,
    Scaler,
    SignalManifest,
    Split,
    Use,
    read_manifest,
    require_binned_alike,
    scaler_digest,
    write_manifest,
)
from epilstm.store.matrix_writing import MatrixShard, MatrixWriter, require_files, shards_of, workers_within
from epilstm.store.parts import Finish, FolderOf, Parts, fill, group_of
from epilstm.tracks.identity import TrackSet

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
    fitted = _fitted(signal, source, params, context.inputs.get("encoder"), context.part is None)
    rows = rows_of(fitted.scaler, source)
    manifest = _manifest_of(source, fitted, rows, params.frame_bins, fingerprint(signal))

    def write(arrays: Sequence[str], folder_of: FolderOf, finish: Finish) -> None:
        require_files(signal / "signal.zarr", source, [chrom for array in arrays for chrom in manifest.arrays[array]])
        writers = {
            array: MatrixWriter(signal / "signal.zarr", folder_of(array) / MATRIX, fitted.scaler, rows)
            for array in arrays
        }
        _write_matrix(writers, source, manifest, params, finish)

    parts = None
    if "parts" in context.work:
        code = step_fingerprint("preprocess").sha256
        follows_from = [code, manifest.signal_fingerprint, fitted.scaler.model_dump(), params.frame_bins, params.codec]
        parts = Parts.of(context.work["parts"], "preprocess", MATRIX, follows_from)
    if parts is not None and context.part is not None:
        done = parts.add(group_of(context.part, source), write)
        count = sum(manifest.region_bins(array) for array in done)
        summary = f"{count:,} bins x {len(manifest.tracks)} tracks" if done else "done before, nothing to do"
        return StepResult(f"{context.part}: {summary}", bins=count, tracks=len(manifest.tracks))

    matrix = context.outputs["matrix"]
    # With an encoder nothing trains: over all there is, to be compared with the histograms of the model's matrix.
    counts = fitted.counts or TrainingCounts.of_all(signal, source)
    reference = reference_histograms(counts, rows, manifest.track_set)
    matrix.mkdir(parents=True)
    write_json(matrix / SCALER_FILE, fitted.scaler.model_dump(mode="json"))
    write_json(matrix / REFERENCE_FILE, reference.model_dump(mode="json"))
    _copy_masks(signal / "mask.zarr", matrix / "mask.zarr", manifest)
    facts = fill(matrix, MATRIX, list(manifest.arrays), write, parts, manifest.places)
    _warn_of_clipped(fitted.scaler, facts)
    write_manifest(matrix, manifest.model_copy(update={"histograms_sha256": sha256_file(matrix / REFERENCE_FILE)}))

    metrics = _metrics(manifest)
    return StepResult(
        f"{metrics['bins']:,} bins x {metrics['tracks']} tracks, {metrics['fraction_with_data']:.1%} with data; "
        f"{metrics['train_bins']:,} train, {metrics['validation_bins']:,} validation, {metrics['test_bins']:,} test",
        metrics,
        bins=metrics["bins"],
        tracks=metrics["tracks"],
        threads=_workers(params, len(manifest.tracks)),
        afterwards=None if parts is None else partial(parts.drop, list(manifest.arrays)),
    )


def _manifest_of(
    source: SignalManifest, fitted: _Fitted, rows: Sequence[int], frame_bins: int, signal_fingerprint: str
) -> MatrixManifest:
    """Manifest of the matrix: whole frames of the signal's regions, and the scaler's tracks at `rows` of the signal."""
    regions = widen_to_frames(source.region_list(), frame_bins * source.bin_size)
    # Names are the scaler's, fields the signal's, which an encoder of an older version does not have.
    tracks = TrackSet(tuple(fitted.scaler.tracks), source.track_set.select(rows).identities)
    return MatrixManifest(
        assembly=source.assembly,
        bin_size=source.bin_size,
        chromosome_sizes=source.chromosome_sizes,
        regions=[(region.chrom, region.start, region.end) for region in regions],
        tracks=list(tracks.names),
        identities=list(tracks.identities),
        frame_bins=frame_bins,
        split=fitted.split,
        bins_with_data=source.bins_with_data,
        bins_by_use=fitted.bins_by_use,
        signal_fingerprint=signal_fingerprint,
        scaler_sha256=scaler_digest(fitted.scaler),
    )


def _metrics(manifest: MatrixManifest) -> dict[str, Any]:
    """Numbers for the metrics file."""
    total, with_data = sum(_bins(manifest).values()), sum(manifest.bins_with_data.values())
    return {
        "tracks": len(manifest.tracks),
        "bins": total,
        "frames": total // manifest.frame_bins,
        **{f"{use}_bins": _bins_in(manifest, getattr(manifest.split, use)) for use in USES},
        "bins_with_data": with_data,
        "fraction_with_data": with_data / total,
    }


def _workers(params: PreprocessParams, tracks: int) -> int:
    return params.workers or workers_within(available_cores(), tracks)


@dataclass(frozen=True)
class _Fitted:
    """The split and the scaler; where they are not an encoder's, what the scaler was fitted to."""

    split: Split
    scaler: Scaler
    bins_by_use: dict[Use, int]
    counts: TrainingCounts | None


def _fitted(
    signal: Path,
    source: SignalManifest,
    params: PreprocessParams,
    encoder: Path | None,
    whole: bool,
) -> _Fitted:
    if encoder is not None:
        made_for = read_encoder_manifest(encoder)
        require_bin_size(source, made_for.bin_size)
        require_binned_alike(source, made_for.scaler)
        # Nothing is fitted to these data, so none of their chromosomes trains and none is held out.
        return _Fitted(Split(train=[], validation=[], test=[]), made_for.scaler, {}, None)
    validation, test, by_use = params.split.validation, params.split.test, dict[Use, int]()
    if params.split.by == "region":
        masks = Masks(signal / "mask.zarr", source.bins_with_data)
        split, by_use = split_regions(source, params.split, params.frame_bins, masks)
    else:
        assert isinstance(validation, list)
        assert isinstance(test, list)
        split = split_chromosomes(source, validation, test)
        if not whole:  # a part needs no more than the manifest, and may have no more
            return _Fitted(split, fit_scaler(source, split.train, params.clip), {}, None)
    counts = training_counts(signal, source, split)
    scaler = fit_scaler(counts.manifest, counts.chromosomes, params.clip)
    if whole:
        warn_of_few_values(signal, counts)
    return _Fitted(split, scaler, by_use, counts)


def _bins_in(manifest: MatrixManifest, places: Sequence[str]) -> int:
    """Bins of the matrix in some places, with data or without."""
    ranges = (bins_of(region, manifest.bin_size) for region in manifest.region_list(places))
    return sum(last - first for first, last in ranges)


def _warn_of_clipped(scaler: Scaler, facts: Mapping[str, Facts]) -> None:
    """Warn of values that were cut off, with the tracks that have most of them."""
    clipped = sum((np.array(each.get("clipped", 0), np.int64) for each in facts.values()), np.zeros(1, np.int64))
    if not clipped.any():
        return
    tracks = int(np.count_nonzero(clipped))
    most = np.argsort(-clipped, kind="stable")[: min(tracks, NAMED)]
    named = ", ".join(f"{scaler.tracks[track]} {clipped[track]:,}" for track in most)
    log.warning(
        f"{clipped.sum():,} values of {tracks:,} track{'' if tracks == 1 else 's'} lie beyond {scaler.clip:g} standard "
        f"deviations and are cut off there (preprocess.clip); most in {named}"
    )


def _bins(manifest: MatrixManifest) -> dict[str, int]:
    return {chrom: sum(last - first for first, last in ranges) for chrom, ranges in manifest.bin_ranges.items()}


def _copy_masks(source: Path, target: Path, manifest: MatrixManifest) -> None:
    """Copy masks chromosome by chromosome; the bins that complete the last frame have no data."""
    masks, writer = Masks(source, manifest.bins_with_data), MaskWriter(target, manifest.places, manifest.array_ranges)
    for chrom in manifest.chromosomes:
        writer.add(chrom, masks[chrom])
    writer.close()


@dataclass(frozen=True)
class _Job:
    writer: MatrixWriter
    shard: MatrixShard


def _do(job: _Job) -> NDArray[np.int64]:
    return job.writer.write(job.shard)


def _write_matrix(
    writers: Mapping[str, MatrixWriter],
    source: SignalManifest,
    manifest: MatrixManifest,
    params: PreprocessParams,
    finish: Finish,
) -> None:
    """Write each of the matrix's arrays that there is a writer for."""
    shards: list[MatrixShard] = []
    for name, writer in writers.items():
        shape = manifest.array_bins(name), len(manifest.tracks)
        shared = name not in manifest.arrays[name]
        create_bin_array(
            require_group(writer.matrix),
            name,
            *shape,
            "float16",
            params.codec,
            float("nan"),
            shared=shared,
            ranges=manifest.array_ranges(name),
        )
        shards += shards_of(name, source, manifest)
    jobs = [_Job(writers[shard.array], shard) for shard in shards]
    left = Counter(shard.array for shard in shards)
    clipped: dict[str, NDArray[np.int64] | int] = {}
    workers = _workers(params, len(manifest.tracks))
    with (
        progress("writing the matrix, bins", sum(shard.bins for shard in shards)) as bar,
        outcomes(_do, jobs, workers) as done,
    ):
        for outcome in done:
            shard = shards[outcome.index]
            clipped[shard.array] = clipped.get(shard.array, 0) + outcome.result()
            left[shard.array] -= 1
            if not left[shard.array]:
                finish(shard.array, {"clipped": np.asarray(clipped.pop(shard.array)).tolist()})
            bar.note(shard.array)
            bar.advance(shard.bins)
