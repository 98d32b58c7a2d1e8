"""``epilstm embed``: the encoder over every bin of the matrix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from epilstm.console import progress
from epilstm.errors import DataError
from epilstm.files.completion import Facts
from epilstm.files.outputs import ENCODER, fingerprint
from epilstm.model.chosen_codes import ChosenCodes, choose_codes
from epilstm.model.chunks import context_frames
from epilstm.model.compatibility import require_same_input
from epilstm.model.config import ModelConfig
from epilstm.model.core_encoder import Provider, load_context, load_core
from epilstm.model.encoder_folder import EncoderManifest, checked_file, read_encoder_manifest
from epilstm.model.genome_windows import ShardRanges, WindowShape, shards_of
from epilstm.params import Codec, EmbedParams
from epilstm.runtime.code_fingerprint import step_fingerprint
from epilstm.runtime.runner import StepContext, StepResult
from epilstm.steps.embed.encoding import Counts, EmbeddedShard, ShardContext, ShardEncoder
from epilstm.store.arrays import SHARD_BINS, Masks, available_cores, create_bin_array, require_group
from epilstm.store.framed_codes import CONTEXT, EMBEDDINGS, create_frame_array, frame_places, stored_frames
from epilstm.store.manifests import (
    EmbeddingsManifest,
    MatrixManifest,
    Split,
    read_manifest,
    read_scaler,
    write_manifest,
)
from epilstm.store.packing import Place
from epilstm.store.parts import Finish, FolderOf, Parts, fill, group_of
from epilstm.store.shards import BinArray, open_arrays

#: Windows per call where the params leave it open: few keep a call's values in a core's cache, many fill a GPU.
BATCH: dict[Provider, int] = {"cpu": 8, "cuda": 64}

#: Input values (bins x tracks) per call, likewise.
CALL_VALUES: dict[Provider, int] = {"cpu": 8_000_000, "cuda": 256_000_000}

Task = TypeVar("Task")
Value = TypeVar("Value")


def run(params: EmbedParams, context: StepContext) -> StepResult:
    """Embed every bin of the matrix's regions, shard by shard."""
    embedding = Embedding.of(params, context)
    parts = None
    if "parts" in context.work:
        follows_from = _follows_from(embedding.manifest, params)
        parts = Parts.of(context.work["parts"], "embed", EMBEDDINGS, follows_from, tuple(embedding.beside))
    if parts is not None and context.part is not None:
        return _part_done(context.part, embedding, parts)
    folder = context.outputs["embeddings"]
    folder.mkdir(parents=True)
    matrix, manifest = embedding.matrix, embedding.manifest
    facts = fill(folder, EMBEDDINGS, list(matrix.arrays), embedding.write, parts, embedding.places, embedding.beside)
    write_manifest(folder, manifest)
    metrics = _metrics(params, embedding, list(facts.values()))
    bins, with_data = metrics["bins"], metrics["bins_with_data"]
    return StepResult(
        f"{bins:,} bins embedded in {manifest.size} numbers each, {with_data:,} of them with data",
        metrics,
        bins=bins,
        tracks=len(matrix.tracks),
        device=metrics["provider"],
        afterwards=None if parts is None else partial(parts.drop, list(matrix.arrays)),
    )


