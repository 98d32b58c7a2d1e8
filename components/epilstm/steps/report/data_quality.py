"""Data quality: each chromosome's bins, and each track's signal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from epilstm.genome.assembly import Region
from epilstm.store.distributions import quantiles
from epilstm.store.manifests import MatrixManifest, ReferenceHistograms, Scaler

#: A larger share of bins without data is pointed out.
MUCH_WITHOUT_DATA = 0.2
#: Chromosomes with a row of their own, at most: the shorter ones of more are one row for each use.
CHROMOSOME_ROWS = 100
#: A track with a larger share of bins next to zero is pointed out.
MOSTLY_ZERO = 0.99


@dataclass(frozen=True)
class ChromosomeData:
    """Bins of a chromosome's regions, those with data in any track, and what they are used for.

    Of many chromosomes the shorter ones are put together by their use; `chrom` then says how many they are.
    """

    chrom: str
    use: str
    bins: int
    with_data: int

    @property
    def share(self) -> float:
        """Share of the regions' bins that have data."""
        return self.with_data / self.bins if self.bins else 0.0


@dataclass(frozen=True)
class TrackData:
    """Signal of a track on the training chromosomes.

    `mean` and `sd` are of the transformed signal, `median` and `high` (99th percentile) of the signal itself, to the
    width of a histogram bin; `near_zero` is the share of bins with an absolute signal below that width.
    """

    name: str
    transform: str
    mean: float
    sd: float
    near_zero: float
    median: float
    high: float


@dataclass(frozen=True)
class DataQuality:
    """Chromosomes, tracks, and warnings to read before anything else."""

    chromosomes: list[ChromosomeData]
    tracks: list[TrackData]
    remarks: list[str]


def data_quality(matrix: MatrixManifest, scaler: Scaler, histograms: ReferenceHistograms) -> DataQuality:
    """Quality of a matrix's data, from its own counts; `histograms` are of its tracks."""
    uses = regions_by_use(matrix)
    chromosomes = [
        ChromosomeData(
            chrom,
            used_for(uses, Region(chrom, 0, matrix.chromosome_sizes[chrom])) or "not used",
            sum(last - first for first, last in matrix.bin_ranges[chrom]),
            matrix.bins_with_data[chrom],
        )
        for chrom in matrix.chromosomes
    ]
    tracks = _tracks(scaler, histograms)
    return DataQuality(_shortened(chromosomes), tracks, _remarks(chromosomes, tracks))


def _shortened(chromosomes: list[ChromosomeData]) -> list[ChromosomeData]:
    """The longest chromosomes in their order, and the others together, a row for each use."""
    if len(chromosomes) <= CHROMOSOME_ROWS:
        return chromosomes
    longest = set(sorted(range(len(chromosomes)), key=lambda place: -chromosomes[place].bins)[:CHROMOSOME_ROWS])
    own, others = list[ChromosomeData](), dict[str, list[ChromosomeData]]()
    for place, each in enumerate(chromosomes):
        (own if place in longest else others.setdefault(each.use, [])).append(each)
    return own + [
        ChromosomeData(
            f"{len(together):,} shorter chromosome{'' if len(together) == 1 else 's'}",
            use,
            sum(each.bins for each in together),
            sum(each.with_data for each in together),
        )
        for use, together in others.items()
    ]


def regions_by_use(matrix: MatrixManifest) -> dict[str, dict[str, list[Region]]]:
    """Regions by what their bins are used for and by chromosome."""
    found: dict[str, dict[str, list[Region]]] = {}
    for use, places in (
        ("training", matrix.split.train),
        ("validation", matrix.split.validation),
        ("test", matrix.split.test),
    ):
        by_chrom = found.setdefault(use, {})
        for region in matrix.region_list(places):
            by_chrom.setdefault(region.chrom, []).append(region)
    return found


def used_for(uses: Mapping[str, Mapping[str, Sequence[Region]]], region: Region) -> str:
    """What the bins of a region are used for, such as "training" or "training and test"; empty if for nothing.

    Parameters
    ----------
    uses : mapping
        As from `regions_by_use`.
    """
    found = [
        use
        for use, by_chrom in uses.items()
        if any(each.start < region.end and region.start < each.end for each in by_chrom.get(region.chrom, ()))
    ]
    return f"{', '.join(found[:-1])} and {found[-1]}" if len(found) > 1 else "".join(found)


def _tracks(scaler: Scaler, histograms: ReferenceHistograms) -> list[TrackData]:
    counts = np.array(histograms.counts, dtype=np.int64)
    edges = np.array(histograms.edges)
    total = np.maximum(counts.sum(axis=1), 1)
    # The histogram bins on either side of 0; signal is rarely negative.
    zero = int(np.searchsorted(edges, 0.0, side="right")) - 1
    near_zero = counts[:, max(zero - 1, 0) : zero + 1].sum(axis=1) / total
    middle, high = np.sinh(quantiles(counts, edges, (0.5, 0.99))).T
    return [
        TrackData(*values)
        for values in zip(
            scaler.tracks,
            scaler.transforms,
            scaler.mean,
            scaler.scale,
            near_zero.tolist(),
            middle.tolist(),
            high.tolist(),
            strict=True,
        )
    ]


def _remarks(chromosomes: list[ChromosomeData], tracks: list[TrackData]) -> list[str]:
    remarks = []
    bins, with_data = (sum(getattr(each, name) for each in chromosomes) for name in ("bins", "with_data"))
    if bins and 1 - with_data / bins > MUCH_WITHOUT_DATA:
        remarks.append(
            f"{1 - with_data / bins:.0%} of the bins in the regions have no data in any track: the embedding there "
            "follows from their neighbours alone."
        )
    empty = [each.name for each in tracks if each.near_zero > MOSTLY_ZERO]
    if empty:
        named = ", ".join(empty[:5]) + (f" and {len(empty) - 5} more" if len(empty) > 5 else "")
        remarks.append(
            f"{'One track has' if len(empty) == 1 else f'{len(empty)} tracks have'} next to no signal in more than "
            f"{MOSTLY_ZERO:.0%} of the bins ({named}): check that it is the right file."
        )
    return remarks
