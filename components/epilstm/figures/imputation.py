"""How well hidden tracks are imputed, by each method and measure."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from epilstm.figures.drawing import QUIET, Layout, Plot, name_rows, new_figure
from epilstm.figures.looks import LOOKS
from epilstm.genome.name_matching import listed
from epilstm.store.evaluation_results import IMPUTATION_MEASURES, IMPUTATION_METHODS, Imputation

#: What the methods are called in the figure; a method not named here goes by its own name.
METHODS = {
    "model": "LSTM, tracks hidden",
    "assay_mean": "mean of the assay",
    "avocado": "Avocado-style",
    "avocado_seen": "Avocado-style, had seen",
    "pca": "probabilistic PCA",
    "linear": "linear, other tracks",
    "ridge": "ridge, neighbouring bins",
    "trees": "trees, neighbouring bins",
}

MODEL, BASELINE = LOOKS["embedding"].color, "#7d8792"


def imputation_plot(imputation: Imputation) -> Plot:
    """Errors of imputed tracks, by method and measure."""
    tracks = len(next(iter(imputation.methods.values())).tracks)
    return Plot(
        partial(imputation_figure, imputation),
        f"Mean squared error of imputed tracks, transformed signal; each track was hidden with others in one of "
        f"{len(imputation.folds)} groups; {listed(imputation.chromosomes)}, n = {tracks} tracks, "
        f"{imputation.bins:,} bins. Small points: tracks; large ones: their mean.",
        f"Mean squared error of imputed tracks by {', '.join(methods_drawn(imputation))}.",
        partial(_numbers, imputation),
    )


def _numbers(imputation: Imputation) -> list[dict[str, Any]]:
    return [
        {"method": method, "track": track, "measure": measure, "error": getattr(each, measure)}
        for method, table in imputation.methods.items()
        for track, each in table.tracks.items()
        for measure in IMPUTATION_MEASURES
    ]


def track_errors(imputation: Imputation, method: str, measure: str) -> list[float]:
    """Errors of a method over tracks, in one measure; empty without a gene annotation where it needs one."""
    errors = [getattr(each, measure) for each in imputation.methods[method].tracks.values()]
    return [error for error in errors if error is not None]


def measures_drawn(imputation: Imputation) -> list[str]:
    """Measures that every method has."""
    return [
        measure
        for measure in IMPUTATION_MEASURES
        if all(track_errors(imputation, method, measure) for method in imputation.methods)
    ]


def methods_drawn(imputation: Imputation) -> list[str]:
    """Methods, the model first, in the order of `IMPUTATION_METHODS`, which JSON with sorted keys does not keep."""
    known = list(IMPUTATION_METHODS)
    return sorted(imputation.methods, key=lambda name: known.index(name) if name in known else len(known))


def imputation_figure(imputation: Imputation, layout: Layout) -> Figure:
    """Mean squared error of every method: small points are tracks, large ones their mean."""
    measures, methods = measures_drawn(imputation), methods_drawn(imputation)
    columns = 2 if layout.narrow else 3
    places = -(-len(measures) // columns)
    figure = new_figure(layout, 0.2 + places * (1.05 + 0.24 * len(methods)))
    grid = figure.subplots(places, columns, sharey=True, squeeze=False).ravel()
    for axes, measure in zip(grid, measures, strict=False):
        for row, method in enumerate(methods):
            errors = np.array(track_errors(imputation, method, measure))
            color = MODEL if method == "model" else BASELINE
            axes.plot(errors, np.full(len(errors), row), "o", color=color, markersize=3, alpha=0.35, markeredgewidth=0)
            axes.plot(
                [getattr(imputation.methods[method].overall, measure)], [row], "D" if method == "model" else "s",
                color=color, markeredgecolor="white", markersize=7, zorder=3,
            )  # fmt: skip
        axes.set_title(IMPUTATION_MEASURES[measure])
        axes.set_xlabel("mean squared error")
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 3), numticks=5))
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_formatter(NullFormatter())
        name_rows(axes, [METHODS.get(method, method.replace("_", " ")) for method in methods])
        axes.axhline(0.5, color=QUIET, linewidth=0.6)
    for axes in grid[len(measures) :]:
        axes.set_axis_off()
    return figure