@dataclass(frozen=True)
class Embedding:
    """The embeddings of a matrix by an encoder: what they are, and how some of their arrays are written.

    Parameters
    ----------
    params, matrix, encoder, chosen, manifest
        What is run on what, and the dataset that comes out.
    matrix_folder, encoder_folder
        Where both lie.
    """

    params: EmbedParams
    matrix_folder: Path
    matrix: MatrixManifest
    encoder_folder: Path
    encoder: EncoderManifest
    chosen: ChosenCodes
    manifest: EmbeddingsManifest

    @classmethod
    def of(cls, params: EmbedParams, context: StepContext) -> Embedding:
        """From the inputs of the step.

        Raises
        ------
        DataError, ParamsError
            The encoder is not for this matrix, or has no such cell types.
        """
        matrix_folder, encoder_folder = context.inputs["matrix"], context.inputs["encoder"]
        matrix = read_manifest(matrix_folder, MatrixManifest)
        encoder = read_encoder_manifest(encoder_folder)
        require_same_input(matrix, read_scaler(matrix_folder, matrix), encoder)
        chosen = choose_codes(encoder.config, params.chosen_cell_types, "embed.cell_types")
        manifest = EmbeddingsManifest(
            assembly=matrix.assembly,
            bin_size=matrix.bin_size,
            chromosome_sizes=matrix.chromosome_sizes,
            regions=[(r.chrom, r.start, min(r.end, matrix.chromosome_sizes[r.chrom])) for r in matrix.region_list()],
            tracks=matrix.tracks,
            identities=matrix.identities,
            size=chosen.size,
            matrix_fingerprint=fingerprint(matrix_folder),
            model_fingerprint=encoder.model_fingerprint,
            encoder_fingerprint=fingerprint(encoder_folder),
            split=split_of(encoder, matrix, fingerprint(matrix_folder)),
            code_columns=chosen.code_columns,
            dimensions=chosen.names,
            context_frame_bins=_stored_frames(encoder.config) if chosen.code_columns is not None else None,
        )
        return cls(params, matrix_folder, matrix, encoder_folder, encoder, chosen, manifest)

    @property
    def stored(self) -> int:
        """Numbers that each bin has; the rest are stored by frame."""
        return self.chosen.bin_code if self.manifest.context_frame_bins else self.chosen.size

    @cached_property
    def array_bins(self) -> dict[str, int]:
        """Bins of each array: a chromosome's own ends where the genome does, a shared one has whole frames."""
        return {
            name: self.manifest.bins(name) if name in chroms else self.matrix.array_bins(name)
            for name, chroms in self.matrix.arrays.items()
        }

    @cached_property
    def array_frames(self) -> dict[str, int]:
        """Frames of each array of contexts, where these are stored by frame."""
        frame_bins = self.manifest.context_frame_bins
        if frame_bins is None:
            return {}
        return {
            name: stored_frames(bins, self.matrix.array_bins(name), frame_bins)
            for name, bins in self.array_bins.items()
        }

    @property
    def places(self) -> dict[str, Place]:
        """Where chromosomes lie in the arrays of bins."""
        return {chrom: place._replace(bins=self.manifest.bins(chrom)) for chrom, place in self.matrix.places.items()}

    @property
    def beside(self) -> dict[str, dict[str, Place]]:
        """Where chromosomes lie in the arrays of contexts, by group."""
        frame_bins = self.manifest.context_frame_bins
        if frame_bins is None:
            return {}
        return {CONTEXT: frame_places(self.matrix.places, frame_bins, self.array_frames)}

    def write(self, names: Sequence[str], folder_of: FolderOf, finish: Finish) -> None:
        """Run the encoder over some arrays of the matrix, and write what comes out."""
        ranges = {name: self.matrix.array_ranges(name) for name in names}
        shards = [shard for name in names for shard in shards_of(name, ranges[name], self.array_bins[name], SHARD_BINS)]
        provider, encode = self._shard_encoder(names)
        arrays = _create_arrays(
            self.array_bins, self.array_frames, ranges, folder_of, self.manifest, self.stored, self.params.codec
        )
        _write_shards(encode, shards, arrays, self.params.threads or available_cores(), provider, finish)

    def _shard_encoder(self, names: Sequence[str]) -> tuple[Provider, ShardEncoder]:
        """What embeds the shards of some arrays, and where it runs."""
        params, config = self.params, self.encoder.config
        file = checked_file(self.encoder_folder, self.encoder, ENCODER)
        core = load_core(file, params.provider, self.chosen)
        context = load_context(file, core.provider, config.frame_bins, self.chosen)
        behind = params.warmup_bins if config.directions == 2 else 0
        shape = WindowShape(params.chunk_bins, params.warmup_bins, behind)
        encode = ShardEncoder(
            core,
            matrix_arrays(self.matrix_folder, self.matrix, names),
            mask_arrays(self.matrix_folder, self.matrix, names),
            self.stored,
            shape,
            params.batch or default_batch(core.provider, shape.bins * len(self.matrix.tracks)),
            None if context is None else ShardContext(context, context_frames(config, params.warmup_frames)),
            by_frame=self.manifest.context_frame_bins is not None,
        )
        return core.provider, encode


