"""``epilstm segment``: from embeddings to a segmentation, its states and what they mean."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from epilstm import __version__
from epilstm.console import log, progress
from epilstm.errors import DataError
from epilstm.files.outputs import MANIFEST, fingerprint, sha256_file, write_json, written_whole
from epilstm.genome.bin_range import BinRange
from epilstm.genome.name_matching import listed
from epilstm.outputs.segmentation.annotation import read_annotation
from epilstm.outputs.segmentation.chromatin import kinds_of, marks_of
from epilstm.outputs.segmentation.colours import Colour, arbitrary_colours
from epilstm.outputs.segmentation.heatmap import draw_heatmap
from epilstm.outputs.segmentation.segments import Segment, bed9_line, segments_of, without_short
from epilstm.outputs.segmentation.states import (
    NO_STATE,
    HmmStates,
    KMeansStates,
    MultiscaleStates,
    StateModel,
    States,
    decode_range,
    training_sequences,
)
from epilstm.outputs.segmentation.tables import (
    Enrichment,
    StateSums,
    enrichment_of,
    missed_starts,
    order_by_similarity,
)
from epilstm.runtime.runner import check_apart, record_path
from epilstm.store.bin_ranges import bin_ranges_of, block_bins, open_embeddings, read_rows, within
from epilstm.store.manifests import EmbeddingsManifest, MatrixManifest, read_manifest, read_scaler
from epilstm.store.matrix import Matrix
from epilstm.store.standardisation import to_signal
from epilstm.tracks.identity import TrackSet, described

METHODS: dict[str, type[KMeansStates] | type[HmmStates] | type[MultiscaleStates]] = {
    "multiscale": MultiscaleStates,
    "kmeans": KMeansStates,
    "hmm": HmmStates,
}

#: What identifies a folder with a segmentation, in its manifest.
SEGMENTATION_FORMAT = "epilstm.segmentation/1"

Segmentation = list[tuple[BinRange, States]]


@dataclass(frozen=True)
class Request:
    """What is to be segmented, and how.

    Parameters
    ----------
    embeddings, segmentation : Path
        Dataset, and folder to write.
    method : str
        Key of `METHODS`.
    matrix, annotation : Path or None
        For the emission and the enrichment table; the matrix also says which chromosomes are for training, where the
        embeddings do not.
    min_bins : int
        Least length of a segment.
    sample_bins : int
        Bins fitted on, at most about.
    cell_type : str or None
        Of a model that cell types share, the one whose code is clustered.
    """

    embeddings: Path
    segmentation: Path
    states: int = 10
    method: Literal["multiscale", "kmeans", "hmm"] = "multiscale"
    matrix: Path | None = None
    annotation: Path | None = None
    min_bins: int = 8
    sample_bins: int = 200_000
    seed: int = 1
    cell_type: str | None = None


def run(request: Request) -> None:
    """Segment and write.

    Raises
    ------
    EpilstmError
        Names the first thing that cannot be used.
    """
    started = time.perf_counter()
    given = {name: getattr(request, name) for name in ("embeddings", "matrix", "annotation")}
    apart = {name: path for name, path in given.items() if path is not None}
    check_apart(apart, {"segmentation": request.segmentation}, {})
    manifest, arrays = open_embeddings(request.embeddings, request.cell_type)
    matrix = None if request.matrix is None else matching_matrix(request.matrix, manifest)
    annotation = None if request.annotation is None else read_annotation(request.annotation, manifest.chromosomes)
    bin_ranges = bin_ranges_of(manifest, ())
    training, where = fitted_on(bin_ranges, manifest, matrix)
    method = METHODS[request.method]
    margin = method.sequence_margin(manifest.bin_size)
    sequences = training_sequences(arrays, training, request.sample_bins, where, margin)
    sampled = sum(len(each.own) for each in sequences)
    if sampled < 10 * request.states:
        raise DataError(
            f"{request.embeddings}: {sampled:,} bins with data to fit {request.states} states on; give --states "
            f"{max(2, sampled // 10)} or fewer, or embed more"
        )
    with written_whole(request.segmentation, folder=True, kind="segmentation") as staged:
        log.info(f"fitting {request.states} states ({request.method}) on {sampled:,} bins of {where}")
        model = method(sequences, request.states, request.seed, manifest.bin_size)
        found, embedding, left_out = decode(request, model, arrays, bin_ranges, manifest)
        signal = None if request.matrix is None else emissions(Matrix(request.matrix), found, request)
        enrichment = enrichment_of(
            found, request.states, annotation, manifest.bin_size, manifest.chromosome_sizes.__getitem__
        )
        missed = None if annotation is None else missed_starts(enrichment)
        if missed:
            log.warning(missed)
        tables = Tables.of(
            embedding, signal, enrichment, annotation is not None, matrix.track_set if matrix else TrackSet((), ())
        )
        key = key_of(tables)
        staged.mkdir(parents=True)
        numbers = write_segmentation(staged, manifest, found, tables, key, model.transitions())
        numbers["bins_left_out"] = left_out
        content = manifest_of(request, manifest, tables, key, sampled, sorted({each.chrom for each in training}))
        content["warnings"] = [missed] if missed else []
        write_json(staged / MANIFEST, content)
    seconds = time.perf_counter() - started
    record = {"command": "segment", "version": __version__, "seconds": round(seconds, 3), **numbers}
    write_json(record_path(request.segmentation), {**content, **record})
    log.info(
        f"{numbers['bins']:,} bins in {numbers['segments']:,} segments of {request.states} states: "
        f"{request.segmentation} ({seconds:.1f} s)"
    )


def decode(
    request: Request,
    model: StateModel,
    arrays: Mapping[str, Any],
    bin_ranges: Sequence[BinRange],
    manifest: EmbeddingsManifest,
) -> tuple[Segmentation, StateSums, int]:
    """States of all bins, sums of the embedding over the bins of each, and how many bins with data have none."""
    found: Segmentation = []
    left_out = 0
    embedding = StateSums(request.states, manifest.size)
    with progress("segmenting bins", sum(each.bins for each in bin_ranges)) as bar:
        for bin_range in bin_ranges:
            decoded = decode_range(model, arrays[bin_range.chrom], bin_range)
            states = without_short(decoded, request.min_bins)
            left_out += int(((decoded != NO_STATE) & (states == NO_STATE)).sum())
            found.append((bin_range, states))
            for part, own in parts_of(bin_range, states, block_bins(manifest.size, 1)):
                embedding.add(own, read_rows(request.embeddings, arrays[part.chrom], part.first, part.last))
            bar.advance(bin_range.bins)
    if left_out:
        log.warning(
            f"{left_out:,} bins have no segment: they lie in intervals with data shorter than --min-bins "
            f"{request.min_bins}"
        )
    return found, embedding, left_out


def matching_matrix(folder: Path, embeddings: EmbeddingsManifest) -> MatrixManifest:
    """Manifest of the matrix that embeddings were made from.

    Raises
    ------
    DataError
        It is not one of the same bins; another matrix of the same bins is logged.
    """
    matrix = read_manifest(folder, MatrixManifest)
    same = (matrix.assembly, matrix.bin_size) == (embeddings.assembly, embeddings.bin_size)
    ends = [(chrom, start, min(end, matrix.chromosome_sizes[chrom])) for chrom, start, end in matrix.regions]
    if not same or ends != embeddings.regions:
        raise DataError(
            f"--matrix {folder}: its bins are not those of the embeddings; give the matrix they were made of"
        )
    if fingerprint(folder) != embeddings.matrix_fingerprint:
        log.warning(f"--matrix {folder}: not the matrix that the embeddings were made from, though of the same bins")
    return matrix


def fitted_on(
    bin_ranges: Sequence[BinRange], embeddings: EmbeddingsManifest, matrix: MatrixManifest | None
) -> tuple[list[BinRange], str]:
    """Bin ranges to fit states on, and what they are called: the training chromosomes where they are known, else all.

    Parameters
    ----------
    bin_ranges : sequence of BinRange
        Of the embeddings.
    embeddings : EmbeddingsManifest
        Its split, that of the model, goes before that of the matrix.
    """
    split = embeddings.split or (matrix.split if matrix is not None else None)
    if split is None or not split.train:
        return list(bin_ranges), "all chromosomes (nothing says which of them the model was trained on)"
    training = within(bin_ranges, embeddings.region_list(split.train), embeddings.bin_size)
    if not training:
        trained = listed(split.train, most=3)
        return list(bin_ranges), f"all chromosomes (no region on one that the model was trained on: {trained})"
    return training, "the training chromosomes"


def parts_of(bin_range: BinRange, states: States, size: int) -> Iterator[tuple[BinRange, States]]:
    """Parts of a bin range with their states, that memory holds."""
    for part in bin_range.cut(size):
        yield part, states[part.first - bin_range.first : part.last - bin_range.first]


@dataclass(frozen=True)
class SignalSums:
    """Sums per state and track: of raw signal, as the matrix gives it back, and of the matrix's standardised values."""

    raw: StateSums
    standardised: StateSums


