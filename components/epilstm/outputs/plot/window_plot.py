"""A window of the genome: genes, tracks with their reconstruction, the embedding, a segmentation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from epilstm.figures.annotation import Gene, Segment, genes_in, lanes, segments_in
from epilstm.figures.drawing import (
    NO_DATA,
    QUIET,
    RECONSTRUCTION_LOOKS,
    TEXT,
    Layout,
    literal,
    mark_levels,
    name_dimensions,
    new_figure,
    round_ticks,
    runs_of,
)
from epilstm.figures.embedding import COLUMNS, COLUMNS_NARROW, LIMIT, averaged, standard_scores
from epilstm.figures.figure_file import Plot
from epilstm.figures.reconstruction import position_axis
from epilstm.figures.track_choice import choose_tracks
from epilstm.figures.window import Window, choose_window, parse_window, read_window
from epilstm.genome.assembly import assembly_name
from epilstm.params import ReportParams
from epilstm.store.evaluation_results import require_one_run
from epilstm.store.manifests import EmbeddingsManifest, MatrixManifest, read_manifest, read_scaler

#: Colours of segments that have none of their own (Okabe and Ito, and lighter tones).
SEGMENT_COLORS = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#666666", "#9ecae1", "#fdd0a2",
)  # fmt: skip

GENE_LANES = 3

MEASURED = "#7d8792"


def plot_window(
    matrix_folder: Path,
    model_folder: Path,
    embeddings: Path,
    region: str,
    tracks: Sequence[str],
    genes: Path | None = None,
    segments: Path | None = None,
) -> Plot:
    """Measured and reconstructed signal and the embedding along a window, with genes and segments where given.

    Parameters
    ----------
    matrix_folder, model_folder, embeddings : Path
        Of one run.
    region : str
        ``chrom:start-end``; empty takes the place on the test chromosomes where the tracks vary most.
    tracks : sequence of str
        Empty takes one each of a few assays.
    genes, segments : Path, optional
        GTF and BED files.

    Raises
    ------
    DataError, ModelError, ParamsError, GenomeError, LabelsError
        What the user can mend.
    """
    import torch

    from epilstm.model.folder import load_model
    from epilstm.model.windows import CONTEXT_BINS, reconstruct_bins

    torch.set_num_threads(1)
    network, model = load_model(model_folder)
    matrix = read_manifest(matrix_folder, MatrixManifest)
    inputs = {"matrix": matrix_folder, "model": model_folder, "embeddings": embeddings}
    require_one_run(inputs, model.matrix_fingerprint, read_manifest(embeddings, EmbeddingsManifest))
    params = ReportParams(window=region, tracks=list(tracks))
    drawn = choose_tracks(matrix.track_set, params.tracks, "--track")
    place = parse_window(region, matrix, "--region") if region else choose_window(matrix, matrix_folder)
    window = read_window(
        place,
        drawn,
        matrix,
        read_scaler(matrix_folder, matrix),
        matrix_folder,
        embeddings,
        partial(reconstruct_bins, network),
        CONTEXT_BINS,
    )
    beside = genes_in(genes, place, matrix.chromosomes) if genes else None
    states = segments_in(segments, place, SEGMENT_COLORS, matrix.chromosomes) if segments else None
    where = {"train": "a training", "validation": "a validation", "test": "a test", None: "an unused"}[
        matrix.use_of(place)
    ]
    where = f"in {where} region" if matrix.bins_by_use else f"on {where} chromosome"
    context_size = model.config.context_size
    code = f"{model.config.bin_code_size} numbers"
    below = f"those and {context_size} of the context's code" if context_size else "those numbers"
    caption = (
        f"{place} ({assembly_name(matrix.assembly)}), {where}, {len(window.embedding):,} bins of {matrix.bin_size} bp. "
        f"Grey, upwards: measured signal, in the units of the tracks' files; blue, downwards: the same, reconstructed "
        f"from the {code} of each bin's {'code' if context_size else 'embedding'} ({len(drawn)} of "
        f"{len(matrix.tracks)} tracks drawn; R² of the standardised signal here). Below: {below}, as standard scores "
        "in this window."
    )
    if states is not None:
        caption += f" Bottom: segments of {segments.name if segments else ''}."
    rows = [
        {
            "chrom": place.chrom, "start": int(window.edges[at]), "end": int(window.edges[at + 1]), "track": track,
            "measured": float(window.signal[at, column]),
            "reconstructed": float(window.reconstructed_signal[at, column]),
        }
        for column, track in enumerate(drawn)
        for at in range(len(window.signal))
    ]  # fmt: skip
    return Plot(partial(landscape_figure, window, beside, states, context_size=context_size), caption, rows)


def landscape_figure(
    window: Window, genes: list[Gene] | None, segments: list[Segment] | None, layout: Layout, context_size: int = 0
) -> Figure:
    """Genes, tracks, embedding and segments above each other, over one position axis."""
    size = window.embedding.shape[1]
    in_lanes = lanes(genes, 0.12 * len(window.region) * (2 if layout.narrow else 1)) if genes else []
    gene_rows = min(max(in_lanes, default=0) + 1, GENE_LANES)
    heights = [
        *([0.2 * gene_rows + 0.05] if genes is not None else []),
        *([0.62] * len(window.tracks)),
        float(np.clip(0.13 * size, 0.8, 4)),
        *([0.2] if segments is not None else []),
    ]
    figure = new_figure(layout, 0.75 + sum(heights) + 0.24 * len(window.tracks))
    panels = list(figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0])
    if genes is not None:
        draw_genes(panels.pop(0), genes, in_lanes, window)
    for column, track in enumerate(window.tracks):
        draw_mirrored(panels[column], window, column, track)
    draw_embedding(panels[len(window.tracks)], window, layout, context_size)
    if segments is not None:
        draw_segments(panels[-1], segments)
    for axes in panels[len(window.tracks) :]:
        for side in axes.spines.values():
            side.set_visible(False)
        axes.tick_params(axis="y", length=0)
    position_axis(panels[-1], window, layout)
    color = RECONSTRUCTION_LOOKS["model"].color
    handles: list[Patch] = [
        Patch(color=MEASURED, label="measured"), Patch(color=color, label="reconstructed from the embedding")
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside upper left", ncols=2, borderaxespad=0.2, handlelength=1.2)
    return figure


def draw_mirrored(axes: Axes, window: Window, column: int, track: str) -> None:
    """Measured signal of a track upwards, its reconstruction downwards, on one scale; pale where there is no data."""
    edges = window.edges / 1e6
    truth, made = window.signal[:, column], window.reconstructed_signal[:, column]
    axes.stairs(np.nan_to_num(truth), edges, fill=True, color=MEASURED, rasterized=True)
    axes.stairs(-np.nan_to_num(made), edges, fill=True, color=RECONSTRUCTION_LOOKS["model"].color, rasterized=True)
    for first, last in runs_of(np.isnan(truth)):
        axes.axvspan(edges[first], edges[last], color=NO_DATA, alpha=0.45, linewidth=0)
    axes.axhline(0, color="white", linewidth=0.5)
    known = truth[np.isfinite(truth)]
    top = 1.05 * max(float(known.max()) if len(known) else 0.0, 1e-3)
    axes.set_ylim(-top, top)
    axes.yaxis.set_major_locator(round_ticks(3))
    axes.yaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
    axes.tick_params(axis="x", length=0)
    axes.spines["bottom"].set_visible(False)
    r2 = window.r2(track)
    axes.set_title(literal(track), loc="left", fontsize=8.5, pad=2)
    fit = "" if r2 is None else f"R² {r2:.2f}"
    axes.set_title(fit, loc="right", fontsize=8, color=QUIET, weight="normal", pad=2)


def draw_genes(axes: Axes, genes: list[Gene], in_lanes: list[int], window: Window) -> None:
    """Genes as bars with an arrow at the end they are read towards; their names stand to the right."""
    first, last = window.edges[0], window.edges[-1]
    for gene, lane in zip(genes, in_lanes, strict=True):
        if lane >= GENE_LANES:
            continue
        start, end = max(gene.start, first) / 1e6, min(gene.end, last) / 1e6
        axes.plot([start, end], [lane, lane], color="#12344d", linewidth=3, solid_capstyle="butt")
        forward = gene.strand != "-"
        axes.plot([end if forward else start], [lane], ">" if forward else "<", color="#12344d", markersize=5)
        outside = gene.end > last - 0.08 * (last - first)
        axes.annotate(
            gene.name, (start if outside else end, lane), xytext=(-6 if outside else 6, 0), textcoords="offset points",
            ha="right" if outside else "left", va="center", fontsize=7.5, color=TEXT, style="italic",
        )  # fmt: skip
    axes.set_ylim(min(max(in_lanes, default=0) + 1, GENE_LANES) - 0.4, -0.6)
    axes.set_yticks([])
    axes.set_ylabel("genes", rotation=0, ha="right", va="center", fontsize=8)
    axes.tick_params(axis="x", length=0)
    for side in axes.spines.values():
        side.set_visible(False)


def draw_embedding(axes: Axes, window: Window, layout: Layout, context_size: int = 0) -> None:
    """Heat map of the embedding, its context code marked, with its colours explained at the right."""
    size = window.embedding.shape[1]
    columns = COLUMNS_NARROW if layout.narrow else COLUMNS
    scores = averaged(standard_scores(window.embedding), columns)
    edges = window.edges / 1e6
    run = -(-len(window.embedding) // columns) * (edges[1] - edges[0])
    image = axes.imshow(
        np.ma.masked_invalid(scores.T), aspect="auto", cmap=mpl.colormaps["RdBu_r"].with_extremes(bad=NO_DATA),
        vmin=-LIMIT, vmax=LIMIT, interpolation="none",
        extent=(edges[0], edges[0] + len(scores) * run, size - 0.5, -0.5),
    )  # fmt: skip
    axes.set_title("embedding", loc="left", fontsize=8.5, pad=3)
    name_dimensions(axes, size, 6)
    mark_levels(axes, size, context_size)
    beside = axes.inset_axes((1.008, 0.0, 0.012, 1.0))
    bar = axes.figure.colorbar(image, cax=beside, ticks=[-LIMIT, 0, LIMIT])
    bar.outline.set_visible(False)
    beside.tick_params(labelsize=7, length=0)


def draw_segments(axes: Axes, segments: list[Segment]) -> None:
    """Segments as coloured bars."""
    for segment in segments:
        axes.axvspan(segment.start / 1e6, segment.end / 1e6, color=segment.color, linewidth=0, rasterized=True)
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    axes.set_title("segments", loc="left", fontsize=8.5, pad=3)
