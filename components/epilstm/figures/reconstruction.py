"""How well tracks are given back: against embedding size, track by track, and along a window of the genome."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from epilstm.figures.drawing import (
    NO_DATA,
    QUIET,
    RECONSTRUCTION_LOOKS,
    Layout,
    Look,
    legend_above,
    literal,
    new_figure,
    round_ticks,
    runs_of,
)
from epilstm.figures.track_choice import by_assay
from epilstm.figures.window import Window
from epilstm.store.evaluation_results import Reconstruction
from epilstm.tracks.identity import TrackSet

#: More tracks than this are shown as a distribution per assay, more assays as one distribution.
TRACKS_ONE_BY_ONE = 60
ASSAYS_ONE_BY_ONE = 40

#: An R2 below this is drawn here, at the edge: how far below tells no more.
LOWEST_R2 = -0.25


def size_figure(reconstruction: Reconstruction, layout: Layout) -> Figure:
    """R2 of PCA over its size, and of the model and the untrained encoder at theirs."""
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
            [size],
            [max(score, LOWEST_R2)],
            color=look.color,
            marker=look.marker,
            linestyle="none",
            markersize=9,
            markeredgecolor="white",
            label=f"{look.label} ({score:.3f})",
            clip_on=False,
            zorder=3,
        )
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
    axes.set_yticks(rows, [literal(name) for name in ordered])
    for edge in np.cumsum([len(names) for names in by_assay(tracks).values()])[:-1]:
        axes.axhline(edge - 0.5, color="#cfd6dd", linewidth=0.8)
    _finish(figure, axes, len(ordered), layout)
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
                median = float(np.clip(np.median(known), LOWEST_R2, 1))
                label = None
                if row == 0:
                    label = f"{look.label}, median" if name == "model" else f"{look.label}, median of tracks"
                axes.scatter(
                    [median],
                    [row],
                    s=46,
                    color=look.color,
                    marker=look.marker,
                    edgecolor="white",
                    label=label,
                    zorder=4,
                )
    axes.set_yticks(range(len(groups)), [f"{literal(assay)} ({len(names)})" for assay, names in groups.items()])
    _finish(figure, axes, len(groups), layout)
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
        np.maximum(r2, LOWEST_R2),
        rows,
        s=size,
        color=look.color,
        marker=look.marker,
        alpha=alpha,
        linewidth=0.5 if alpha == 1 else 0,
        edgecolor="white",
        label=look.label if label else None,
        clip_on=False,
        zorder=4 if look is RECONSTRUCTION_LOOKS["model"] else 3,
    )


def _finish(figure: Figure, axes: Axes, rows: int, layout: Layout) -> None:
    axes.set_ylim(rows - 0.4, -0.6)
    lowest = axes.dataLim.x0
    axes.set_xlim(LOWEST_R2 if lowest < 0 else 0, 1)
    axes.set_xlabel("R² on test data")
    axes.tick_params(axis="y", length=0)
    axes.grid()
    axes.spines["left"].set_visible(False)
    legend_above(figure, axes, layout, handle=1.0, narrow_columns=1)


def window_figure(window: Window, layout: Layout) -> Figure:
    """Signal and its reconstruction along the window, one panel per track."""
    figure = new_figure(layout, 0.75 + (0.86 if layout.narrow else 0.92) * len(window.tracks))
    panels = figure.subplots(len(window.tracks), 1, sharex=True, squeeze=False)[:, 0]
    for column, (axes, track) in enumerate(zip(panels, window.tracks, strict=True)):
        draw_track(axes, window, column, track)
    position_axis(panels[-1], window, layout)
    figure.supylabel("signal", fontsize=9)
    legend_above(figure, panels[0], layout)
    return figure


def draw_track(axes: Axes, window: Window, column: int, track: str) -> None:
    """Signal of one track and its reconstruction; stretches without data are pale."""
    edges, color = window.edges / 1e6, RECONSTRUCTION_LOOKS["model"].color
    truth, made = window.signal[:, column], window.reconstructed_signal[:, column]
    axes.stairs(truth, edges, fill=True, color="#9ea7b1", label="measured", rasterized=True)
    axes.plot((edges[:-1] + edges[1:]) / 2, made, color=color, linewidth=0.8, label="reconstructed", rasterized=True)
    for first, last in runs_of(np.isnan(truth)):
        axes.axvspan(edges[first], edges[last], color=NO_DATA, alpha=0.45, linewidth=0, rasterized=True)
    axes.set_ylim(0, _top(truth, made))
    axes.yaxis.set_major_locator(round_ticks(3))
    r2 = window.r2(track)
    axes.set_title(literal(track), loc="left", fontsize=8.5, pad=3)
    axes.set_title(
        "" if r2 is None else f"R² {r2:.2f} in this window",
        loc="right",
        fontsize=8,
        color=QUIET,
        weight="normal",
        pad=3,
    )


def _top(truth: np.ndarray, made: np.ndarray) -> float:
    """Upper end of a panel: all of the measured signal is seen, and of the reconstruction what is not far above it."""
    if not np.isfinite(truth).any():
        return 1.0
    measured, reconstructed = float(np.nanmax(truth)), float(np.nanmax(made))
    highest = max(measured, min(reconstructed, 1.5 * measured)) if measured > 0 else reconstructed
    return max(highest, 1e-3) * 1.05


def position_axis(axes: Axes, window: Window, layout: Layout) -> None:
    """Show the position on the chromosome, in Mb."""
    axes.set_xlim(window.edges[0] / 1e6, window.edges[-1] / 1e6)
    axes.xaxis.set_major_locator(round_ticks(6 if layout.narrow else 10))
    axes.set_xlabel(f"position on {window.region.chrom} (Mb)")