def emissions(matrix: Matrix, found: Segmentation, request: Request) -> SignalSums:
    """Sums of the tracks per state."""
    scaler = read_scaler(matrix.folder, matrix.manifest)
    raw, standardised = (StateSums(request.states, matrix.tracks) for _ in range(2))
    with progress("reading signal", sum(bin_range.bins for bin_range, _ in found)) as bar:
        for bin_range, states in found:
            for part, own in parts_of(bin_range, states, block_bins(matrix.tracks, matrix.manifest.frame_bins)):
                rows = matrix.values(part)
                standardised.add(own, rows)
                raw.add(own, to_signal(rows, scaler))
                bar.advance(part.bins)
    return SignalSums(raw, standardised)


@dataclass(frozen=True)
class Tables:
    """What is known of the states, in their final order: E1 is `order[0]` of the model's.

    Parameters
    ----------
    by : str
        What it goes by.
    quiet : int or None
        State (of the final order) with the least signal.
    embedding : (state, dim) float64 array
        Mean.
    signal, levels : (state, track) float64 array or None
        Mean raw signal, and mean of the standardised values.
    """

    order: list[int]
    by: str
    quiet: int | None
    embedding: NDArray[np.float64]
    tracks: TrackSet
    signal: NDArray[np.float64] | None
    levels: NDArray[np.float64] | None
    enrichment: Enrichment

    @classmethod
    def of(
        cls,
        embedding: StateSums,
        signal: SignalSums | None,
        enrichment: Enrichment,
        annotated: bool,
        tracks: TrackSet,
    ) -> Tables:
        """Put the states in order: by enrichment at TSS +-2 kb if it is known, else the alike beside each other."""
        means = embedding.means
        levels = None if signal is None else np.arcsinh(np.nan_to_num(signal.raw.means))
        if annotated:
            near = np.nan_to_num(enrichment.folds[:, enrichment.features.index("TSS_2kb")], nan=-1)
            order, by = np.argsort(-near, kind="stable").tolist(), "TSS_2kb"
        else:
            order, by = order_by_similarity(np.nan_to_num(means) if levels is None else levels), "similarity"
        quiet = None
        if levels is not None:
            quiet = order.index(int(np.where(embedding.bins > 0, levels.mean(axis=1), np.inf).argmin()))
        return cls(
            order,
            by,
            quiet,
            means[order],
            tracks,
            None if signal is None else signal.raw.means[order],
            None if signal is None else signal.standardised.means[order],
            enrichment.ordered(order),
        )


