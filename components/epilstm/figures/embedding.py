"""The embedding along a window of the genome."""

from __future__ import annotations

import warnings

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from epilstm.figures.drawing import NO_DATA, Layout, mark_levels, name_dimensions, new_figure
from epilstm.figures.reconstruction import position_axis
from epilstm.figures.window import Window

#: Standard deviations at which the colours end.
LIMIT = 3.0


#: Columns of the heat map, at most: about one per CSS pixel.
COLUMNS, COLUMNS_NARROW = 900, 360


def averaged(values: NDArray[np.float32], columns: int) -> NDArray[np.float32]:
    """Means over runs of neighbouring bins, so that at most `columns` runs remain.

    Parameters
    ----------
    values : (bins, size) float32 array
    columns : int

    Returns
    -------
    (runs, size) float32 array
        NaN where at least half of a run's bins are NaN. Runs have the same length, except the last.
    """
    length = -(-len(values) // columns)
    padded = np.full((-(-len(values) // length) * length, values.shape[1]), np.nan, np.float32)
    padded[: len(values)] = values
    runs = padded.reshape(-1, length, values.shape[1])
    known = np.isfinite(runs).sum(axis=1)
    mean = np.where(np.isfinite(runs), runs, 0).sum(axis=1) / np.maximum(known, 1)
    in_run = np.full(len(runs), length)
    in_run[-1] = len(values) - (len(runs) - 1) * length
    return np.where(2 * known > in_run[:, None], mean, np.nan).astype(np.float32)


def standard_scores(embedding: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each dimension with mean 0 and standard deviation 1 over the window; NaN stays NaN, a constant becomes 0.

    Parameters
    ----------
    embedding : (bins, size) float32 array
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a window without any data has no mean
        mean, spread = np.nanmean(embedding, axis=0), np.nanstd(embedding, axis=0)
    return np.asarray((embedding - mean) / np.where(spread > 1e-12, spread, 1), dtype=np.float32)


def embedding_figure(window: Window, layout: Layout, context_size: int = 0) -> Figure:
    """Dimensions over bins, the last `context_size` marked; colours are standard scores, grey is no data."""
    size = window.embedding.shape[1]
    figure = new_figure(layout, float(np.clip(0.2 * size, 1.2, 6)) + (1.5 if layout.narrow else 0.8))
    axes = figure.subplots()
    colors = mpl.colormaps["RdBu_r"].with_extremes(bad=NO_DATA)
    scores = averaged(standard_scores(window.embedding), COLUMNS_NARROW if layout.narrow else COLUMNS)
    edges = window.edges / 1e6
    run_width = -(-len(window.embedding) // (COLUMNS_NARROW if layout.narrow else COLUMNS)) * (edges[1] - edges[0])
    image = axes.imshow(
        np.ma.masked_invalid(scores.T),
        aspect="auto",
        cmap=colors,
        vmin=-LIMIT,
        vmax=LIMIT,
        interpolation="none",
        extent=(edges[0], edges[0] + len(scores) * run_width, size - 0.5, -0.5),
    )
    axes.set_ylabel("embedding dimension")
    name_dimensions(axes, size, 25)
    mark_levels(axes, size, context_size)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    position_axis(axes, window, layout)
    bar = figure.colorbar(
        image,
        ax=axes,
        extend="both",
        location="bottom" if layout.narrow else "right",
        fraction=0.08,
        pad=0.03 if layout.narrow else 0.015,
        aspect=30 if layout.narrow else 18,
        label="standard score in this window",
    )
    bar.outline.set_visible(False)
    return figure
