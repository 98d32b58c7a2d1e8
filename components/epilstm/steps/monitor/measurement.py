"""One pass over the sampled bins of the new data and of the reference: everything that is counted and summed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from epilstm.genome.bin_range import BinRange
from epilstm.model.reconstruction import ReconstructionError
from epilstm.steps.monitor.similarity import CrossProducts
from epilstm.store.distributions import Counts, counts_of
from epilstm.store.manifests import ReferenceHistograms, Scaler
from epilstm.store.matrix import Matrix
from epilstm.store.moments import Moments
from epilstm.store.signal import SignalReader
from epilstm.store.standardisation import missing_where_uncovered, standardise, stored, to_signal

Floats = NDArray[np.float64]
Rows = NDArray[np.float32]

#: Blocks by the chromosome, or the group of short ones, that they are counted for.
Groups = Mapping[str, Sequence[BinRange]]


@dataclass(frozen=True)
class RunModel:
    """A trained network as two functions of consecutive standardised bins (bin, track).

    Parameters
    ----------
    size : int
        Numbers per bin in the embedding.
    margin : int
        Bins on either side after which where a bin range begins and ends no longer matters.
    frame : int
        Bins per frame; what is run begins with one.
    """

    embed: Callable[[NDArray[np.float16]], Rows]
    reconstruct: Callable[[NDArray[np.float16]], Rows]
    size: int
    margin: int = 0
    frame: int = 1

    def around(self, block: BinRange, regions: Iterable[BinRange]) -> BinRange:
        """What must be run for a block of one of the regions; as their first bins, frames begin at its multiples."""
        framed = [BinRange(each.chrom, each.first // self.frame * self.frame, each.last) for each in regions]
        return block.widened(framed, self.margin, self.frame)


@dataclass(frozen=True)
class NoData:
    """What stands for no data in each track.

    Parameters
    ----------
    values : (track,) float32 array
        arcsinh(signal): 0, or the track's mean where its uncovered bases are missing.
    left_out : (track,) bool array
        The latter: in these no data is not counted among the values.
    """

    values: Rows
    left_out: NDArray[np.bool_]


@dataclass
class Tally:
    """Counts of the sampled bins with data of one chromosome (or group of them), for the tracks of one data set.

    Parameters
    ----------
    counts : (track, histogram bin) int64 array
        Histogram of arcsinh(signal); no data counts as a signal of 0, or not at all where uncovered bases are missing.
    zeros, missing : (track,) int64 array
        Bins with a signal of 0 (or none, where that counts as 0), and bins without data. A matrix does not distinguish
        the two where no data counts as 0: `missing` is 0 there.
    maybe_missing : (track,) int64 array
        `missing` where no data is left out, else `zeros`: what may be without data.
    bins : int
        Bins with data in any track.
    error : ReconstructionError or None
        Of the model's tracks.
    """

    counts: Counts
    zeros: NDArray[np.int64]
    missing: NDArray[np.int64]
    maybe_missing: NDArray[np.int64]
    bins: int = 0
    error: ReconstructionError | None = None
    embedding: Moments | None = None

    @classmethod
    def empty(cls, tracks: int, histogram_bins: int) -> Tally:
        """Nothing counted yet."""
        zeros, missing, maybe_missing = np.zeros((3, tracks), np.int64)
        return cls(np.zeros((tracks, histogram_bins), np.int64), zeros, missing, maybe_missing)

    def add(self, values: Rows, edges: Floats, no_data: NoData) -> None:
        """Count arcsinh(signal) of some bins, (bin, track); NaN is no data, and what stands for it is put in place."""
        without_data = np.isnan(values)
        zeros = (values == 0).sum(axis=0)
        missing = without_data.sum(axis=0)
        np.copyto(values, no_data.values, where=without_data)
        zeros[~no_data.left_out] += missing[~no_data.left_out]
        counts = counts_of(values, edges)
        if no_data.left_out.any():
            counts -= no_data.left_out[:, None] * missing[:, None] * counts_of(no_data.values[None], edges)
        self.missing += missing
        self.zeros += zeros
        self.maybe_missing += np.where(no_data.left_out, missing, zeros)
        self.counts += counts
        self.bins += len(values)

    def add_model(self, model: RunModel, rows: NDArray[np.float16], before: int, mask: NDArray[np.bool_]) -> None:
        """Run the model over consecutive bins; of those that follow the first `before`, those of `mask` count."""
        if self.error is None or self.embedding is None:
            self.error, self.embedding = ReconstructionError.empty(rows.shape[1]), Moments(model.size)
        block = slice(before, before + len(mask))
        self.error.add(rows[block], model.reconstruct(rows)[block], mask)
        self.embedding.add(model.embed(rows)[block][mask])


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

    @cached_property
    def training(self) -> Counts:
        """Histogram of each track, (track, histogram bin), over the training chromosomes."""
        return np.array(self.histograms.counts, np.int64)

    @cached_property
    def no_data(self) -> NoData:
        """What stands for no data in each track."""
        left_out = missing_where_uncovered(self.scaler)
        return NoData(np.where(left_out, self.middle, 0).astype(np.float32), left_out)

    @cached_property
    def middle(self) -> Rows:
        """arcsinh(signal), (track,), where a track's matrix is 0."""
        middle = np.array(self.scaler.mean, np.float32)
        others, scaler = self._others
        if len(others):
            middle[others] = np.arcsinh(to_signal(np.zeros(len(others)), scaler))
        return middle

    @cached_property
    def on_axis(self) -> Scaler:
        """Mean and standard deviation of arcsinh(signal), whatever a track's transform, over the training data."""
        mean, scale = np.array(self.scaler.mean), np.array(self.scaler.scale)
        others, _ = self._others
        if len(others):
            counts = self.training[others].astype(np.float64)
            shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
            middles = (self.edges[1:] + self.edges[:-1]) / 2
            mean[others] = shares @ middles
            variance = shares @ np.square(middles) - np.square(mean[others])
            scale[others] = np.sqrt(np.maximum(variance, np.square(self.edges[1] - self.edges[0]) / 12))
        return self.scaler.model_copy(update={"transform": "arcsinh", "mean": mean.tolist(), "scale": scale.tolist()})

    @cached_property
    def _others(self) -> tuple[NDArray[np.int64], Scaler]:
        """Columns that do not hold arcsinh(signal), and their scaler."""
        others = np.flatnonzero(np.array(self.scaler.transforms) != "arcsinh")
        return others, self.scaler.select(others.tolist())

    def arcsinh(self, rows: Rows) -> Rows:
        """Standardised rows as arcsinh(signal), with NaN for what is known to be no data.

        What was a signal of 0 is exactly 0 again.
        """
        mean, scale = (np.array(values, np.float32) for values in (self.scaler.mean, self.scaler.scale))
        values: Rows = rows * scale + mean
        others, scaler = self._others
        if len(others):
            values[:, others] = np.arcsinh(to_signal(rows[:, others], scaler))
        values[rows == (-mean / scale).astype(np.float16).astype(np.float32)] = 0
        if self.no_data.left_out.any():
            values[(rows == 0) & self.no_data.left_out] = np.nan
        return values

    def standardised(self, signal: Rows, columns: Sequence[int]) -> NDArray[np.float16]:
        """Raw signal of some of the tracks as rows of the matrix."""
        return stored(standardise(signal, self.scaler.select(columns)))

    def no_data_in(self, signal: SignalReader) -> NoData:
        """What stands for no data in each of the new tracks: what does in that of its name, if there is one."""
        values, left_out = np.zeros(len(signal.tracks), np.float32), np.zeros(len(signal.tracks), bool)
        for row, track in enumerate(signal.manifest.tracks):
            name = signal.tracks[row]
            if name in self.tracks:
                place = self.tracks.index(name)
                values[row], left_out[row] = self.no_data.values[place], self.no_data.left_out[place]
            elif track.uncovered == "missing":
                covered, total, _ = np.sum(list(track.moments.values()), axis=0)
                mean = Scaler(tracks=[name], transform=track.transform, mean=[total / max(covered, 1)], scale=[1])
                values[row], left_out[row] = np.arcsinh(to_signal(np.zeros(1), mean))[0], True
        return NoData(values, left_out)


