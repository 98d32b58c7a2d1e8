"""Each method fitted, applied and measured on the same bins."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from benchmarks.segmentation.genes import Genes
from benchmarks.segmentation.measures import counted, precisions
from benchmarks.segmentation.tracks import BinarisedStates, track_rows
from epilstm.errors import DataError
from epilstm.genome.bin_range import BinRange
from epilstm.outputs.segmentation.segmenting import METHODS
from epilstm.outputs.segmentation.segments import without_short
from epilstm.outputs.segmentation.states import KMeansStates, StateModel, States, decode_range, training_sequences
from epilstm.store.bin_ranges import bin_ranges_of, within
from epilstm.store.framed_codes import EmbeddingRows
from epilstm.store.manifests import EmbeddingsManifest, MatrixManifest, read_scaler
from epilstm.store.matrix import Matrix

Rows = Mapping[str, EmbeddingRows]


@dataclass(frozen=True)
class Method:
    """A way to find states.

    Parameters
    ----------
    name : str
        In the table.
    rows : mapping of str to EmbeddingRows
        What it is fitted on and applied to, by chromosome.
    fit : callable
        From sequences, number of states, seed and bin size to a model.
    margin : callable
        From the bin size to the bins around a sequence that fitting needs.
    """

    name: str
    rows: Rows
    fit: Callable[..., StateModel]
    margin: Callable[[int], int]


@dataclass(frozen=True)
class Settings:
    """What all methods have in common."""

    states: int
    seeds: int
    sample_bins: int
    min_bins: int
    threshold: float


@dataclass(frozen=True)
class Measurement:
    """One method with one seed.

    Parameters
    ----------
    method : str
    seed : int
    precisions : dict
        Average precision by use (validation, test) and measure.
    fit_seconds, segment_seconds : float
        Of CPU time, reading included.
    bins : int
        Segmented.
    """

    method: str
    seed: int
    precisions: dict[str, dict[str, float | None]]
    fit_seconds: float
    segment_seconds: float
    bins: int


def methods_of(matrix: Matrix, embeddings: Rows, threshold: float) -> list[Method]:
    """The methods, those on tracks first."""
    tracks = track_rows(matrix)
    bernoulli = partial(BinarisedStates, scaler=read_scaler(matrix.folder, matrix.manifest), threshold=threshold)
    return [
        Method("k-means, raw tracks", tracks, KMeansStates, KMeansStates.sequence_margin),
        Method("Bernoulli HMM, binarised tracks", tracks, bernoulli, BinarisedStates.sequence_margin),
        *(
            Method(f"`{name}`", embeddings, METHODS[name], METHODS[name].sequence_margin)
            for name in ("kmeans", "hmm", "multiscale")
        ),
    ]


def ranges_by_use(embeddings: EmbeddingsManifest, matrix: MatrixManifest) -> dict[str, list[BinRange]]:
    """Bin ranges for training, validation and test, by the matrix's split; uses without any are left out.

    Raises
    ------
    DataError
        There are none to train on, or none beside them.
    """
    ranges = bin_ranges_of(embeddings, ())
    found = {
        use: within(ranges, embeddings.region_list(places), embeddings.bin_size)
        for use, places in matrix.split.model_dump().items()
        if places
    }
    held = {use: own for use, own in found.items() if own}
    if "train" not in held or len(held) < 2:
        raise DataError("the matrix has no split into training and other chromosomes; give one that preprocess split")
    return held


def measured(
    method: Method, ranges: Mapping[str, Sequence[BinRange]], genes: Genes, settings: Settings, seed: int, bin_size: int
) -> Measurement:
    """Fit a method on the training chromosomes, segment all and measure."""
    started = time.process_time()
    sequences = training_sequences(
        method.rows, ranges["train"], settings.sample_bins, "the training chromosomes", method.margin(bin_size)
    )
    model = method.fit(sequences, settings.states, seed, bin_size)
    fitted = time.process_time()
    del sequences
    seconds = 0.0

    def segmented(own: Sequence[BinRange]) -> Iterator[tuple[BinRange, States]]:
        nonlocal seconds
        for bin_range in own:
            begun = time.process_time()
            states = without_short(decode_range(model, method.rows[bin_range.chrom], bin_range), settings.min_bins)
            seconds += time.process_time() - begun
            yield bin_range, states

    counts = {use: counted(segmented(own), genes, settings.states, bin_size) for use, own in ranges.items()}
    training = counts["train"]
    if not training.bins["active_tss"][:, 1].any():
        raise DataError("no active gene starts on the training chromosomes; states cannot be ranked by them")
    return Measurement(
        method.name,
        seed,
        {use: precisions(training, own) for use, own in counts.items() if use != "train"},
        fitted - started,
        seconds,
        int(sum(own.bins["active_tss"].sum() for own in counts.values())),
    )