def _part_done(part: str, embedding: Embedding, parts: Parts) -> StepResult:
    """Embed one part of the work, into the parts folder."""
    done = parts.add(group_of(part, embedding.matrix), embedding.write)
    bins = sum(parts.known[name]["bins"] for name in done)
    summary = f"{bins:,} bins embedded" if done else "done before, nothing to do"
    return StepResult(f"{part}: {summary}", bins=bins, tracks=len(embedding.matrix.tracks))


def _metrics(params: EmbedParams, embedding: Embedding, facts: Sequence[Facts]) -> dict[str, Any]:
    """Numbers for the metrics file, from the facts of each array."""
    config = embedding.encoder.config
    frames = {"warmup_frames": context_frames(config, params.warmup_frames)} if config.context_size else {}
    return {
        "bins": sum(each["bins"] for each in facts),
        "bins_with_data": sum(each["bins_with_data"] for each in facts),
        "size": embedding.manifest.size,
        "chunk_bins": params.chunk_bins,
        "warmup_bins": params.warmup_bins,
        **frames,
        "provider": " and ".join(sorted({each["provider"] for each in facts})),
    }


def split_of(encoder: EncoderManifest, matrix: MatrixManifest, matrix_fingerprint: str) -> Split | None:
    """Which chromosomes the encoder's model was trained on, and which were held out; None where nothing says so."""
    if encoder.split is not None:
        return encoder.split
    own = encoder.matrix_fingerprint == matrix_fingerprint and matrix.split.train
    return matrix.split if own else None


def _follows_from(manifest: EmbeddingsManifest, params: EmbedParams) -> list[Any]:
    """What the embedding of a chromosome follows from.

    `auto` as provider is one of a kind: parts made on GPUs are taken over where there is none.
    """
    matter = {"chunk_bins", "warmup_bins", "warmup_frames", "batch", "provider", "codec", "cell_types"}
    code = step_fingerprint("embed").sha256
    return [code, manifest.matrix_fingerprint, manifest.encoder_fingerprint, params.model_dump(include=matter)]


def _stored_frames(config: ModelConfig) -> int | None:
    """Bins per stored code of the context; None where each bin has its own, or shards would not hold whole frames."""
    return config.frame_bins if config.context_size and SHARD_BINS % config.frame_bins == 0 else None


@dataclass(frozen=True)
class _Arrays:
    """Where an array's embeddings are written: numbers of bins and, where they are stored by frame, of contexts."""

    bins: BinArray
    frames: BinArray | None

    def write(self, shard: ShardRanges, embedded: EmbeddedShard) -> None:
        """Write a shard, whole."""
        number = shard.first // SHARD_BINS
        rows = _blank(self.bins, number)
        start = number * self.bins.shard_bins
        rows[shard.first - start : shard.last - start] = embedded.values
        self.bins.write_shard(number, rows)
        if self.frames is not None:
            codes, start = _blank(self.frames, number), number * self.frames.shard_bins
            for first, of_frames in embedded.frames:
                codes[first - start : first - start + len(of_frames)] = of_frames
            self.frames.write_shard(number, codes)


def _blank(array: BinArray, number: int) -> NDArray[np.float32]:
    """Rows of a shard, NaN."""
    rows = min(array.shard_bins, array.shape[0] - number * array.shard_bins)
    return np.full((rows, array.shape[1]), np.nan, np.float32)


