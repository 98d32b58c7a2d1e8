"""Intervals spread over the genome: figures of single bins are drawn from them, and resample them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from epilstm.errors import DataError, ParamsError
from epilstm.files.outputs import fingerprint
from epilstm.genome.bin_range import BinRange
from epilstm.genome.name_matching import listed, those_there
from epilstm.representations.features import Embedding, PrincipalComponents, RawTracks, Representation
from epilstm.representations.pca import Pca, fit_pca
from epilstm.store.manifests import Split
from epilstm.store.matrix import Matrix
from epilstm.store.moments import Moments

#: Bins of an interval at most (200 kb of 25-bp bins), and of all intervals together unless more are asked for.
INTERVAL_BINS = 8_000
SAMPLE_BINS = 100_000

#: Bins of the training chromosomes that the PCA of figures is fitted on.
PCA_BINS = 200_000

#: Resamples of the intervals, and the percentiles at the ends of a confidence interval.
RESAMPLES = 500
PERCENTILES = (2.5, 97.5)
SEED = 1


@dataclass(frozen=True)
class SampledBins:
    """An embedding, its matrix, and the intervals that stand for the chromosomes chosen."""

    matrix: Matrix
    embedding: Embedding
    chromosomes: list[str]
    intervals: list[BinRange]

    @cached_property
    def bins(self) -> int:
        """Bins with data."""
        return sum(int(self.matrix.mask(interval).sum()) for interval in self.intervals)

    @property
    def where(self) -> str:
        """Where the bins lie, for a caption."""
        places = listed(self.chromosomes)
        split = split_known(self.matrix, self.embedding)
        if split is None:
            return places
        noun = "region" if self.matrix.manifest.bins_by_use else "chromosome"
        for use, chosen in (("test", split.test), ("validation", split.validation), ("training", split.train)):
            if self.chromosomes and set(self.chromosomes) <= set(chosen):
                return f"{use} {noun}{'s' if len(self.chromosomes) > 1 else ''} {places}"
        return places

    @property
    def described(self) -> str:
        """Where, and how many, for a caption."""
        count = len(self.intervals)
        return f"{self.where}, n = {self.bins:,} bins with data in {count} interval{'s' if count > 1 else ''}"

    def values(self) -> NDArray[np.float32]:
        """(bins with data, size) embeddings."""
        return np.concatenate(list(rows_with_data(self.embedding, self.matrix, self.intervals)))


def read_sample(
    matrix_folder: Path,
    embeddings: Path,
    chromosomes: Sequence[str] = (),
    bins: int = SAMPLE_BINS,
    cell_type: str | None = None,
) -> SampledBins:
    """Open a matrix and its embeddings, and choose intervals.

    No `chromosomes` take the test chromosomes, or all where none is known to be one; about `bins` bins are chosen. Of
    embeddings by cell type, the code of `cell_type` alone is read where one is given.

    Raises
    ------
    DataError
        A folder is unusable, the two are of different runs, or fewer than two bins have data.
    ParamsError
        A chromosome that the matrix has no regions on.
    """
    matrix = Matrix(matrix_folder)
    embedding = Embedding(matrix, embeddings, cell_type)
    if embedding.manifest.matrix_fingerprint != fingerprint(matrix_folder):
        raise DataError(f"{embeddings}: these embeddings were made from another matrix than {matrix_folder}")
    known = matrix.manifest.chromosomes
    for chrom in chromosomes:
        if chrom not in matrix.manifest.bin_ranges:
            raise ParamsError(
                f"--chromosome {chrom}: the matrix has no regions there; it has {those_there(chrom, known)}"
            )
    split = split_known(matrix, embedding)
    held_out = [] if split is None else matrix.manifest.places_with_regions(split.test)
    chosen = list(dict.fromkeys(chromosomes)) or held_out or known
    sample = SampledBins(matrix, embedding, chosen, spread_intervals(matrix, chosen, bins))
    if sample.bins < 2:
        raise DataError(f"{sample.where}: fewer than two bins with data; choose other chromosomes")
    return sample


def split_known(matrix: Matrix, embedding: Embedding) -> Split | None:
    """Places that the embedding's model was trained on, and held out; None where no manifest has them."""
    own = matrix.manifest.split
    return embedding.manifest.split or (own if own.train else None)


def spread_intervals(matrix: Matrix, places: Sequence[str], bins: int = SAMPLE_BINS) -> list[BinRange]:
    """Intervals of about equal length, spread evenly over the regions in some places of the genome.

    `places` are as in `epilstm.store.manifests.Manifest.region_list`; `bins` is the number of bins of all intervals
    together, about; fewer where the places have fewer.

    Raises
    ------
    DataError
        The places have no regions.
    """
    intervals: list[BinRange] = []
    for region in matrix.regions_in(places):
        if region.bins:
            edges = np.linspace(region.first, region.last, -(-region.bins // INTERVAL_BINS) + 1).astype(int).tolist()
            intervals += [BinRange(region.chrom, first, last) for first, last in pairwise(edges)]
    if not intervals:
        known = listed(list(dict.fromkeys(region.chrom for region in matrix.regions)))
        raise DataError(f"no regions on {listed(places) or 'no chromosome'}; the matrix has them on {known}")
    mean = sum(interval.bins for interval in intervals) / len(intervals)
    wanted = min(len(intervals), max(1, round(bins / mean)))
    return [intervals[at] for at in np.unique(np.linspace(0, len(intervals) - 1, wanted).round().astype(int))]


def compared(matrix: Matrix, embedding: Embedding) -> dict[str, Representation]:
    """What figures of single bins compare: the embedding, the raw tracks, and PCA of the embedding's size.

    PCA with as many components as there are tracks has the distances of the raw tracks, and is left out.
    """
    found: dict[str, Representation] = {"embedding": embedding, "raw": RawTracks(matrix)}
    if embedding.size < matrix.tracks:
        found["pca"] = PrincipalComponents(matrix, sampled_pca(matrix), embedding.size)
    return found


def sampled_pca(matrix: Matrix, bins: int = PCA_BINS) -> Pca:
    """Principal components of intervals of the matrix's training chromosomes; of all, where it has no split.

    Raises
    ------
    DataError
        They have no bins with data.
    """
    moments = Moments(matrix.tracks)
    chromosomes = matrix.manifest.split.train or matrix.manifest.chromosomes
    for interval in spread_intervals(matrix, chromosomes, bins):
        moments.add(matrix.rows(interval)[matrix.mask(interval)])
    return fit_pca(moments)


def rows_with_data(
    representation: Representation, matrix: Matrix, intervals: list[BinRange]
) -> Iterator[NDArray[np.float32]]:
    """(bins with data, size) values of each interval."""
    for interval in intervals:
        yield representation.block(interval)[matrix.mask(interval)]


def bootstrap(
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]], intervals: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ends of the 95% confidence interval of a statistic, when intervals of the genome are resampled.

    Parameters
    ----------
    statistic : callable
        From (resamples, intervals) weights, how often each interval was drawn, to (resamples, n) values; NaN where
        undefined.
    """
    drawn = np.random.default_rng(SEED).integers(intervals, size=(RESAMPLES, intervals))
    weights = np.stack([np.bincount(each, minlength=intervals) for each in drawn]).astype(np.float64)
    values = statistic(weights)
    low, high = np.full((2, values.shape[1]), np.nan)
    known = np.isfinite(values).any(axis=0)
    low[known], high[known] = np.nanpercentile(values[:, known], PERCENTILES, axis=0)
    return low, high
