"""What an embedding is like: smoothness, densities, and what its dimensions follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from epilstm.errors import DataError, ParamsError
from epilstm.figures.covariate_correlation import METHODS, covariate_figure
from epilstm.figures.covariates import Method, bigwig_of, correlate, gc_of
from epilstm.figures.density import QUARTILES, density_figure
from epilstm.figures.drawing import look_of
from epilstm.figures.figure_file import Plot
from epilstm.figures.intervals import STRETCH_BINS, compared, rows_with_data, spread_stretches
from epilstm.figures.loadings import correlations, loadings_figure
from epilstm.figures.smoothness import Distance, measure, spaced_lags
from epilstm.figures.smoothness_curves import bases_as_words, smoothness_figure
from epilstm.files.outputs import fingerprint
from epilstm.genome.name_matching import those_there
from epilstm.representations.features import Embedding
from epilstm.store.manifests import Split
from epilstm.store.matrix import Block, Matrix

#: Lengths of window (base pairs) over which an embedding is held against GC content or conservation.
WINDOWS = (25, 1_000, 10_000)


@dataclass(frozen=True)
class EmbeddedBins:
    """An embedding, its matrix, and the stretches that stand for the chromosomes chosen."""

    matrix: Matrix
    embedding: Embedding
    chromosomes: list[str]
    stretches: list[Block]

    @property
    def bins(self) -> int:
        """Bins with data."""
        return sum(int(self.matrix.mask(stretch).sum()) for stretch in self.stretches)

    @property
    def where(self) -> str:
        """Where the bins lie, for a caption."""
        split = split_known(self.matrix, self.embedding)
        if split is None:
            return ", ".join(self.chromosomes)
        kind = next(
            (
                f"{name} {'chromosome' if len(self.chromosomes) == 1 else 'chromosomes'} "
                for name, chosen in (("test", split.test), ("validation", split.validation), ("training", split.train))
                if self.chromosomes and set(self.chromosomes) <= set(chosen)
            ),
            "",
        )
        return f"{kind}{', '.join(self.chromosomes)}"


def read_bins(matrix_folder: Path, embeddings: Path, chromosomes: Sequence[str], bins: int) -> EmbeddedBins:
    """Open a matrix and its embeddings, and choose stretches.

    Parameters
    ----------
    matrix_folder, embeddings : Path
    chromosomes : sequence of str
        Empty takes the test chromosomes, or all where none is known to be one.
    bins : int
        To draw from, about.

    Raises
    ------
    DataError
        A folder is unusable, or the two do not belong together.
    ParamsError
        A chromosome that the matrix has no regions on.
    """
    matrix = Matrix(matrix_folder)
    embedding = Embedding(matrix, embeddings)
    if embedding.manifest.matrix_fingerprint != fingerprint(matrix_folder):
        raise DataError(f"{embeddings}: these embeddings were made from another matrix than {matrix_folder}")
    known = matrix.manifest.chromosomes
    for chrom in chromosomes:
        if chrom not in known:
            raise ParamsError(
                f"--chromosome {chrom}: the matrix has no regions there; it has {those_there(chrom, known)}"
            )
    split = split_known(matrix, embedding)
    held_out = [] if split is None else [place for place in split.test if matrix.regions_in([place])]
    chosen = list(dict.fromkeys(chromosomes)) or held_out or known
    return EmbeddedBins(matrix, embedding, chosen, spread_stretches(matrix, chosen, bins))


def split_known(matrix: Matrix, embedding: Embedding) -> Split | None:
    """What the embedding's model was trained on, and what was held out; None where nothing says so."""
    own = matrix.manifest.split
    return embedding.manifest.split or (own if own.train else None)


