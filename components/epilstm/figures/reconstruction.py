"""How well tracks are reconstructed: against PCA of every size, and track by track."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from epilstm.figures.drawing import LINE, Layout, Plot, legend_above, name_rows, new_figure
from epilstm.figures.html import number
from epilstm.figures.looks import RECONSTRUCTION_LOOKS, Look
from epilstm.figures.track_choice import by_assay
from epilstm.store.evaluation_results import Reconstruction
from epilstm.tracks.identity import TrackSet

#: More tracks than this are shown as a distribution per assay, more assays as one distribution.
TRACKS_ONE_BY_ONE = 60
ASSAYS_ONE_BY_ONE = 40

#: An R2 below this is drawn here, at the edge.
LOWEST_R2 = -0.25


def size_plot(reconstruction: Reconstruction) -> Plot:
    """R2 of PCA over its size, and of the model and the untrained encoder at their own sizes."""
    return Plot(
        partial(size_figure, reconstruction),
        "R² of PCA with a growing number of components (fitted on the training data; with as many as "
        "there are tracks it is the raw tracks, and is left out), and the model and the untrained encoder at "
        "their size.",
        f"R² of PCA rising with its size, and the model's R² of {number(reconstruction.models['model'].r2)} at "
        f"{reconstruction.size} numbers per bin.",
    )


def track_plot(reconstruction: Reconstruction, tracks: TrackSet) -> Plot:
    """R2 of every track, or of each assay's tracks where there are many."""
    how = (
        "per track, grouped by assay"
        if len(tracks) <= TRACKS_ONE_BY_ONE
        else "small points are tracks (the model only), large ones the median of an assay's tracks; in brackets, "
        "tracks per assay"
    )
    return Plot(
        partial(track_figure, reconstruction, tracks),
        f"R² on the test data: {how}.",
        f"R² on test data per track for {' and '.join(reconstruction.models)}; the table has the numbers.",
    )


def size_figure(reconstruction: Reconstruction, layout: Layout) -> Figure:
    """R2 of PCA over its size, and of the model and the untrained encoder at their own sizes."""
    figure = new_figure(layout, 3.3 if layout.narrow else 3.2)
    axes = figure.subplots()
    points = [(point.size, point.r2) for point in reconstruction.pca_curve if point.r2 is not None]
    pca = RECONSTRUCTION_LOOKS["pca"]
    if points:
        sizes, r2 = zip(*points, strict=True)
        axes.plot(sizes, np.maximum(r2, LOWEST_R2), color=pca.color, marker=pca.marker, markersize=3.5, label=pca.label)
    for name in ("model", "untrained"):
        score, look = reconstruction.models[name].r2, RECONSTRUCTION_LOOKS[name]
        if score is None:
            continue
        size = reconstruction.size
        axes.plot(
            [size], [max(score, LOWEST_R2)], color=look.color, marker=look.marker, linestyle="none", markersize=9,
            markeredgecolor="white", label=f"{look.label} ({score:.3f})", clip_on=False, zorder=3,
        )  # fmt: skip
    axes.set(xlabel="numbers per bin", ylabel="R² on test data")
    axes.set_xlim(0, max(reconstruction.size, *(size for size, _ in points), 1) + 1)
    axes.set_ylim(top=1.0)
    axes.grid()
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6 if layout.narrow else 12))
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower right", markerscale=0.8)
    return figure


def track_figure(reconstruction: Reconstruction, tracks: TrackSet, layout: Layout) -> Figure:
    """R2 of every track, or of each assay's tracks where there are many."""
    if len(tracks) <= TRACKS_ONE_BY_ONE:
        return _one_by_one(reconstruction, tracks, layout)
    return _per_assay(reconstruction, tracks, layout)


def _one_by_one(reconstruction: Reconstruction, tracks: TrackSet, layout: Layout) -> Figure:
    ordered = [name for names in by_assay(tracks).values() for name in names]
    figure = new_figure(layout, 1.1 + 0.19 * len(ordered) + (0.5 if layout.narrow else 0))
    axes = figure.subplots()
    rows = np.arange(len(ordered))
    for name, look in _looks(reconstruction).items():
        _plot_r2(axes, _r2(reconstruction, name, ordered), rows, look, alpha=1, size=34)
    for edge in np.cumsum([len(names) for names in by_assay(tracks).values()])[:-1]:
        axes.axhline(edge - 0.5, color=LINE, linewidth=0.8)
    _finish(figure, axes, ordered, layout)
    return figure


def _per_assay(reconstruction: Reconstruction, tracks: TrackSet, layout: Layout) -> Figure:
    groups = by_assay(tracks)
    if len(groups) > ASSAYS_ONE_BY_ONE:
        groups = {"all tracks": list(tracks.names)}
    figure = new_figure(layout, 1.3 + 0.3 * len(groups) + (0.5 if layout.narrow else 0))
    axes = figure.subplots()
    for row, names in enumerate(groups.values()):
        for name, look in _looks(reconstruction).items():
            r2 = _r2(reconstruction, name, names)
            # Points are spread over the row by rank, so that the same data give the same figure.
            spread = row + 0.3 * np.sin(np.arange(len(names)) * 2.4)
            if name == "model":
                _plot_r2(axes, r2, spread, look, alpha=0.35, size=9, label=row == 0)
            known = r2[np.isfinite(r2)]
            if len(known):
                of = "median" if name == "model" else "median of tracks"
                axes.scatter(
                    [float(np.clip(np.median(known), LOWEST_R2, 1))], [row], s=46, color=look.color, marker=look.marker,
                    edgecolor="white", label=f"{look.label}, {of}" if row == 0 else None, zorder=4,
                )  # fmt: skip
    _finish(figure, axes, [f"{assay} ({len(names)})" for assay, names in groups.items()], layout)
    return figure


def _looks(reconstruction: Reconstruction) -> dict[str, Look]:
    """Looks of what was evaluated: PCA is left out where it would have as many components as there are tracks."""
    return {name: look for name, look in RECONSTRUCTION_LOOKS.items() if name in reconstruction.models}


def _r2(reconstruction: Reconstruction, model: str, tracks: Sequence[str]) -> np.ndarray:
    values = [reconstruction.models[model].track_r2.get(name) for name in tracks]
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _plot_r2(
    axes: Axes, r2: np.ndarray, rows: np.ndarray, look: Look, *, alpha: float, size: float, label: bool = True
) -> None:
    axes.scatter(
        np.maximum(r2, LOWEST_R2), rows, s=size, color=look.color, marker=look.marker, alpha=alpha,
        linewidth=0.5 if alpha == 1 else 0, edgecolor="white", label=look.label if label else None, clip_on=False,
        zorder=4 if look is RECONSTRUCTION_LOOKS["model"] else 3,
    )  # fmt: skip


def _finish(figure: Figure, axes: Axes, names: Sequence[str], layout: Layout) -> None:
    lowest = axes.dataLim.x0
    name_rows(axes, names)
    axes.set_xlim(LOWEST_R2 if lowest < 0 else 0, 1)
    axes.set_xlabel("R² on test data")
    axes.grid()
    legend_above(figure, axes, layout, handle=1.0)
