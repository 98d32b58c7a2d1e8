"""The states at a glance: what they hold and what they lie on, as one heat map."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from epilstm.figures.drawing import literal
from epilstm.outputs.segmentation.colours import Colour
from epilstm.tracks.identity import TrackSet

#: Columns from which tracks are shown as the mean over cell types of their assay.
MOST_COLUMNS = 48

STYLE = {"font.family": ["DejaVu Sans"], "font.size": 9, "axes.titlesize": 10, "axes.titlelocation": "left"}

Table = tuple[list[str], NDArray[np.float64]]


def draw_heatmap(
    path: Path,
    names: list[str],
    colours: Sequence[Colour],
    shares: NDArray[np.float64],
    emissions: tuple[TrackSet, NDArray[np.float64]] | None,
    enrichments: Table | None,
) -> None:
    """Draw the states (PNG).

    Parameters
    ----------
    names : list of str
        Of the states, with what they are.
    colours : sequence of (int, int, int)
    shares : (state,) float64 array
        Of the segmented bases.
    emissions : (tracks, (state, track) float64 array) or None
        Mean raw signal; drawn per track from 0 to its largest state's.
    enrichments : (feature names, (state, feature) float64 array) or None
        Fold enrichment; drawn and written as it is, its colour on a log2 scale.
    """
    shown = None if emissions is None else grouped(*emissions)
    columns = [0 if table is None else len(table[0]) for table in (shown, enrichments)]
    widths = [1.1, *(max(1.6, 0.3 * count) for count in columns[:1] if count), *(0.62 * c for c in columns[1:] if c)]
    with mpl.rc_context():
        mpl.rcdefaults()  # a reader's own matplotlibrc must not change the bytes
        mpl.rcParams.update(STYLE)  # type: ignore[arg-type]
        labels = 0.075 * max(map(len, names))
        figure = Figure(figsize=(sum(widths) + 1.3 + labels, 0.34 * len(names) + 2.2), layout="constrained")
        panels = iter(np.atleast_1d(figure.subplots(1, len(widths), sharey=True, width_ratios=widths)))
        _draw_shares(next(panels), names, colours, shares)
        if shown is not None:
            _draw_emissions(next(panels), *shown)
        if enrichments is not None and enrichments[0]:
            _draw_enrichments(next(panels), *enrichments)
        figure.savefig(path, dpi=150, metadata={"Software": None})


def grouped(tracks: TrackSet, values: NDArray[np.float64]) -> Table:
    """Tracks sorted by assay or, where they are too many to show one by one, the mean of each assay's."""
    assays = tracks.assays
    if len(tracks) <= MOST_COLUMNS:
        order = sorted(range(len(tracks)), key=lambda place: (assays[place], tracks.names[place]))
        return [tracks.names[place] for place in order], values[:, order]
    kinds = sorted(set(assays))
    means = [values[:, [assay == kind for assay in assays]].mean(axis=1) for kind in kinds]
    return [f"{kind} (mean)" for kind in kinds], np.stack(means, axis=1)


def _draw_shares(axes: Axes, names: list[str], colours: Sequence[Colour], shares: NDArray[np.float64]) -> None:
    rows = list(range(len(names)))
    # Outlined: the quiescent state's convention is white.
    colors = [tuple(c / 255 for c in colours[row]) for row in rows]
    axes.barh(rows, 100 * shares, color=colors, edgecolor="#8a96a3", linewidth=0.6, height=0.8)
    for row, share in zip(rows, shares.tolist(), strict=True):
        axes.text(100 * share, row, f" {100 * share:.1f}", va="center", fontsize=7.5)
    axes.set_yticks(rows, [literal(name) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(0, 130 * max(shares.max(), 1e-9))
    axes.set_xticks([])
    axes.set_title("% of bases")
    axes.spines[["top", "right", "bottom"]].set_visible(False)


def _draw_emissions(axes: Axes, tracks: list[str], values: NDArray[np.float64]) -> None:
    largest = np.nanmax(np.abs(values), axis=0, initial=1e-12)
    image = axes.imshow(values / largest, aspect="auto", cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    axes.set_xticks(range(len(tracks)), [literal(name) for name in tracks], rotation=90, fontsize=8)
    axes.set_title("mean signal, share of the largest state's")
    figure = axes.figure
    assert isinstance(figure, Figure)
    figure.colorbar(image, ax=axes, location="bottom", shrink=0.5, aspect=30, pad=0.02)


def _draw_enrichments(axes: Axes, features: list[str], folds: NDArray[np.float64]) -> None:
    with np.errstate(divide="ignore"):
        logs = np.log2(folds)
    limit = 4.0
    axes.imshow(
        logs.clip(-limit, limit), aspect="auto", cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest"
    )
    for (row, column), fold in np.ndenumerate(folds):
        dark = abs(logs[row, column]) > 0.65 * limit
        text = "NA" if np.isnan(fold) else f"{fold:.2f}" if fold < 10 else f"{fold:.0f}"
        axes.text(column, row, text, ha="center", va="center", fontsize=7.5, color="white" if dark else "black")
    axes.set_xticks(range(len(features)), features, rotation=90, fontsize=8)
    axes.set_title("fold enrichment")