def measure_same_bins(
    reference: Reference,
    signal: SignalReader,
    groups: Groups,
    model: RunModel | None,
    advance: Callable[[int], None],
) -> Measurement:
    """Count both over the same bins, those where the reference has data.

    The model sees the reference's rows with the new tracks in place of those of their name.

    Parameters
    ----------
    groups : mapping of str to sequence of BinRange
        Blocks that both have, by the chromosome or group of chromosomes that they are counted for.
    model : RunModel or None
        None leaves the model's statistics out.
    advance : callable
        Called with the bins of each block done.
    """
    new, old = signal.tracks, reference.tracks
    columns = {row: old.index(name) for row, name in enumerate(new) if name in old}
    rows_of, columns_of = list(columns), list(columns.values())
    run = model if columns else None
    done, no_data = Measurement(), reference.no_data_in(signal)
    like, among = CrossProducts(len(new), len(old)), CrossProducts(len(old), len(old))
    bins = len(reference.edges) - 1
    for chrom, group in groups.items():
        new_tally, old_tally = Tally.empty(len(new), bins), Tally.empty(len(old), bins)
        here = CrossProducts(len(new), len(old))
        for block in group:
            wide = block if run is None else run.around(block, reference.matrix.regions_on(block.chrom))
            mask, all_rows = reference.matrix.mask(block), reference.matrix.rows(wide)
            rows = all_rows[block.first - wide.first :][: block.bins]
            # Beyond the new data's own region, what is around them stays the reference's.
            near = block.widened(signal.regions_on(block.chrom), max(block.first - wide.first, wide.last - block.last))
            near = BinRange(block.chrom, max(near.first, wide.first), min(near.last, wide.last))
            near_values = signal.signal(near)
            values = near_values[block.first - near.first :][: block.bins]
            known, was = np.arcsinh(values[mask]), reference.arcsinh(rows[mask])
            new_tally.add(known, reference.edges, no_data)
            old_tally.add(was, reference.edges, reference.no_data)
            centred = was - reference.middle
            here.add(known, centred)
            among.add(centred, centred)
            if run is not None:
                before, first = all_rows.astype(np.float16), block.first - wide.first
                old_tally.add_model(run, before, first, mask)
                after = before.copy()
                there = slice(near.first - wide.first, near.last - wide.first)
                after[there, columns_of] = reference.standardised(near_values[:, rows_of], columns_of)
                new_tally.add_model(run, after, first, mask)
            advance(block.bins)
        like.include(here)
        own = np.full(len(new), np.nan)
        own[rows_of] = here.correlation()[rows_of, columns_of]
        done.new[chrom], done.old[chrom], done.own[chrom] = new_tally, old_tally, own
    done.like, done.reference = like.correlation(), among.correlation()
    return done


