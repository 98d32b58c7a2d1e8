"""Scores of a study: over a number that was varied, or variant by variant."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator
from numpy.typing import NDArray

from epilstm.errors import DataError, ParamsError
from epilstm.figures.drawing import LINE, Layout, Plot, name_rows, new_figure, round_ticks, words
from epilstm.files.text import csv_records

COLUMNS = ("study", "variant", "seed", "task", "ap", "ap_low", "ap_high", "test_r2")

COLOR = "#0072B2"

#: A variant that is a number: letters, digits, thousands.
_NUMBER = re.compile(r"[a-z_-]*(\d+(?:\.\d+)?)(k|m)?")
_UNIT = {"": 1.0, "k": 1e3, "m": 1e6}

#: The variant without a limit, drawn after the largest number.
WITHOUT_LIMIT = "all"

#: The panel of the reconstruction, after those of the tasks.
RECONSTRUCTION = "reconstruction"


@dataclass(frozen=True)
class Point:
    """A score of one variant and seed, with its interval if it has one."""

    variant: str
    seed: int
    value: float
    low: float | None
    high: float | None


Panels = dict[str, list[Point]]


def plot_study(table: Path, name: str | None, axis: str | None) -> Plot:
    """Average precision by task, and R2 of the reconstruction, over the variants of a study.

    `table` is the CSV that ``epilstm study`` wrote, `name` a study in it (needed where there are several), `axis` what
    was varied, the study's name if not given.

    Raises
    ------
    DataError
        Not such a table.
    ParamsError
        No such study in it.
    """
    rows = read_table(table)
    studies = list(dict.fromkeys(row["study"] for row in rows))
    if name is None and len(studies) > 1:
        raise ParamsError(f"{table}: it has {len(studies)} studies; choose one of {', '.join(studies)} with --name")
    study = name or studies[0]
    if study not in studies:
        raise ParamsError(f"--name {study}: not in {table}; it has {', '.join(studies)}")
    rows = [row for row in rows if row["study"] == study]
    panels = panels_of(rows, table)
    variants = list(dict.fromkeys(row["variant"] for row in rows))
    seeds = {row["seed"] for row in rows}
    label = axis or study.replace("-", " ").replace("_", " ")
    caption = (
        f"{words(study.replace('-', '_'))}: held-out average precision of the embedding by task (mean over cell "
        f"types), and R² of the reconstruction of the test data; {len(variants)} variants, n = {len(seeds)} "
        "training seeds. Small points: seeds; large ones: their mean; pale: 95% bootstrap intervals, mean over seeds."
    )
    alt = f"Scores of {len(variants)} variants in {', '.join(map(words, panels))}."
    return Plot(partial(study_figure, panels, variants, label), caption, alt, lambda: rows)


def read_table(path: Path) -> list[dict[str, str]]:
    """Rows of a study's CSV.

    Raises
    ------
    DataError
        Not such a file, or nothing in it.
    """
    table = csv_records(path, "the table that 'epilstm study' wrote (CSV)", COLUMNS)
    rows = [{column: row[column] for column in COLUMNS} for _, row in table]
    if not rows:
        raise DataError(f"{path}: no rows in it; run the study first")
    return rows


def panels_of(rows: Sequence[dict[str, str]], path: Path) -> Panels:
    """Points of each panel: tasks in their order, then the reconstruction.

    Raises
    ------
    DataError
        A score is not a number.
    """
    panels: Panels = {}
    reconstruction: dict[tuple[str, int], Point] = {}
    for row in rows:
        try:
            seed, value = int(row["seed"]), float(row["ap"])
            low, high, fit = (float(row[name]) if row[name] else None for name in ("ap_low", "ap_high", "test_r2"))
        except ValueError as error:
            raise DataError(f"{path}: {row['variant']}, {row['task']}: {error}; run the study again") from error
        panels.setdefault(row["task"], []).append(Point(row["variant"], seed, value, low, high))
        if fit is not None:
            reconstruction[row["variant"], seed] = Point(row["variant"], seed, fit, None, None)
    if reconstruction:
        panels[RECONSTRUCTION] = list(reconstruction.values())
    return panels


def places_of(variants: Sequence[str]) -> dict[str, float] | None:
    """Numbers that variants stand for (``h24`` is 24, ``b10k`` 10,000); None where they are not numbers."""
    places: dict[str, float] = {}
    for variant in variants:
        found = _NUMBER.fullmatch(variant)
        if found:
            places[variant] = float(found[1]) * _UNIT[found[2] or ""]
        elif variant != WITHOUT_LIMIT:
            return None
    if len(places) < 2 or len(set(places.values())) < len(places) or min(places.values()) <= 0:
        return None
    if WITHOUT_LIMIT in variants:
        places[WITHOUT_LIMIT] = 3 * max(places.values())
    return dict(sorted(places.items(), key=lambda item: item[1]))


def study_figure(panels: Panels, variants: Sequence[str], label: str, layout: Layout) -> Figure:
    """A panel per task and one of the reconstruction."""
    places = places_of(variants)
    columns = 1 if layout.narrow else min(3, len(panels))
    rows = -(-len(panels) // columns)
    height = 2.2 if places else 0.7 + 0.28 * len(variants)
    figure = new_figure(layout, 0.2 + rows * (height + 0.2))
    grid = figure.subplots(rows, columns, squeeze=False, sharey=not places).ravel()
    for axes, (task, points) in zip(grid, panels.items(), strict=False):
        score = "R²" if task == RECONSTRUCTION else "average precision"
        axes.set_title(words(task))
        if places:
            _over_numbers(axes, points, places)
            axes.set(xlabel=label, ylabel=score)
        else:
            _by_variant(axes, points, variants)
            axes.set_xlabel(score)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    return figure


def _means(points: Sequence[Point], variant: str) -> tuple[float, float | None, float | None]:
    own = [point for point in points if point.variant == variant]
    lows = [point.low for point in own if point.low is not None]
    highs = [point.high for point in own if point.high is not None]
    return (
        math.fsum(point.value for point in own) / len(own) if own else math.nan,
        math.fsum(lows) / len(lows) if lows else None,
        math.fsum(highs) / len(highs) if highs else None,
    )


def _over_numbers(axes: Axes, points: Sequence[Point], places: dict[str, float]) -> None:
    at = np.array(list(places.values()))
    means = [_means(points, variant) for variant in places]
    if all(low is not None for _, low, _ in means):
        axes.fill_between(
            at, [low or 0 for _, low, _ in means], [high or 0 for _, _, high in means], color=COLOR, alpha=0.13,
            linewidth=0,
        )  # fmt: skip
    axes.plot(at, [mean for mean, _, _ in means], color=COLOR, marker="o", markersize=5, markeredgecolor="white")
    axes.plot(
        [places[point.variant] for point in points], [point.value for point in points], ".", color=COLOR, alpha=0.5
    )
    if at[-1] > 8 * at[0]:
        axes.set_xscale("log")
    names = [WITHOUT_LIMIT if variant == WITHOUT_LIMIT else _short(place) for variant, place in places.items()]
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    along = np.log(at) if axes.get_xscale() == "log" else at
    axes.set_xticks(at, _apart(names, along), rotation=90 if len(names) > 6 else 0)
    axes.yaxis.set_major_locator(round_ticks(5))
    axes.grid(axis="y")


def _apart(names: Sequence[str], along: NDArray[np.float64]) -> list[str]:
    """Names without those that would run into the one after them."""
    kept, after = list(names), math.inf
    for place in reversed(range(len(names))):
        if after - along[place] < 0.055 * (along[-1] - along[0]):
            kept[place] = ""
        else:
            after = float(along[place])
    return kept


def _short(number: float) -> str:
    return f"{number / 1e6:g}M" if number >= 1e6 else f"{number / 1e3:g}k" if number >= 1e4 else f"{number:g}"


def _by_variant(axes: Axes, points: Sequence[Point], variants: Sequence[str]) -> None:
    for row, variant in enumerate(variants):
        mean, low, high = _means(points, variant)
        if low is not None and high is not None:
            axes.plot([low, high], [row, row], color=COLOR, alpha=0.25, linewidth=5, solid_capstyle="butt")
        own = [point.value for point in points if point.variant == variant]
        axes.plot(own, [row] * len(own), ".", color=COLOR, alpha=0.5)
        axes.plot([mean], [row], "o", color=COLOR, markeredgecolor="white", markersize=7)
        if row == 0 and math.isfinite(mean):
            axes.axvline(mean, color=LINE, linewidth=0.9, zorder=0)
    name_rows(axes, [variant.replace("_", " ") for variant in variants])
    axes.xaxis.set_major_locator(round_ticks(5))
