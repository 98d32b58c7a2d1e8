"""From what was counted to the statistics of each track, each with what it is where nothing is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from epilstm.steps.monitor.limits import enough
from epilstm.steps.monitor.measurement import Measurement, Reference, Tally
from epilstm.steps.monitor.similarity import assay_means, margin
from epilstm.steps.monitor.track_matching import TrackMatching
from epilstm.store.distributions import (
    cells_of,
    kolmogorov_smirnov,
    population_stability_index,
    scale_shift,
    signal_to_noise,
    transformed_lead,
)
from epilstm.tracks.signal_transform import Transform

Floats = NDArray[np.float64]
ByChromosome = dict[str, Floats]

#: Statistics of `differences`.
DISTRIBUTION = ("psi", "kolmogorov_smirnov", "scale", "signal_to_noise", "transformed", "zeros", "missing")

#: Chromosomes with fewer sampled bins with data have no verdict of their own, unless all are that short.
CHROMOSOME_BINS = 5_000

#: Tracks of an assay that correlate by less among each other say nothing about a further one.
LEAST_CORRELATION = 0.1


@dataclass(frozen=True)
class Score:
    """One statistic of all new tracks.

    Parameters
    ----------
    value : (track,) array
        NaN where there is nothing to say.
    by_chromosome : dict of str to (track,) array
    null : list of array
        For each track, what the statistic is where nothing is wrong; empty where the params alone decide.
    """

    value: Floats
    by_chromosome: ByChromosome
    null: list[Floats]


@dataclass(frozen=True)
class Side:
    """Distributions of some tracks on one side of a comparison.

    Parameters
    ----------
    counts : (track, histogram bin) int64 array
    zeros, missing, maybe_missing : (track,) array
        Share of bins without signal, of those without data, and of those that may be; see `Tally`.
    """

    counts: NDArray[np.int64]
    zeros: Floats
    missing: Floats
    maybe_missing: Floats

    @classmethod
    def of(cls, tallies: Sequence[Tally]) -> Side:
        """Of some chromosomes together."""
        bins = max(sum(tally.bins for tally in tallies), 1)
        return cls(
            np.sum([tally.counts for tally in tallies], axis=0),
            np.sum([tally.zeros for tally in tallies], axis=0) / bins,
            np.sum([tally.missing for tally in tallies], axis=0) / bins,
            np.sum([tally.maybe_missing for tally in tallies], axis=0) / bins,
        )

    def pooled(self, groups: Sequence[Sequence[int]]) -> Side:
        """Tracks put together, one pool per group."""
        each = [list(group) for group in groups]
        return Side(
            np.array([self.counts[group].sum(axis=0) for group in each]),
            np.array([self.zeros[group].mean() for group in each]),
            np.array([self.missing[group].mean() for group in each]),
            np.array([self.maybe_missing[group].mean() for group in each]),
        )


def differences(
    new: Side, known: Side, cells: Sequence[Sequence[int]], edges: Floats, transforms: Sequence[Transform]
) -> dict[str, Floats]:
    """Statistics between the distributions of the same number of tracks on either side, (track,) each."""
    noise = signal_to_noise(new.counts, edges) - signal_to_noise(known.counts, edges)
    return {
        "psi": population_stability_index(new.counts, known.counts, cells),
        "kolmogorov_smirnov": kolmogorov_smirnov(new.counts, known.counts, cells),
        "scale": scale_shift(new.counts, known.counts, edges),
        "signal_to_noise": noise,
        # Less depth can look like a transform in the quantiles, but leaves signal to noise as it is.
        "transformed": np.minimum(transformed_lead(new.counts, known.counts, edges, transforms), -noise),
        "zeros": new.zeros - known.zeros,
        # A matrix holds 0 where there were no data, so what was 0 there may be missing here.
        "missing": np.maximum(new.missing - known.maybe_missing, 0),
    }


def distribution_scores(
    done: Measurement, reference: Reference, matching: TrackMatching, same_bins: bool, false_alarms: float
) -> dict[str, Score]:
    """Statistics of the distribution of signal: the median over chromosomes.

    Over the same bins, a chromosome is compared with itself, so that its content cancels. Elsewhere, it is compared
    with the training chromosomes together, and the difference of one of the reference's chromosomes from its others is
    what is usual. Tracks that the reference lacks are compared with those of their assay put together, and the
    difference of one of these from its others is what is usual.

    Parameters
    ----------
    same_bins : bool
        Whether both were counted over the same bins.
    false_alarms : float
        As for `epilstm.steps.monitor.limits.limits`.
    """
    training, edges, transforms = reference.training, reference.edges, reference.scaler.transforms
    new, old = long_enough(done.new), long_enough(done.old)
    rows = [row for row in range(len(matching.new)) if matching.against(row) != "nothing"]
    if not rows:
        return {}
    groups = [matching.group(row) for row in rows]
    of_groups = [transforms[group[0]] for group in groups]
    cells = cells_of_groups(reference, groups)
    everywhere = Side.of(list(old.values()))
    of_training = replace(everywhere, counts=training)
    by_chromosome = {
        chrom: differences(
            Side.of([tally]).pooled([[row] for row in rows]),
            (Side.of([done.old[chrom]]) if same_bins else of_training).pooled(groups),
            cells,
            edges,
            of_groups,
        )
        for chrom, tally in new.items()
    }
    usual = {
        kind: usual_differences(old, reference, matching.peers if kind == "assay" else None, same_bins)
        for kind in {matching.against(row) for row in rows}
        if not (kind == "itself" and same_bins)
    }
    scores = {}
    for name in DISTRIBUTION:
        values = {chrom: spread(each[name], rows, len(matching.new)) for chrom, each in by_chromosome.items()}
        null = [
            enough([usual[kind][name][:, like].ravel() for like in matching.likes(row)], false_alarms)
            if (kind := matching.against(row)) in usual
            else np.empty(0)
            for row in range(len(matching.new))
        ]
        scores[name] = Score(median(values), values, null)
    return scores


def cells_of_groups(reference: Reference, groups: Sequence[Sequence[int]]) -> list[list[int]]:
    """Cells of the histograms of groups of tracks, each put together."""
    return [
        cells_of(reference.training[list(group)].sum(axis=0), reference.edges, reference.scaler.transforms[group[0]])
        for group in groups
    ]


def usual_differences(
    old: Mapping[str, Tally], reference: Reference, peers: Sequence[Sequence[int]] | None, same_bins: bool
) -> dict[str, Floats]:
    """The statistics of the reference's own tracks, (any, track) each; NaN where there is nothing to compare with.

    Parameters
    ----------
    old : mapping of str to Tally
        The reference by chromosome.
    peers : sequence of sequence of int, optional
        For each track those that it is compared with; without it, each is compared with itself.
    same_bins : bool
        Hold each chromosome against itself and take the median, else each against all others.
    """
    tracks = len(reference.tracks)
    groups = [[track] for track in range(tracks)] if peers is None else peers
    rows = [track for track in range(tracks) if groups[track]]
    chosen = [groups[row] for row in rows]
    cells, transforms = cells_of_groups(reference, chosen), [reference.scaler.transforms[group[0]] for group in chosen]
    found: list[dict[str, Floats]] = []
    for chrom, tally in old.items():
        others = [tally] if same_bins else [each for name, each in old.items() if name != chrom]
        if others and rows:
            here = Side.of([tally]).pooled([[row] for row in rows])
            each = differences(here, Side.of(others).pooled(chosen), cells, reference.edges, transforms)
            found.append({name: spread(values, rows, tracks) for name, values in each.items()})
    names = found[0] if found else DISTRIBUTION
    tables = {name: np.array([each[name] for each in found]).reshape(-1, tracks) for name in names}
    if same_bins and found:
        return {name: median(dict(enumerate(table)))[None] for name, table in tables.items()}
    return tables


def similarity_scores(
    done: Measurement, matching: TrackMatching, same_bins: bool, false_alarms: float
) -> dict[str, Score]:
    """How a track correlates with the one of its name, with others, and with those of its assay.

    Parameters are as for `distribution_scores`.
    """
    count, old_assays = len(matching.new), matching.old_assays
    columns, assays = (matching.old, old_assays) if same_bins else (matching.new, matching.new_assays)
    kinds = list(dict.fromkeys(assays))
    places = [kinds.index(assay) if assay in kinds else None for assay in matching.new_assays]
    means = assay_means(done.like, matching.new, columns, assays)

    old_kinds = list(dict.fromkeys(old_assays))
    of_old = [old_kinds.index(assay) for assay in old_assays]
    of_reference = assay_means(done.reference, matching.old, matching.old, old_assays)
    usual = margin(of_reference, of_old)
    likes = [matching.likes(row)[-2:] for row in range(count)]
    scores = {
        "other_assay": Score(
            margin(means, places), {}, [enough([usual[like] for like in each], false_alarms) for each in likes]
        )
    }
    no_null = [np.empty(0)] * count
    if same_bins:
        own, ahead = np.full(count, np.nan), np.full(count, np.nan)
        for row, place in enumerate(matching.own):
            if place is not None:
                own[row] = done.like[row, place]
                rest = np.delete(done.like[row], place)
                ahead[row] = rest.max() - own[row] if len(rest) else np.nan
        by_chromosome = {chrom: done.own[chrom] for chrom in long_enough(done.new)}
        scores |= {"correlation": Score(own, by_chromosome, no_null), "other_track": Score(ahead, {}, no_null)}

    # What is lost of the correlation with its assay that the reference's tracks of that assay have among each other,
    # as a share of it; where the bins are others, of what the track of its name has.
    with_own = own_assay(of_reference, of_old)
    expected = np.array([_mean(with_own[matching.members(assay)]) for assay in matching.new_assays])
    typical = np.array([_mean(with_own[matching.members(assay)]) for assay in old_assays])
    table = ((typical - with_own) / np.maximum(typical, LEAST_CORRELATION))[None]
    if not same_bins:
        expected = np.array(
            [value if own is None else with_own[own] for value, own in zip(expected, matching.own, strict=True)]
        )
        apart = [
            own_assay(assay_means(each, matching.old, matching.old, old_assays), of_old)
            for each in done.reference_by_chromosome.values()
        ]
        table = np.concatenate([table, (with_own - np.array(apart)) / np.maximum(with_own, LEAST_CORRELATION)])
    lost = (expected - own_assay(means, places)) / np.maximum(expected, LEAST_CORRELATION)
    lost[expected < LEAST_CORRELATION] = np.nan
    if same_bins:  # the track of its name says more
        lost[[place is not None for place in matching.own]] = np.nan
    null = [enough([table[:, like].ravel() for like in matching.likes(row)], false_alarms) for row in range(count)]
    return {**scores, "same_assay": Score(lost, {}, null)}


def _mean(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def model_scores(done: Measurement, matching: TrackMatching, same_bins: bool, false_alarms: float) -> dict[str, Score]:
    """By which factor the share of a track that the model leaves unexplained is larger than it is for the reference.

    Parameters are as for `distribution_scores`.
    """
    new, old = (
        {chrom: unexplained(tally) for chrom, tally in long_enough(each).items() if tally.error is not None}
        for each in (done.new, done.old)
    )
    if not new or not old:
        return {}
    usual = np.median(list(old.values()), axis=0)

    def ratios(now: Floats, before: Floats) -> Floats:
        both = np.full(len(matching.new), np.nan)
        for row, place in enumerate(matching.own):
            if place is not None:
                both[row] = now[place] / before[place]
        return both

    values = {chrom: ratios(now, old[chrom] if same_bins else usual) for chrom, now in new.items()}
    null = [np.empty(0)] * len(matching.new)
    if not same_bins:
        table = np.array(list(old.values())) / usual
        null = [
            enough([table[:, like].ravel() for like in matching.likes(row)], false_alarms) for row in range(len(null))
        ]
    return {"reconstruction": Score(median(values), values, null)}


def unexplained(tally: Tally) -> Floats:
    """Squared error of the model over the track's own spread, for each of the model's tracks; 1 where all is lost."""
    error: Any = tally.error
    # A track that does not vary has nothing to explain; a small floor keeps the ratio finite.
    return np.asarray(error.squared_error / np.maximum(error.spread, 1e-3 * max(error.bins, 1)) + 1e-3)


def own_assay(means: Floats, places: Sequence[int | None]) -> Floats:
    """Of each row, the mean of its own assay."""
    return np.array([np.nan if place is None else means[row, place] for row, place in enumerate(places)])


def long_enough(tallies: Mapping[str, Tally]) -> dict[str, Tally]:
    """Chromosomes with enough bins for a verdict of their own, or all with any if none has."""
    long = {chrom: tally for chrom, tally in tallies.items() if tally.bins >= CHROMOSOME_BINS}
    return long or {chrom: tally for chrom, tally in tallies.items() if tally.bins}


def median(values: Mapping[Any, Floats]) -> Floats:
    """Median over chromosomes, leaving out what is NaN."""
    table = np.array(list(values.values()))
    known = np.isfinite(table).any(axis=0)
    out = np.full(table.shape[1], np.nan)
    out[known] = np.nanmedian(table[:, known], axis=0)
    return out


def spread(values: Floats, rows: Sequence[int], length: int) -> Floats:
    """Values put into their places of a longer array of NaN."""
    out = np.full(length, np.nan)
    out[list(rows)] = values
    return out
