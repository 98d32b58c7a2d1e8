"""One pass over the sampled bins of the new data and of the reference: everything that is counted and summed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from epilstm.datasets import ReferenceHistograms, Scaler
from epilstm.evaluate.matrix import Block, Matrix
from epilstm.evaluate.pca import Moments
from epilstm.model.reconstruction import ReconstructionError
from epilstm.monitor.distributions import Counts, counts_of
from epilstm.monitor.signal_reader import SignalReader
from epilstm.monitor.similarity import CrossProducts

Floats = NDArray[np.float64]
Rows = NDArray[np.float32]

#: Largest finite float16, beyond which a matrix holds nothing.
LARGEST = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class RunModel:
    """A trained network as two functions of consecutive standardised bins (bin, track)."""

    embed: Callable[[NDArray[np.float16]], Rows]
    reconstruct: Callable[[NDArray[np.float16]], Rows]
    size: int


@dataclass
class Tally:
    """Counts of one chromosome's sampled bins with data, for the tracks of one data set.

    Parameters
    ----------
    counts : (track, histogram bin) int64 array
        Histogram of arcsinh(signal); no data counts as a signal of 0.
    zeros, missing : (track,) int64 array
        Bins with a signal of 0 or none, and those of them without data. A matrix cannot tell the two apart: `missing`
        is 0 there.
    bins : int
        Bins with data in any track.
    error : ReconstructionError or None
        Of the model's tracks.
    embedding : Moments or None
    """

    counts: Counts
    zeros: NDArray[np.int64]
    missing: NDArray[np.int64]
    bins: int = 0
    error: ReconstructionError | None = None
    embedding: Moments | None = None

    @classmethod
    def empty(cls, tracks: int, histogram_bins: int) -> Tally:
        """Nothing counted yet."""
        return cls(np.zeros((tracks, histogram_bins), np.int64), np.zeros(tracks, np.int64), np.zeros(tracks, np.int64))

    def add(self, values: Rows, edges: Floats) -> None:
        """Count arcsinh(signal) of some bins, (bin, track); NaN is no data, and becomes 0 in place."""
        missing = np.isnan(values)
        values[missing] = 0
        self.missing += missing.sum(axis=0)
        self.zeros += (values == 0).sum(axis=0)
        self.counts += counts_of(values, edges)
        self.bins += len(values)

    def add_model(self, model: RunModel, rows: NDArray[np.float16], mask: NDArray[np.bool_]) -> None:
        """Run the model over consecutive bins; those of `mask` count."""
        if self.error is None or self.embedding is None:
            self.error, self.embedding = ReconstructionError.empty(rows.shape[1]), Moments(model.size)
        self.error.add(rows, model.reconstruct(rows), mask)
        self.embedding.add(model.embed(rows)[mask])


@dataclass
class Measurement:
    """What was counted, by chromosome, and how tracks correlate.

    `own` is, by chromosome, the correlation of each new track with the reference track of its name, over the same bins.
    `like` is of the new tracks with those of the reference over the same bins, or else with each other; `reference` is
    of the reference tracks with each other, and `reference_by_chromosome` the same chromosome by chromosome.
    """

    new: dict[str, Tally] = field(default_factory=dict)
    old: dict[str, Tally] = field(default_factory=dict)
    own: dict[str, Floats] = field(default_factory=dict)
    like: Floats = field(default_factory=lambda: np.empty((0, 0)))
    reference: Floats = field(default_factory=lambda: np.empty((0, 0)))
    reference_by_chromosome: dict[str, Floats] = field(default_factory=dict)


@dataclass(frozen=True)
class Reference:
    """The data that a model was trained on.

    Parameters
    ----------
    matrix : Matrix
    scaler : Scaler
    histograms : ReferenceHistograms
        Over the training chromosomes.
    """

    matrix: Matrix
    scaler: Scaler
    histograms: ReferenceHistograms

    @property
    def tracks(self) -> list[str]:
        """Track names in the order of columns."""
        return self.matrix.manifest.tracks

    @property
    def edges(self) -> Floats:
        """Edges of the histograms of arcsinh(signal)."""
        return np.array(self.histograms.edges)

    def ranges(self) -> dict[str, list[tuple[int, int]]]:
        """First and one-past-last bin of each region, by chromosome."""
        regions = groupby(self.matrix.regions, key=lambda region: region.chrom)
        return {chrom: [(region.first, region.last) for region in group] for chrom, group in regions}

    def arcsinh(self, rows: Rows) -> Rows:
        """Standardised rows back to arcsinh(signal); what was a signal of 0 is exactly 0 again."""
        mean, scale = (np.array(values, np.float32) for values in (self.scaler.mean, self.scaler.scale))
        values: Rows = rows * scale + mean
        values[rows == (-mean / scale).astype(np.float16).astype(np.float32)] = 0
        return values

    def standardised(self, values: Rows, columns: Sequence[int]) -> NDArray[np.float16]:
        """arcsinh(signal) of some of the tracks as rows of the matrix."""
        mean, scale = (np.array(each, np.float32)[list(columns)] for each in (self.scaler.mean, self.scaler.scale))
        rows: Rows = np.clip((values - mean) / scale, -LARGEST, LARGEST)
        return rows.astype(np.float16)


def measure_same_bins(
    reference: Reference,
    signal: SignalReader,
    blocks: Sequence[Block],
    model: RunModel | None,
    advance: Callable[[int], None],
) -> Measurement:
    """Count both over the same bins, those where the reference has data.

    The model sees the reference's rows with the new tracks in place of those of their name.

    Parameters
    ----------
    reference : Reference
    signal : SignalReader
    blocks : sequence of Block
        In both, chromosome by chromosome.
    model : RunModel or None
        None leaves the model's statistics out.
    advance : callable
        Told the bins of each block done.
    """
    new, old = signal.tracks, reference.tracks
    columns = {row: old.index(name) for row, name in enumerate(new) if name in old}
    rows_of, columns_of = list(columns), list(columns.values())
    run = model if columns else None
    done = Measurement()
    like, among = CrossProducts(len(new), len(old)), CrossProducts(len(old), len(old))
    bins = len(reference.edges) - 1
    for chrom, group in groupby(blocks, key=lambda block: block.chrom):
        ours, theirs = Tally.empty(len(new), bins), Tally.empty(len(old), bins)
        here = CrossProducts(len(new), len(old))
        for block in group:
            mask, rows = reference.matrix.mask(block), reference.matrix.rows(block)
            values = signal.arcsinh(block)
            known, was = values[mask], reference.arcsinh(rows[mask])
            ours.add(known, reference.edges)
            theirs.add(was, reference.edges)
            centred = was - np.array(reference.scaler.mean, np.float32)
            here.add(known, centred)
            among.add(centred, centred)
            if run is not None:
                before = rows.astype(np.float16)
                theirs.add_model(run, before, mask)
                after = before.copy()
                np.nan_to_num(values, copy=False, nan=0.0)
                after[:, columns_of] = reference.standardised(values[:, rows_of], columns_of)
                ours.add_model(run, after, mask)
            advance(block.bins)
        like.include(here)
        own = np.full(len(new), np.nan)
        own[rows_of] = here.correlation()[rows_of, columns_of]
        done.new[chrom], done.old[chrom], done.own[chrom] = ours, theirs, own
    done.like, done.reference = like.correlation(), among.correlation()
    return done


def measure_reference(
    reference: Reference, blocks: Sequence[Block], model: RunModel | None, advance: Callable[[int], None]
) -> Measurement:
    """Count the reference alone; parameters as for `measure_same_bins`."""
    done, old = Measurement(), reference.tracks
    among = CrossProducts(len(old), len(old))
    for chrom, group in groupby(blocks, key=lambda block: block.chrom):
        tally, here = Tally.empty(len(old), len(reference.edges) - 1), CrossProducts(len(old), len(old))
        for block in group:
            mask, rows = reference.matrix.mask(block), reference.matrix.rows(block)
            values = reference.arcsinh(rows[mask])
            tally.add(values, reference.edges)
            values -= np.array(reference.scaler.mean, np.float32)
            here.add(values, values)
            if model is not None:
                tally.add_model(model, rows.astype(np.float16), mask)
            advance(block.bins)
        among.include(here)
        done.old[chrom], done.reference_by_chromosome[chrom] = tally, here.correlation()
    done.reference = among.correlation()
    return done


def add_elsewhere(
    done: Measurement,
    reference: Reference,
    signal: SignalReader,
    blocks: Sequence[Block],
    model: RunModel | None,
    advance: Callable[[int], None],
) -> None:
    """Count new data on bins that the reference does not have, those where the new data have any.

    The model sees the new tracks alone, and so needs all of its own among them.

    Parameters
    ----------
    done : Measurement
        Of the reference; the new data are added.
    reference, signal, blocks, model, advance
        As for `measure_same_bins`.
    """
    new, old = signal.tracks, reference.tracks
    rows_of = [new.index(name) for name in old if name in new]
    run = model if len(rows_of) == len(old) else None
    like = CrossProducts(len(new), len(new))
    for chrom, group in groupby(blocks, key=lambda block: block.chrom):
        tally = Tally.empty(len(new), len(reference.edges) - 1)
        for block in group:
            mask, values = signal.mask(block), signal.arcsinh(block)
            known = values[mask]
            tally.add(known, reference.edges)
            like.add(known, known)
            if run is not None:
                np.nan_to_num(values, copy=False, nan=0.0)
                tally.add_model(run, reference.standardised(values[:, rows_of], range(len(old))), mask)
            advance(block.bins)
        done.new[chrom] = tally
    done.like = like.correlation()


def whole(tallies: Mapping[str, Tally]) -> Tally:
    """Counts of several chromosomes together; without the model's."""
    each = list(tallies.values())
    return Tally(
        np.sum([tally.counts for tally in each], axis=0),
        np.sum([tally.zeros for tally in each], axis=0),
        np.sum([tally.missing for tally in each], axis=0),
        sum(tally.bins for tally in each),
    )