def measure_reference(
    reference: Reference, groups: Groups, model: RunModel | None, advance: Callable[[int], None]
) -> Measurement:
    """Count the reference alone; parameters as for `measure_same_bins`."""
    done, old = Measurement(), reference.tracks
    among = CrossProducts(len(old), len(old))
    for chrom, group in groups.items():
        tally, here = Tally.empty(len(old), len(reference.edges) - 1), CrossProducts(len(old), len(old))
        for block in group:
            wide = block if model is None else model.around(block, reference.matrix.regions_on(block.chrom))
            mask, all_rows = reference.matrix.mask(block), reference.matrix.rows(wide)
            rows = all_rows[block.first - wide.first :][: block.bins]
            values = reference.arcsinh(rows[mask])
            tally.add(values, reference.edges, reference.no_data)
            values -= reference.middle
            here.add(values, values)
            if model is not None:
                tally.add_model(model, all_rows.astype(np.float16), block.first - wide.first, mask)
            advance(block.bins)
        among.include(here)
        done.old[chrom], done.reference_by_chromosome[chrom] = tally, here.correlation()
    done.reference = among.correlation()
    return done


def add_elsewhere(
    done: Measurement,
    reference: Reference,
    signal: SignalReader,
    groups: Groups,
    model: RunModel | None,
    advance: Callable[[int], None],
) -> None:
    """Count new data on bins that the reference does not have, those where the new data have any.

    The model sees the new tracks alone, and so needs all of its own among them.

    Parameters
    ----------
    done : Measurement
        Of the reference; the new data are added.
    reference, signal, groups, model, advance
        As for `measure_same_bins`.
    """
    new, old = signal.tracks, reference.tracks
    rows_of = [new.index(name) for name in old if name in new]
    run = model if len(rows_of) == len(old) else None
    like, no_data = CrossProducts(len(new), len(new)), reference.no_data_in(signal)
    for chrom, group in groups.items():
        tally = Tally.empty(len(new), len(reference.edges) - 1)
        for block in group:
            wide = block if run is None else run.around(block, signal.regions_on(block.chrom))
            mask, all_values = signal.mask(block), signal.signal(wide)
            known = np.arcsinh(all_values[block.first - wide.first :][: block.bins][mask])
            tally.add(known, reference.edges, no_data)
            like.add(known, known)
            if run is not None:
                rows = reference.standardised(all_values[:, rows_of], range(len(old)))
                tally.add_model(run, rows, block.first - wide.first, mask)
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
        np.sum([tally.maybe_missing for tally in each], axis=0),
        sum(tally.bins for tally in each),
    )
