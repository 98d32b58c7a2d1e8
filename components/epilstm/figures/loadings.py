"""Correlation of the dimensions of an embedding with the tracks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from epilstm.figures.drawing import NO_DATA, Layout, Plot, color_bar, literal, mark_levels, name_dimensions, new_figure
from epilstm.figures.sample import SampledBins
from epilstm.figures.track_choice import by_assay
from epilstm.genome.bin_range import BinRange
from epilstm.representations.features import Representation
from epilstm.store.manifests import dimension_names
from epilstm.store.matrix import Matrix
from epilstm.store.moments import Moments
from epilstm.tracks.identity import TrackSet

if TYPE_CHECKING:
    from epilstm.model.config import ModelConfig

#: More tracks than this have no name of their own below the map.
TRACKS_NAMED = 60


def shown_context(config: ModelConfig, shown: int) -> int:
    """How many of the dimensions shown describe the context; of a model by cell type, only some may be shown."""
    return shown * config.context_size // config.embedding_size


def loadings_plot(sample: SampledBins, context_size: int = 0) -> Plot:
    """Correlation of every dimension with every track; the last `context_size` dimensions describe the context."""
    tracks = sample.matrix.manifest.track_set
    values, _ = correlations(sample.embedding, sample.matrix, sample.intervals)
    names = sample.embedding.names
    return Plot(
        partial(loadings_figure, values, tracks, context_size=context_size, dimensions=names),
        "Correlation (Pearson) of each dimension of the embedding with each track's standardised signal, tracks by "
        f"assay; {sample.described}. The sign of a dimension is a convention.",
        f"Heat map of the correlation of each of the {len(values)} dimensions of the embedding with each of the "
        f"{len(tracks)} tracks.",
        partial(_numbers, values, names, tracks),
    )


def _numbers(values: NDArray[np.float64], names: Sequence[str], tracks: TrackSet) -> list[dict[str, Any]]:
    return [
        {"dimension": names[at], "track": track, "correlation": float(row[column])}
        for at, row in enumerate(values)
        for column, track in enumerate(tracks.names)
    ]


def correlations(
    representation: Representation, matrix: Matrix, intervals: Sequence[BinRange]
) -> tuple[NDArray[np.float64], int]:
    """Pearson correlation of every dimension with every track, over the bins with data of some intervals.

    Returns
    -------
    correlation : (size, tracks) float64 array
        Of the standardised signal; NaN for a constant dimension or track.
    bins : int
        Bins with data.
    """
    size = representation.size
    moments = Moments(size + matrix.tracks)
    for interval in intervals:
        mask = matrix.mask(interval)
        moments.add(np.concatenate([representation.block(interval)[mask], matrix.rows(interval)[mask]], axis=1))
    products = moments.about(moments.mean)
    squares = np.diag(products).copy()
    # What is left of a constant column is the rounding of its sums.
    squares[squares <= 1e-9 * np.maximum(np.diag(moments.products), 1e-30)] = np.nan
    scale = np.sqrt(squares)
    return np.clip(products[:size, size:] / np.outer(scale[:size], scale[size:]), -1, 1), moments.count


def loadings_figure(
    correlation: NDArray[np.float64],
    tracks: TrackSet,
    layout: Layout,
    context_size: int = 0,
    dimensions: Sequence[str] = (),
) -> Figure:
    """(size, tracks) correlations, tracks grouped by assay; red rises with the track, blue falls."""
    groups = by_assay(tracks)
    labels = {
        name: " ".join((each.cell_type, *each.fields[2:]))
        for name, each in zip(tracks.names, tracks.identities, strict=True)
    }
    ordered = [name for names in groups.values() for name in names]
    columns = [tracks.names.index(name) for name in ordered]
    dimensions = dimensions or dimension_names(len(correlation))
    size, named = len(correlation), len(ordered) <= TRACKS_NAMED and not layout.narrow
    figure = new_figure(layout, float(np.clip(0.26 * size, 1.6, 7)) + (1.5 if named or layout.narrow else 1.1))
    axes = figure.subplots()
    image = axes.imshow(
        np.ma.masked_invalid(correlation[:, columns]), aspect="auto", vmin=-1, vmax=1, interpolation="none",
        cmap=mpl.colormaps["RdBu_r"].with_extremes(bad=NO_DATA), extent=(0, len(ordered), size - 0.5, -0.5),
    )  # fmt: skip
    axes.set_ylabel("embedding dimension")
    name_dimensions(axes, dimensions, 25)
    mark_levels(axes, dimensions, context_size)
    if named:
        axes.set_xticks(np.arange(len(ordered)) + 0.5, [literal(labels[name]) for name in ordered], rotation=90)
    else:
        axes.set_xticks([])
    ends = np.cumsum([len(names) for names in groups.values()])
    for edge in ends[:-1]:
        axes.axvline(edge, color="white", linewidth=2)
    above = axes.secondary_xaxis("top")
    middles = ends - np.array([len(names) for names in groups.values()]) / 2
    crowded = 0.075 * sum(len(assay) + 2 for assay in groups) > layout.width * 0.85
    above.set_xticks(middles, [literal(assay) for assay in groups], rotation=90 if crowded else 0)
    for each in (axes, above):
        each.tick_params(length=0)
    for side in above.spines.values():
        side.set_visible(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    color_bar(figure, image, axes, layout, "correlation (Pearson)")
    return figure
