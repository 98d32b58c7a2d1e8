"""Stretches of held-out chromosomes that stand for all of them in figures of single bins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from epilstm.errors import DataError
from epilstm.representations.features import Embedding, PrincipalComponents, RawTracks, Representation
from epilstm.representations.pca import Moments, Pca, fit_pca
from epilstm.store.matrix import Block, Matrix

#: Bins of a stretch at most (200 kb of 25-bp bins), and of all stretches together unless more are asked for.
STRETCH_BINS = 8_000
SAMPLE_BINS = 100_000

#: Bins of the training chromosomes that the PCA of figures is fitted on.
PCA_BINS = 200_000


def spread_stretches(matrix: Matrix, places: Sequence[str], bins: int = SAMPLE_BINS) -> list[Block]:
    """Stretches of about equal length, spread evenly over the regions in some places of the genome.

    Parameters
    ----------
    matrix : Matrix
    places : sequence of str
        See `epilstm.store.manifests.Manifest.region_list`.
    bins : int
        Bins of all stretches together, about; less where the places have less.

    Raises
    ------
    DataError
        The places have no regions.
    """
    stretches: list[Block] = []
    for region in matrix.regions_in(places):
        if region.bins:
            edges = np.linspace(region.first, region.last, -(-region.bins // STRETCH_BINS) + 1).astype(int).tolist()
            stretches += [Block(region.chrom, first, last) for first, last in pairwise(edges)]
    if not stretches:
        known = ", ".join(dict.fromkeys(region.chrom for region in matrix.regions))
        raise DataError(f"no regions on {', '.join(places) or 'no chromosome'}; the matrix has them on {known}")
    mean = sum(stretch.bins for stretch in stretches) / len(stretches)
    wanted = min(len(stretches), max(1, round(bins / mean)))
    return [stretches[at] for at in np.unique(np.linspace(0, len(stretches) - 1, wanted).round().astype(int))]


def sampled_pca(matrix: Matrix, bins: int = PCA_BINS) -> Pca:
    """Principal components of stretches of the matrix's training chromosomes; of all, where it has no split.

    Raises
    ------
    DataError
        They have no bins with data.
    """
    moments = Moments(matrix.tracks)
    chromosomes = matrix.manifest.split.train or matrix.manifest.chromosomes
    for stretch in spread_stretches(matrix, chromosomes, bins):
        moments.add(matrix.rows(stretch)[matrix.mask(stretch)])
    return fit_pca(moments)


def compared(matrix: Matrix, embedding: Embedding) -> dict[str, Representation]:
    """What figures of single bins compare: the embedding, the raw tracks, and PCA of the embedding's size.

    PCA with as many components as there are tracks is the raw tracks, turned, and is left out.
    """
    found: dict[str, Representation] = {"embedding": embedding, "raw": RawTracks(matrix)}
    if embedding.size < matrix.tracks:
        found["pca"] = PrincipalComponents(matrix, sampled_pca(matrix), embedding.size)
    return found


def rows_with_data(
    representation: Representation, matrix: Matrix, stretches: list[Block]
) -> Iterator[NDArray[np.float32]]:
    """(bins with data, size) values of each stretch."""
    for stretch in stretches:
        yield representation.block(stretch)[matrix.mask(stretch)]
