"""From the results to one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files

from jinja2 import Environment, StrictUndefined

from epilstm import __version__
from epilstm.figures.drawing import Picture, picture
from epilstm.figures.html import LONG_TABLE, count, number, style
from epilstm.genome.name_matching import listed
from epilstm.steps.monitor.drift import SERVED_STATISTICS, STATISTICS, DriftReport, Statistic, TrackDrift
from epilstm.steps.monitor.figures import ROWS, heat_figure, model_figure, plane_figure, worst_first

TEMPLATE = "drift.html.jinja"

#: Rows of the table of all tracks: tracks as usual beyond them are in ``drift.json`` alone.
TABLE_ROWS = 300


@dataclass(frozen=True)
class Table:
    """Tracks by statistics."""

    columns: list[Statistic]
    rows: list[TrackDrift]
    left_out: int


def table_of(tracks: Sequence[TrackDrift], statistics: Sequence[Statistic]) -> Table:
    """The worst tracks first, with the statistics that any of them has."""
    columns = [each for each in statistics if any(each.name in track.statistics for track in tracks)]
    rows = worst_first(tracks)[:TABLE_ROWS]
    return Table(columns, rows, len(tracks) - len(rows))


def pictures_of(report: DriftReport) -> dict[str, Picture]:
    """Every figure that has data."""
    pictures: dict[str, Picture] = {}
    tracks = report.tracks
    if any({"scale", "signal_to_noise"} <= set(track.statistics) for track in tracks):
        pictures["plane"] = picture(
            partial(
                plane_figure,
                tracks,
                ("scale", "signal_to_noise"),
                ("factor on high values (log2)", "factor on signal to noise (log2)"),
            ),
            "Every track by its change of scale and of signal to noise, with the limits; the table has the numbers.",
        )
    for statistic, label in (("correlation", "correlation with itself"), ("psi", "PSI")):
        if any(track.statistics[statistic].by_chromosome for track in tracks if statistic in track.statistics):
            pictures[statistic] = picture(
                partial(heat_figure, tracks, statistic, label),
                f"Heat map of the {label} of every track on every chromosome.",
            )
    if report.model is not None:
        pictures["model"] = picture(
            partial(model_figure, report.model),
            "Share of the signal that the model leaves unexplained, and distance of the embeddings, by chromosome.",
        )
    if report.served:
        pictures["served"] = picture(
            partial(
                plane_figure,
                report.served,
                ("served_mean", "served_spread"),
                ("shift of the mean (standard deviations)", "factor on the spread (log2)"),
            ),
            "Every served track by the shift of its mean and the factor on its spread, with the limits.",
        )
    return pictures


def drift_page(report: DriftReport) -> str:
    """The page as HTML text: everything is inside, nothing is loaded."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(number=number, count=count, places=listed)
    template = environment.from_string((files("epilstm.steps.monitor") / TEMPLATE).read_text(encoding="utf-8"))
    text = template.render(
        style=style(),
        version=__version__,
        report=report,
        tables=[
            (heading, table_of(tracks, list(statistics.values())))
            for heading, tracks, statistics in (
                ("New tracks", report.tracks, STATISTICS),
                ("What the server was given", report.served, SERVED_STATISTICS),
            )
            if tracks
        ],
        findings=[track for track in worst_first([*report.tracks, *report.served]) if track.verdict != "ok"],
        pictures=pictures_of(report),
        rows_drawn=ROWS,
        long_table=LONG_TABLE,
    )
    return text.strip() + "\n"