def _create_arrays(
    lengths: Mapping[str, int],
    frames: Mapping[str, int],
    ranges: Mapping[str, Sequence[tuple[int, int]]],
    folder_of: FolderOf,
    manifest: EmbeddingsManifest,
    stored: int,
    codec: Codec,
) -> dict[str, _Arrays]:
    """Make the arrays that there are ranges for: first and one-past-last bin of each region, along the array.

    `stored` is how many numbers each bin has; the rest is stored by frame.
    """
    arrays = {}
    for name, regions in ranges.items():
        path = folder_of(name) / EMBEDDINGS
        array = create_bin_array(
            require_group(path),
            name,
            lengths[name],
            stored,
            "float32",
            codec,
            float("nan"),
            shared=name not in manifest.chromosome_sizes,
            ranges=regions,
        )
        by_frame = None
        if manifest.context_frame_bins is not None:
            of_frames, columns = folder_of(name) / CONTEXT, manifest.size - stored
            by_frame = BinArray(
                of_frames / name,
                create_frame_array(
                    require_group(of_frames), name, frames[name], columns, manifest.context_frame_bins, codec, regions
                ),
            )
        arrays[name] = _Arrays(BinArray(path / name, array), by_frame)
    return arrays


def _write_shards(
    encode: ShardEncoder,
    shards: Sequence[ShardRanges],
    arrays: Mapping[str, _Arrays],
    threads: int,
    provider: Provider,
    finish: Finish,
) -> None:
    def embed(shard: ShardRanges) -> tuple[str, Counts]:
        embedded = encode(shard)
        arrays[shard.chrom].write(shard, embedded)
        return shard.chrom, embedded.counts

    left = Counter(shard.chrom for shard in shards)
    done = {chrom: Counts(0, 0) for chrom in left}
    with progress("embedding bins", sum(shard.bins for shard in shards)) as bar:
        for chrom, counts in in_threads(embed, shards, threads):
            done[chrom] = Counts(done[chrom].bins + counts.bins, done[chrom].with_data + counts.with_data)
            left[chrom] -= 1
            if not left[chrom]:
                bins, with_data = done[chrom].bins, done[chrom].with_data
                finish(chrom, {"bins": bins, "bins_with_data": with_data, "provider": provider})
            bar.advance(counts.bins)


def default_batch(provider: Provider, values: int) -> int:
    """Windows per call, by where the encoder runs and the input values (bins x tracks) of a window."""
    return max(1, min(BATCH[provider], CALL_VALUES[provider] // values))


def matrix_arrays(folder: Path, manifest: MatrixManifest, names: Sequence[str]) -> Mapping[str, BinArray]:
    """Some of the matrix's arrays, (bin, track) float16.

    Raises
    ------
    DataError
        An array is missing or not of the manifest's shape.
    """
    arrays = open_arrays(folder / "matrix.zarr", whole=True)
    for name in names:
        shape = manifest.array_bins(name), len(manifest.tracks)
        if name not in arrays or arrays[name].shape != shape:
            raise _missing(folder / "matrix.zarr", name, shape)
    return arrays


def mask_arrays(folder: Path, manifest: MatrixManifest, names: Sequence[str]) -> dict[str, NDArray[np.bool_]]:
    """Which bins of some of the matrix's arrays have data, (bin,) bool.

    Raises
    ------
    DataError
        An array is missing or not of the manifest's shape.
    """
    masks = Masks(folder / "mask.zarr", manifest.bins_with_data)
    joined = {}
    for name in names:
        mask = np.concatenate([masks[chrom] for chrom in manifest.arrays[name]])
        if mask.shape != (manifest.array_bins(name),):
            raise _missing(folder / "mask.zarr", name, (manifest.array_bins(name),))
        joined[name] = mask
    return joined


def _missing(path: Path, name: str, shape: tuple[int, ...]) -> DataError:
    return DataError(f"{path}: the array of {name} is missing or not of shape {shape}; run preprocess again")


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