@dataclass(frozen=True)
class StateKey:
    """What a state is called and how it looks: the row of the key that states.tsv, the manifest and the picture have.

    `label` is its kind of chromatin state and `marks` the assays it carries, with their mean standardised signal; both
    are empty where nothing is known of them, and the colour is then arbitrary.
    """

    name: str
    colour: Colour
    label: str
    marks: str


def key_of(tables: Tables) -> list[StateKey]:
    """Names and colours of the states, by the signal that they carry where the tracks determine them."""
    names = [f"E{number}" for number in range(1, len(tables.order) + 1)]
    if tables.levels is None:
        colours = arbitrary_colours(len(names), tables.quiet)
        return [StateKey(name, colour, "", "") for name, colour in zip(names, colours, strict=True)]
    marks, kinds = marks_of(tables.tracks, tables.levels), kinds_of(tables.tracks, tables.levels)
    if kinds is None:
        colours = arbitrary_colours(len(names), tables.quiet)
        return [StateKey(*each) for each in zip(names, colours, [""] * len(names), marks, strict=True)]
    return [
        StateKey(f"{name}_{kind.mnemonic}", kind.colour, kind.name, carried)
        for name, kind, carried in zip(names, kinds, marks, strict=True)
    ]


def write_segmentation(
    folder: Path,
    manifest: EmbeddingsManifest,
    found: Segmentation,
    tables: Tables,
    key: Sequence[StateKey],
    transitions: NDArray[np.float64] | None,
) -> dict[str, int]:
    """Write every file but the manifest; what comes back counts bins and segments."""
    states = len(tables.order)
    names, colours = [each.name for each in key], [each.colour for each in key]
    final = np.full(256, NO_STATE, np.uint8)
    final[tables.order] = np.arange(states)
    lengths: list[list[int]] = [[] for _ in names]
    with open(folder / "segmentation.bed", "w", encoding="ascii", newline="\n") as bed:
        bed.write(f'track name="Epi-LSTM states" description="{_described(key)}" visibility=1 itemRgb="On"\n')
        for segment in _segments(found, final, manifest):
            bed.write(bed9_line(segment, names, colours))
            lengths[segment.state].append(segment.end - segment.start)
    bases = tables.enrichment.bases
    rows = [
        [
            ",".join(map(str, each.colour)),
            each.label or "NA",
            each.marks or "NA",
            int(bases[place]),
            bases[place] / bases.sum(),
            len(own),
            float(np.median(own)) if own else 0.0,
        ]
        for place, (each, own) in enumerate(zip(key, lengths, strict=True))
    ]
    header = ["state", "rgb", "label", "marks", "bases", "share", "segments", "median_length"]
    _write_table(folder / "states.tsv", header, names, rows)
    dimensions = manifest.names
    _write_table(folder / "embedding.tsv", ["state", *dimensions], names, tables.embedding.tolist())
    if tables.signal is not None:
        _write_table(folder / "emissions.tsv", ["state", *tables.tracks.names], names, tables.signal.tolist())
    enrichment = tables.enrichment
    if enrichment.features:
        percent = 100 * bases / bases.sum()
        content = [[p, *folds] for p, folds in zip(percent.tolist(), enrichment.folds.tolist(), strict=True)]
        content.append([100.0, *(100 * enrichment.shares).tolist()])
        header = ["state", "genome_percent", *enrichment.features]
        _write_table(folder / "enrichment.tsv", header, [*names, "Base"], content)
    if transitions is not None:
        ordered = transitions[np.ix_(tables.order, tables.order)]
        _write_table(folder / "transitions.tsv", ["state", *names], names, ordered.tolist())
    draw_heatmap(
        folder / "states.png",
        [f"{each.name}: {each.label}" if each.label else each.name for each in key],
        colours,
        bases / bases.sum(),
        None if tables.signal is None else (tables.tracks, tables.signal),
        (enrichment.features, enrichment.folds) if enrichment.features else None,
    )
    bins = sum(int((own != NO_STATE).sum()) for _, own in found)
    return {"bins": bins, "segments": sum(map(len, lengths))}


