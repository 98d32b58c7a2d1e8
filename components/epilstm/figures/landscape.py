"""The figure of a window: genes, tracks with their reconstruction, the embedding and segments over one axis."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from epilstm.figures.annotation import Gene, Segment, lanes
from epilstm.figures.drawing import (
    NO_DATA,
    QUIET,
    TEXT,
    Layout,
    Plot,
    legend_of,
    literal,
    mark_levels,
    name_dimensions,
    new_figure,
    round_ticks,
    runs_of,
)
from epilstm.figures.loadings import shown_context
from epilstm.figures.looks import RECONSTRUCTION_LOOKS
from epilstm.figures.window import PLACES, Window
from epilstm.genome.assembly import assembly_name
from epilstm.store.manifests import dimension_names

if TYPE_CHECKING:
    from epilstm.model.folder import ModelManifest
    from epilstm.store.manifests import MatrixManifest

#: Colours of segments that have none of their own (Okabe and Ito, and lighter tones).
SEGMENT_COLORS = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#666666", "#9ecae1", "#fdd0a2",
)  # fmt: skip

GENE_LANES = 3

MEASURED, RECONSTRUCTED, GENE = "#7d8792", RECONSTRUCTION_LOOKS["model"].color, "#12344d"

#: Standard deviations at which the colours of the embedding end.
LIMIT = 3.0

#: Columns of the embedding's heat map, at most: about one per CSS pixel.
COLUMNS, COLUMNS_NARROW = 900, 360


def window_plot(
    window: Window,
    matrix: MatrixManifest,
    model: ModelManifest,
    *,
    chosen: bool,
    tracks: bool = True,
    embedding: bool = True,
    genes: Sequence[Gene] | None = None,
    segments: Sequence[Segment] | None = None,
    segments_name: str = "",
) -> Plot:
    """A window with its tracks, the embedding, or both, and genes and segments where given.

    Parameters
    ----------
    matrix, model : MatrixManifest, ModelManifest
        Of one run.
    chosen : bool
        Whether `epilstm.figures.window.choose_window` chose the window.
    tracks, embedding : bool
        What is drawn.
    segments_name : str
        Name of the segments' file.
    """
    config, drawn = model.config, len(window.tracks)
    use = {"train": "a training", "validation": "a validation", "test": "a test", None: "an unused"}[
        matrix.use_of(window.region)
    ]
    where = f"in {use} region" if matrix.bins_by_use else f"on {use} chromosome"
    why = f", where the measured tracks vary most (of up to {PLACES} places there)" if chosen else ""
    sentences = [
        f"{window.region} ({assembly_name(matrix.assembly)}), {where}{why}; {len(window.embedding):,} bins of "
        f"{matrix.bin_size} bp."
    ]
    shown = []
    if tracks:
        code = f"the {config.bin_code_size} numbers of each bin's {'code' if config.context_size else 'embedding'}"
        sentences.append(
            "Grey, upwards: measured signal, in the units of the tracks' files; blue, downwards: the same, "
            f"reconstructed from {code} ({drawn} of {len(matrix.tracks)} tracks drawn; R² of the standardised signal "
            "in this window). Pale: no data."
        )
        shown.append(f"measured and reconstructed signal of {', '.join(window.tracks)}")
    if embedding:
        sentences.append(
            "Embedding: a row per dimension, as standard scores in this window; red is above the dimension's mean "
            f"there, blue below, grey no data. {order_note(model)}"
        )
        shown.append(f"heat map of the {window.embedding.shape[1]} dimensions of the embedding")
    if segments is not None:
        sentences.append(f"Bottom: segments of {segments_name}.")
    return Plot(
        partial(
            window_figure, window, tracks=tracks, embedding=embedding, genes=genes, segments=segments,
            context_size=shown_context(config, window.embedding.shape[1]),
        ),
        " ".join(sentences),
        f"Along {window.region}: {'; '.join(shown)}.",
        partial(_numbers, window),
    )  # fmt: skip


def order_note(model: ModelManifest) -> str:
    """What the order and the sign of dimensions mean, in a sentence."""
    if model.training.rotation == "none":
        return "The order and the sign of dimensions mean nothing."
    levels = ", those of the bin before those of the context" if model.config.context_size else ""
    return f"Dimensions come in the order of what they explain{levels}; their sign is a convention."


def _numbers(window: Window) -> list[dict[str, Any]]:
    return [
        {
            "chrom": window.region.chrom, "start": int(window.edges[at]), "end": int(window.edges[at + 1]),
            "track": track, "measured": float(window.signal[at, column]),
            "reconstructed": float(window.reconstructed_signal[at, column]),
        }
        for column, track in enumerate(window.tracks)
        for at in range(len(window.signal))
    ]  # fmt: skip


def window_figure(
    window: Window,
    layout: Layout,
    *,
    tracks: bool = True,
    embedding: bool = True,
    genes: Sequence[Gene] | None = None,
    segments: Sequence[Segment] | None = None,
    context_size: int = 0,
) -> Figure:
    """Panels above each other over one position axis: genes, one per track, the embedding, segments."""
    size = window.embedding.shape[1]
    in_lanes = lanes(genes, 0.12 * len(window.region) * (2 if layout.narrow else 1)) if genes else []
    gene_rows = min(max(in_lanes, default=0) + 1, GENE_LANES)
    names = window.tracks if tracks else []
    heights = [
        *([0.2 * gene_rows + 0.05] if genes is not None else []),
        *([0.62] * len(names)),
        *([float(np.clip((0.13 if tracks else 0.2) * size, 0.8, 4 if tracks else 6))] if embedding else []),
        *([0.2] if segments is not None else []),
    ]
    figure = new_figure(layout, 0.75 + sum(heights) + 0.24 * len(names))
    panels = list(figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0])
    below = iter(panels)
    if genes is not None:
        _draw_genes(next(below), genes, in_lanes, window)
    for column, track in enumerate(names):
        _draw_track(next(below), window, column, track)
    if embedding:
        axes = next(below)
        _draw_embedding(axes, window, layout, context_size, most_named=round(heights[panels.index(axes)] / 0.16))
    if segments is not None:
        _draw_segments(next(below), segments)
    panels[-1].set_xlim(window.edges[0] / 1e6, window.edges[-1] / 1e6)
    panels[-1].xaxis.set_major_locator(round_ticks(6 if layout.narrow else 10))
    panels[-1].set_xlabel(f"position on {window.region.chrom} (Mb)")
    if tracks:
        colors = {"measured": MEASURED, "reconstructed from the embedding": RECONSTRUCTED}
        legend_of(figure, [Patch(color=color, label=label) for label, color in colors.items()], layout, handle=1.2)
    return figure


def _draw_genes(axes: Axes, genes: Sequence[Gene], in_lanes: Sequence[int], window: Window) -> None:
    """Genes as bars with an arrow at the end they are read towards; their names stand to the right."""
    first, last = window.edges[0], window.edges[-1]
    for gene, lane in zip(genes, in_lanes, strict=True):
        if lane >= GENE_LANES:
            continue
        start, end = max(gene.start, first) / 1e6, min(gene.end, last) / 1e6
        axes.plot([start, end], [lane, lane], color=GENE, linewidth=3, solid_capstyle="butt")
        forward = gene.strand != "-"
        axes.plot([end if forward else start], [lane], ">" if forward else "<", color=GENE, markersize=5)
        outside = gene.end > last - 0.08 * (last - first)
        axes.annotate(
            literal(gene.name), (start if outside else end, lane), xytext=(-6 if outside else 6, 0),
            textcoords="offset points", ha="right" if outside else "left", va="center", fontsize=7.5, color=TEXT,
            style="italic",
        )  # fmt: skip
    axes.set_ylim(min(max(in_lanes, default=0) + 1, GENE_LANES) - 0.4, -0.6)
    axes.set_yticks([])
    axes.set_ylabel("genes", rotation=0, ha="right", va="center", fontsize=8)
    axes.tick_params(axis="x", length=0)
    _bare(axes)


def _draw_track(axes: Axes, window: Window, column: int, track: str) -> None:
    """Measured signal of a track upwards, its reconstruction downwards, on one scale; pale where there is no data."""
    edges = window.edges / 1e6
    truth, made = window.signal[:, column], window.reconstructed_signal[:, column]
    axes.stairs(np.nan_to_num(truth), edges, fill=True, color=MEASURED, rasterized=True)
    axes.stairs(-np.nan_to_num(made), edges, fill=True, color=RECONSTRUCTED, rasterized=True)
    for first, last in runs_of(np.isnan(truth)):
        axes.axvspan(edges[first], edges[last], color=NO_DATA, alpha=0.45, linewidth=0)
    axes.axhline(0, color="white", linewidth=0.5)
    top = _top(truth, made)
    axes.set_ylim(-top, top)
    axes.yaxis.set_major_locator(round_ticks(3))
    axes.yaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
    axes.tick_params(axis="x", length=0)
    axes.spines["bottom"].set_visible(False)
    r2 = window.r2(track)
    axes.set_title(literal(track), loc="left", fontsize=8.5, pad=2)
    fit = "" if r2 is None else f"R² {r2:.2f}"
    axes.set_title(fit, loc="right", fontsize=8, color=QUIET, weight="normal", pad=2)


def _top(truth: NDArray[np.float32], made: NDArray[np.float32]) -> float:
    """Upper end of a panel: all of the measured signal is seen, and of the reconstruction what is not far above it."""
    if not np.isfinite(truth).any():
        return 1.0
    measured, reconstructed = float(np.nanmax(truth)), float(np.nanmax(made))
    highest = max(measured, min(reconstructed, 1.5 * measured)) if measured > 0 else reconstructed
    return max(highest, 1e-3) * 1.05


def _draw_embedding(axes: Axes, window: Window, layout: Layout, context_size: int, most_named: int) -> None:
    """Heat map of the embedding, the last `context_size` dimensions marked, with its colours at the right."""
    size, columns = window.embedding.shape[1], COLUMNS_NARROW if layout.narrow else COLUMNS
    names = window.dimensions or dimension_names(size)
    scores = averaged(standard_scores(window.embedding), columns)
    edges = window.edges / 1e6
    run = -(-len(window.embedding) // columns) * (edges[1] - edges[0])
    image = axes.imshow(
        np.ma.masked_invalid(scores.T), aspect="auto", cmap=mpl.colormaps["RdBu_r"].with_extremes(bad=NO_DATA),
        vmin=-LIMIT, vmax=LIMIT, interpolation="none",
        extent=(edges[0], edges[0] + len(scores) * run, size - 0.5, -0.5),
    )  # fmt: skip
    axes.set_title("embedding (standard scores)", loc="left", fontsize=8.5, pad=3)
    name_dimensions(axes, names, most_named)
    mark_levels(axes, names, context_size)
    beside = axes.inset_axes((1.008, 0.0, 0.012, 1.0))
    bar = axes.figure.colorbar(image, cax=beside, ticks=[-LIMIT, 0, LIMIT])
    bar.outline.set_visible(False)
    beside.tick_params(labelsize=7, length=0)
    _bare(axes)


def _draw_segments(axes: Axes, segments: Sequence[Segment]) -> None:
    """Segments as coloured bars, each run of them in a thin frame: white ones differ from no segments at all."""
    runs: list[tuple[int, int]] = []
    for segment in sorted(segments, key=lambda each: each.start):
        axes.axvspan(segment.start / 1e6, segment.end / 1e6, color=segment.color, linewidth=0, rasterized=True)
        joins = bool(runs) and segment.start <= runs[-1][1]
        start = runs.pop()[0] if joins else segment.start
        runs.append((start, segment.end))
    for start, end in runs:
        axes.axvspan(start / 1e6, end / 1e6, fill=False, edgecolor=QUIET, linewidth=0.8)
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    axes.set_title("segments", loc="left", fontsize=8.5, pad=3)
    _bare(axes)


def _bare(axes: Axes) -> None:
    for side in axes.spines.values():
        side.set_visible(False)


def averaged(values: NDArray[np.float32], columns: int) -> NDArray[np.float32]:
    """Means over runs of neighbouring bins, so that at most `columns` runs remain.

    Parameters
    ----------
    values : (bins, size) float32 array

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
    """Each dimension of (bins, size) values with mean 0 and standard deviation 1; a constant becomes 0."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a window without any data has no mean
        mean, spread = np.nanmean(embedding, axis=0), np.nanstd(embedding, axis=0)
    return np.asarray((embedding - mean) / np.where(spread > 1e-12, spread, 1), dtype=np.float32)
