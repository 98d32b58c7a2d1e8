"""How the values of each dimension of an embedding are spread."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from epilstm.figures.drawing import QUIET, Layout, Plot, color_bar, name_dimensions, new_figure, round_ticks
from epilstm.figures.html import number
from epilstm.figures.sample import SampledBins
from epilstm.store.manifests import dimension_names

#: More dimensions than this are a heat map.
RIDGES = 32

#: Range drawn, in standard deviations of a dimension, and the histogram's cells.
LIMIT, CELLS = 5.0, 200

COLOR = "#0072B2"

QUARTILES = (25, 50, 75)


def density_plot(sample: SampledBins) -> Plot:
    """How the values of each dimension are spread."""
    values = sample.values()
    size, names = values.shape[1], sample.embedding.names
    how = "every ridge to its own height; bar: quartiles, dot: median" if size <= RIDGES else "one row per dimension"
    return Plot(
        partial(density_figure, values, names=names),
        f"Density of each dimension's values, {how}; {sample.described}.",
        f"Density of the values of each of the {size} dimensions of the embedding.",
        partial(_numbers, values, names),
    )


def _numbers(values: NDArray[np.float32], names: Sequence[str]) -> list[dict[str, Any]]:
    quartiles = np.percentile(values, QUARTILES, axis=0)
    return [
        {
            "dimension": names[at], "mean": float(column.mean(dtype=np.float64)),
            "standard_deviation": float(column.std(dtype=np.float64)),
            **{f"quantile_{q}": float(quartiles[row, at]) for row, q in enumerate(QUARTILES)},
            "minimum": float(column.min()), "maximum": float(column.max()), "bins": len(column),
        }
        for at, column in enumerate(values.T)
    ]  # fmt: skip


def densities(values: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Density of each column, in its standard scores.

    Parameters
    ----------
    values : (bins, size) float32 array

    Returns
    -------
    edges : (CELLS + 1,) float64 array
        From ``-LIMIT`` to `LIMIT`; values beyond are in no cell.
    density : (size, CELLS) float64 array
        Share of the bins per standard deviation; a constant column has all of it at 0.
    """
    edges = np.linspace(-LIMIT, LIMIT, CELLS + 1)
    mean, spread = values.mean(axis=0, dtype=np.float64), values.std(axis=0, dtype=np.float64)
    scores = (values - mean) / np.where(spread > 1e-12, spread, 1)
    counts = np.stack([np.histogram(column, edges)[0] for column in scores.T])
    return edges, counts / max(len(values), 1) / (edges[1] - edges[0])


def density_figure(values: NDArray[np.float32], layout: Layout, names: Sequence[str] = ()) -> Figure:
    """One ridge per dimension of (bins, size) values with its quartiles; of many, a row of a heat map each."""
    edges, density = densities(values)
    size = len(density)
    draw = _ridges if size <= RIDGES else _heat_map
    figure = draw(values, names or dimension_names(size), edges, density, layout)
    axes = figure.axes[0]
    axes.set(xlabel="value (standard deviations from the dimension's mean)", ylabel="embedding dimension")
    if layout.narrow:
        axes.set_xlabel("value (standard deviations)")
    axes.xaxis.set_major_locator(round_ticks(10))
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    return figure


def _ridges(
    values: NDArray[np.float32],
    names: Sequence[str],
    edges: NDArray[np.float64],
    density: NDArray[np.float64],
    layout: Layout,
) -> Figure:
    size = len(density)
    figure = new_figure(layout, 0.9 + 0.3 * size)
    axes = figure.subplots()
    centers = (edges[:-1] + edges[1:]) / 2
    smooth = np.stack([np.convolve(row, _KERNEL, mode="same") for row in density])
    # A spike must not flatten the others, so each ridge has its own height.
    heights = 1.25 * smooth / np.maximum(smooth.max(axis=1, keepdims=True), 1e-12)
    mean, spread = values.mean(axis=0, dtype=np.float64), values.std(axis=0, dtype=np.float64)
    quartiles = (np.percentile(values, QUARTILES, axis=0) - mean) / np.where(spread > 1e-12, spread, 1)
    for row in range(size):
        base = row
        axes.fill_between(
            centers, base, base - heights[row], facecolor=COLOR, alpha=0.55, edgecolor="white", linewidth=0.9,
            zorder=row + 2,
        )  # fmt: skip
        low, middle, high = quartiles[:, row]
        axes.plot([low, high], [base - 0.08] * 2, color="#12344d", linewidth=2.2, solid_capstyle="butt", zorder=100)
        axes.plot([middle], [base - 0.08], "o", color="white", markeredgecolor="#12344d", markersize=4.2, zorder=101)
        axes.annotate(
            f"{number(float(mean[row]), 2)} ± {number(float(spread[row]), 2)}", (1, base - 0.12),
            xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=7.5, color=QUIET, zorder=102,
        )  # fmt: skip
    name_dimensions(axes, names, RIDGES)
    axes.set_ylim(size - 0.75, -1.45)
    axes.set_xlim(-LIMIT, LIMIT)
    axes.grid(axis="x")
    axes.set_title("mean ± standard deviation", loc="right", fontsize=8, color=QUIET, weight="normal")
    return figure


def _heat_map(
    values: NDArray[np.float32],
    names: Sequence[str],
    edges: NDArray[np.float64],
    density: NDArray[np.float64],
    layout: Layout,
) -> Figure:
    size = len(density)
    figure = new_figure(layout, float(np.clip(0.06 * size, 3.2, 8)))
    axes = figure.subplots()
    image = axes.imshow(
        np.ma.masked_less_equal(density, 0), aspect="auto", cmap=mpl.colormaps["viridis"].with_extremes(bad="#f2f2f2"),
        norm=LogNorm(1e-3, 2), interpolation="none", extent=(edges[0], edges[-1], size - 0.5, -0.5),
    )  # fmt: skip
    name_dimensions(axes, names, 25)
    color_bar(figure, image, axes, layout, "density (share of bins per standard deviation)", extend="both")
    return figure


def _kernel() -> NDArray[np.float64]:
    width = 2.0  # cells
    weights = np.exp(-0.5 * np.square(np.arange(-6, 7) / width))
    return np.asarray(weights / weights.sum(), dtype=np.float64)


_KERNEL = _kernel()