def plot_smoothness(data: EmbeddedBins, distance: Distance, max_distance: int) -> Plot:
    """Distance between bins against how far apart they lie, for the embedding, the raw tracks and PCA."""
    size = data.matrix.manifest.bin_size
    longest = max(stretch.bins for stretch in data.stretches)
    largest = min(max_distance // size, longest // 2)
    if largest < 1:
        raise ParamsError(
            f"--max-distance {max_distance}: no two bins to compare; give from {size} to "
            f"{STRETCH_BINS // 2 * size}, and chromosomes with data"
        )
    lags = spaced_lags(largest)
    measured = {
        name: measure(representation, data.matrix, data.stretches, lags, distance)
        for name, representation in compared(data.matrix, data.embedding).items()
    }
    rows = [
        {
            "representation": name, "distance_bp": int(lag) * size, "mean_distance": float(curve.distance[at]),
            "low": float(curve.low[at]), "high": float(curve.high[at]), "pairs": int(curve.pairs[at]),
        }
        for name, curve in measured.items()
        for at, lag in enumerate(curve.lags)
    ]  # fmt: skip
    kind = {"euclidean": "Euclidean", "cosine": "Cosine (about the mean)"}[distance]
    caption = (
        f"{kind} distance between the vectors of two bins, over that of random pairs of bins; {data.where}, "
        f"{data.bins:,} bins in {len(data.stretches)} stretches. Bands: 95% bootstrap intervals over stretches. "
        + (
            f"{look_of('pca').label} has as many components as the embedding has numbers ({data.embedding.size})."
            if "pca" in measured
            else "PCA with as many components as there are tracks has the distances of the raw tracks and is left out."
        )
    )
    return Plot(partial(smoothness_figure, measured, size), caption, rows)


def plot_density(data: EmbeddedBins) -> Plot:
    """How the values of each dimension are spread."""
    values = _values(data)
    caption = (
        f"Density of each dimension's values, every ridge to its own height; bar: quartiles, dot: median; "
        f"{data.where}, n = {len(values):,} bins with data."
    )
    quartiles = np.percentile(values, QUARTILES, axis=0)
    rows = [
        {
            "dimension": f"e{at}", "mean": float(values[:, at].mean(dtype=np.float64)),
            "standard_deviation": float(values[:, at].std(dtype=np.float64)),
            **{f"quantile_{q}": float(quartiles[row, at]) for row, q in enumerate(QUARTILES)},
            "minimum": float(values[:, at].min()), "maximum": float(values[:, at].max()), "bins": len(values),
        }
        for at in range(values.shape[1])
    ]  # fmt: skip
    return Plot(partial(density_figure, values), caption, rows)


def _values(data: EmbeddedBins) -> NDArray[np.float32]:
    values = np.concatenate(list(rows_with_data(data.embedding, data.matrix, data.stretches)))
    if len(values) < 2:
        raise DataError(f"{data.where}: fewer than two bins with data; choose other chromosomes")
    return values


def plot_loadings(data: EmbeddedBins) -> Plot:
    """Correlation of every dimension with every track."""
    tracks = data.matrix.manifest.track_set
    values, bins = correlations(data.embedding, data.matrix, data.stretches)
    if bins < 2:
        raise DataError(f"{data.where}: fewer than two bins with data; choose other chromosomes")
    caption = (
        f"Correlation of each dimension of the embedding with each track's standardised signal; {data.where}, "
        f"n = {bins:,} bins with data. The sign of a dimension is a convention."
    )
    rows = [
        {"dimension": f"e{at}", "track": track, "correlation": float(values[at, column])}
        for at in range(len(values))
        for column, track in enumerate(tracks.names)
    ]
    return Plot(partial(loadings_figure, values, tracks), caption, rows)


def plot_gc(data: EmbeddedBins, fasta: Path, method: Method) -> Plot:
    """Correlation of every dimension with GC content."""
    return _against(data, gc_of(fasta, data.matrix, data.stretches), "GC content", "known bases only", method)


def plot_conservation(data: EmbeddedBins, bigwig: Path, method: Method) -> Plot:
    """Correlation of every dimension with conservation."""
    quantity = bigwig_of(bigwig, data.matrix, data.stretches)
    return _against(data, quantity, "conservation", f"mean of {bigwig.name} over bases with a score", method)


def _against(data: EmbeddedBins, quantity: Sequence[NDArray[np.float32]], name: str, how: str, method: Method) -> Plot:
    size = data.matrix.manifest.bin_size
    longest = max(stretch.bins for stretch in data.stretches)
    lengths = sorted({max(1, window // size) for window in WINDOWS if window <= longest * size // 3} | {1})
    measured = [correlate(data.embedding, quantity, data.matrix, data.stretches, length, method) for length in lengths]
    caption = (
        f"{METHODS[method]} of each dimension of the embedding with {name} ({how}), of means over windows of "
        f"{', '.join(bases_as_words(each.window) for each in measured)}; {data.where}, {len(data.stretches)} "
        "stretches. Lines: 95% bootstrap intervals over stretches. The sign of a dimension means nothing."
    )
    rows = [
        {
            "dimension": f"e{at}", "window_bp": each.window, "correlation": float(each.value[at]),
            "low": float(each.low[at]), "high": float(each.high[at]), "windows": each.windows,
        }
        for each in measured
        for at in range(len(each.value))
    ]  # fmt: skip
    return Plot(partial(covariate_figure, measured, name, method), caption, rows)
