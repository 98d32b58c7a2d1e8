"""The figures of the drift page."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from epilstm.figures.drawing import NO_DATA, QUIET, Layout, color_bar, legend_above, literal, new_figure
from epilstm.steps.monitor.drift import Finding, ModelDrift, TrackDrift

#: Colour, marker and name of each verdict.
VERDICT_LOOKS = {
    "ok": ("#0072B2", "o", "as usual"),
    "warn": ("#E69F00", "^", "warn"),
    "drift": ("#C43C00", "s", "drift"),
}

#: Points that are named, the worst first, and rows of a heat map.
NAMED, ROWS = 12, 60


def worst_first(tracks: Sequence[TrackDrift]) -> list[TrackDrift]:
    """Tracks by falling severity, those of one verdict in their own order."""
    return sorted(tracks, key=lambda track: -["ok", "warn", "drift"].index(track.verdict))


def plane_figure(
    tracks: Sequence[TrackDrift], axes_of: tuple[str, str], labels: tuple[str, str], layout: Layout
) -> Figure:
    """Tracks by two statistics; the boxes are the limits to warn and of drift that most tracks have."""
    shown = [track for track in tracks if all(name in track.statistics for name in axes_of)]
    figure = new_figure(layout, 4.6 if layout.narrow else 4.2)
    axes = figure.subplots()
    for kind, (color, marker, label) in VERDICT_LOOKS.items():
        points = [[track.statistics[name].value for name in axes_of] for track in shown if track.verdict == kind]
        if points:
            x, y = np.array(points).T
            axes.plot(
                x, y, marker, color=color, linestyle="none", markeredgecolor="white", markeredgewidth=0.6, label=label
            )
    for side, line in (("warn", (0, (2, 2))), ("drift", "-")):
        width, height = (float(np.median([getattr(t.statistics[name], side) for t in shown])) for name in axes_of)
        box = Rectangle((-width, -height), 2 * width, 2 * height, fill=False, edgecolor=QUIET, linestyle=line, lw=0.9)
        axes.add_patch(box)
        axes.plot([], [], color=QUIET, linestyle=line, linewidth=0.9, label=f"limit: {side}")
    for track in [track for track in worst_first(shown) if track.verdict != "ok"][:NAMED]:
        at = (track.statistics[axes_of[0]].value, track.statistics[axes_of[1]].value)
        axes.annotate(literal(track.track), at, xytext=(5, 3), textcoords="offset points", fontsize=7.5)
    reach = [1.15 * max([abs(t.statistics[name].value) for t in shown] + [t.statistics[name].drift for t in shown[:1]])
             for name in axes_of]  # fmt: skip
    axes.set(xlabel=labels[0], ylabel=labels[1], xlim=(-reach[0], reach[0]), ylim=(-reach[1], reach[1]))
    axes.grid()
    legend_above(figure, axes, layout)
    return figure


def heat_figure(tracks: Sequence[TrackDrift], statistic: str, label: str, layout: Layout) -> Figure:
    """One statistic of every track on every chromosome, the worst tracks first."""
    shown = [track for track in worst_first(tracks) if statistic in track.statistics][:ROWS]
    findings = [track.statistics[statistic] for track in shown]
    chromosomes = list(dict.fromkeys(chrom for each in findings for chrom in each.by_chromosome))
    table = np.array([[each.by_chromosome.get(chrom, np.nan) for chrom in chromosomes] for each in findings])
    figure = new_figure(layout, 0.9 + 0.19 * max(len(shown), 4))
    axes = figure.subplots()
    low, high = scale_of(findings, statistic)
    reverse = "_r" if statistic == "correlation" else ""
    image = axes.imshow(
        np.ma.masked_invalid(table),
        aspect="auto",
        cmap=mpl.colormaps["YlOrBr" + reverse].with_extremes(bad=NO_DATA),
        vmin=low,
        vmax=high,
        interpolation="none",
    )
    axes.set_yticks(range(len(shown)), [literal(track.track) for track in shown], fontsize=7.5)
    for text, track in zip(axes.get_yticklabels(), shown, strict=True):
        if track.verdict != "ok":
            text.set(color=VERDICT_LOOKS[track.verdict][0], fontweight="bold")
    axes.set_xticks(range(len(chromosomes)), [c.removeprefix("chr") for c in chromosomes], fontsize=7.5)
    axes.set_xlabel("chromosome")
    axes.tick_params(length=0)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    color_bar(figure, image, axes, layout, label, fraction=0.05)
    return figure


def scale_of(findings: Sequence[Finding], statistic: str) -> tuple[float, float]:
    """Ends of the colours: from what is usual to the limit of drift, or beyond it."""
    if statistic == "correlation":
        return 0.0, 1.0
    return 0.0, max(2 * float(np.median([each.drift for each in findings])), 1e-6)


def model_figure(model: ModelDrift, layout: Layout) -> Figure:
    """Unexplained share of the signal on each chromosome, new and reference, and the distance of the embeddings."""
    figure = new_figure(layout, 5.2 if layout.narrow else 3.1)
    left, right = figure.subplots(2, 1) if layout.narrow else figure.subplots(1, 2)
    chromosomes = list(dict.fromkeys([*model.reference_unexplained, *model.unexplained]))
    places = np.arange(len(chromosomes))
    for values, color, marker, label in (
        (model.reference_unexplained, QUIET, "s", "reference"),
        (model.unexplained, "#0072B2", "o", "new data"),
    ):
        shares = [values.get(chrom, np.nan) for chrom in chromosomes]
        left.plot(places, shares, marker, color=color, linestyle="none", label=label)
    left.set(ylabel="share unexplained (median track)", xlabel="chromosome", ylim=(0, None))
    distances = model.embedding.by_chromosome
    right.bar(
        range(len(distances)),
        list(distances.values()),
        color=[VERDICT_LOOKS[_verdict_of(value, model.embedding)][0] for value in distances.values()],
        width=0.7,
    )
    right.axhline(model.embedding.warn, color=QUIET, linestyle=(0, (2, 2)), linewidth=0.9)
    right.axhline(model.embedding.drift, color=QUIET, linewidth=0.9)
    right.set(ylabel="distance of embeddings", xlabel="chromosome")
    for axes, names in ((left, chromosomes), (right, list(distances))):
        axes.set_xticks(range(len(names)), [name.removeprefix("chr") for name in names], fontsize=7.5)
        axes.grid(axis="y")
    legend_above(figure, left, layout)
    return figure


def _verdict_of(value: float, found: Finding) -> str:
    return "drift" if value > found.drift else "warn" if value > found.warn else "ok"