def _described(key: Sequence[StateKey]) -> str:
    if any(each.label for each in key):
        return "Epi-LSTM segmentation, in the colours of Roadmap chromatin states"
    return "Epi-LSTM segmentation, in arbitrary colours"


def _segments(found: Segmentation, final: NDArray[np.uint8], manifest: EmbeddingsManifest) -> Iterator[Segment]:
    for bin_range, states in found:
        size = manifest.chromosome_sizes[bin_range.chrom]
        yield from segments_of(bin_range, final[states], manifest.bin_size, size)


def _write_table(path: Path, header: Sequence[str], names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    def text(value: Any) -> str:
        if not isinstance(value, float):
            return str(value)
        return "NA" if np.isnan(value) else f"{value:.6g}"

    lines = ["\t".join(header), *("\t".join([name, *map(text, row)]) for name, row in zip(names, rows, strict=True))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def manifest_of(
    request: Request,
    manifest: EmbeddingsManifest,
    tables: Tables,
    key: Sequence[StateKey],
    sampled: int,
    chromosomes: list[str],
) -> dict[str, Any]:
    """What the folder says of itself."""
    return {
        "format": SEGMENTATION_FORMAT,
        "assembly": manifest.assembly,
        "bin_size": manifest.bin_size,
        "method": request.method,
        "states": request.states,
        "ordered_by": tables.by,
        "key": [
            {"state": each.name, "rgb": list(each.colour), "label": each.label, "marks": each.marks} for each in key
        ],
        "tracks": described(tables.tracks),
        "min_bins": request.min_bins,
        "seed": request.seed,
        "fitted_bins": sampled,
        "fitted_chromosomes": chromosomes,
        "embeddings_fingerprint": fingerprint(request.embeddings),
        "matrix_fingerprint": None if request.matrix is None else fingerprint(request.matrix),
        "annotation_sha256": None if request.annotation is None else sha256_file(request.annotation),
    }
