"""What an evaluation found: scores by cell type, precision-recall and ROC curves."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from epilstm.errors import ParamsError
from epilstm.figures.curves import read_curves
from epilstm.figures.drawing import Layout, legend_above, new_figure, round_ticks, words
from epilstm.figures.figure_file import Plot
from epilstm.figures.imputation import imputation_figure
from epilstm.figures.task_scores import (
    LOWEST_SCORE,
    ROW_HEIGHT,
    ROWS,
    CurvePanel,
    draw_scores,
    level_rows,
    panels_figure,
    score_rows,
)
from epilstm.store.evaluation_results import (
    FEW_REGIONS,
    IMPUTATION_MEASURES,
    NOT_JUDGED,
    PREDICTIONS_FILE,
    EvaluationResults,
    RegressionResult,
    Scores,
    TaskResult,
    read_results,
)

HOLD_OUT = {"chromosome": "whole chromosomes", "region": "whole regions", "random": "random examples (leaky)"}

#: Tasks whose curves fit beside each other.
TASKS_DRAWN = 5


def chosen_tasks(results: EvaluationResults, names: Sequence[str]) -> list[TaskResult | RegressionResult]:
    """Tasks by name, all where none is named.

    Raises
    ------
    ParamsError
        No such task.
    """
    known: dict[str, TaskResult | RegressionResult] = {**results.tasks, **results.regression}
    if not known:
        raise ParamsError("no tasks were evaluated, so there are no scores; give evaluate --tasks and --labels")
    for name in names:
        if name not in known:
            close = get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(known)}"
            raise ParamsError(f"--task {name}: the evaluation has no such task; {hint}")
    return [known[name] for name in dict.fromkeys(names)] or list(known.values())


def plot_scores(evaluation: Path, names: Sequence[str]) -> Plot:
    """Scores of every representation by task and cell type, with their intervals."""
    results = read_results(evaluation)
    tasks = chosen_tasks(results, names)
    rows = []
    for task in tasks:
        for cell, scored in task.cell_types.items():
            for name, each in scored.representations.items():
                measures = (
                    {"average_precision": (each.average_precision, each.average_precision_ci)}
                    if isinstance(each, Scores)
                    else {"r2": (each.r2, each.r2_ci), "spearman": (each.spearman, each.spearman_ci)}
                )
                for measure, (value, ci) in measures.items():
                    rows.append(
                        {
                            "task": task.name, "cell_type": cell, "representation": name, "measure": measure,
                            "score": value, "low": ci.low, "high": ci.high, "n": scored.n,
                            "positives": getattr(scored, "positives", None),
                        }
                    )  # fmt: skip
    counts = "; ".join(f"{words(task.name)}: n = {_all_counted(list(task.cell_types.values()))}" for task in tasks)
    caption = (
        f"Held-out scores of the same classifier ({results.classifier}) on each representation, "
        f"{results.confidence:.0%} bootstrap intervals; {results.folds.count} folds hold out "
        f"{HOLD_OUT[results.folds.by]}. {counts}."
    )
    few = [words(task.name) for task in tasks if any(each.verdict == NOT_JUDGED for each in task.differences)]
    if few:
        caption += f" Not judged, {FEW_REGIONS}, so the intervals say nothing: {', '.join(few)}."
    return Plot(partial(_scores_figure, tasks), caption, rows)


def _all_counted(cells: Sequence[object]) -> str:
    if len(cells) <= ROWS:
        return ", ".join(map(_counted, cells))
    spans = [_span([getattr(cell, name, None) for cell in cells]) for name in ("n", "positives")]
    positive = f" ({spans[1]} positive)" if spans[1] else ""
    return f"{spans[0]}{positive} in {len(cells)} cell types, of which {ROWS} are drawn"


def _span(numbers: Sequence[int | None]) -> str:
    known = [number for number in numbers if number is not None]
    return " to ".join(f"{number:,}" for number in sorted({min(known), max(known)})) if known else ""


def _counted(cell: object) -> str:
    n, positives = getattr(cell, "n", 0), getattr(cell, "positives", None)
    return f"{n:,}" if positives is None else f"{n:,} ({positives:,} positive)"


def _scores_figure(tasks: Sequence[TaskResult | RegressionResult], layout: Layout) -> Figure:
    """One panel per task, two beside each other where there is room."""
    panels = [
        (task, level_rows(task, "r2") if isinstance(task, RegressionResult) else score_rows(task)) for task in tasks
    ]
    columns = 1 if layout.narrow or len(panels) == 1 else 2
    places = -(-len(panels) // columns)
    # Panels side by side are as high as the one with more rows.
    heights = [
        ROW_HEIGHT * max(len(rows) for _, rows in panels[place * columns : (place + 1) * columns])
        for place in range(places)
    ]
    figure = new_figure(layout, 0.4 + sum(heights) + 0.68 * places)
    grid = figure.subplots(places, columns, squeeze=False, height_ratios=heights).ravel()
    for axes, (task, rows) in zip(grid, panels, strict=False):
        level = isinstance(task, RegressionResult)
        draw_scores(axes, rows, layout, lowest=LOWEST_SCORE if level else 0.0)
        axes.xaxis.set_major_locator(round_ticks(12 // columns))
        axes.set_title(words(task.name))
        axes.set_xlabel(f"R² of {task.unit}" if isinstance(task, RegressionResult) else "average precision")
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    legend_above(figure, grid[0], layout, handle=1.2)
    return figure


def plot_curves(evaluation: Path, name: str | None) -> Plot:
    """Precision-recall and ROC curves: of one task by cell type, or of each task's most telling cell type."""
    results = read_results(evaluation)
    if name is not None:
        (task,) = chosen_tasks(results, [name])
        if isinstance(task, RegressionResult):
            raise ParamsError(
                f"--task {name}: a task of levels has no precision and recall; epilstm plot scores draws it"
            )
        tasks = [task]
    else:
        tasks = list(results.tasks.values())[:TASKS_DRAWN]
        if not tasks:
            levels = "; epilstm plot scores draws its tasks of levels" if results.regression else ""
            raise ParamsError(f"{evaluation}: no task with classes, so no curves{levels}")
    panels, rows, counts = [], [], []
    for task in tasks:
        curves = read_curves(evaluation / PREDICTIONS_FILE, task)
        if name is None:
            most = max(curves, key=lambda cell: task.cell_types[cell].positives)
            curves = {most: curves[most]}
        for cell, each in curves.items():
            scored = task.cell_types[cell]
            panels.append(CurvePanel(cell if name else words(task.name), scored.base_rate, each))
            counts.append(
                f"{cell if name else f'{words(task.name)} ({cell})'}: n = {scored.n:,}, {scored.positives:,} positive"
            )
            for representation, curve in each.items():
                for kind, x, y in (
                    ("precision-recall", curve.recall, curve.precision),
                    ("ROC", curve.false_positive_rate, curve.recall_at_rate),
                ):
                    rows += [
                        {
                            "task": task.name, "cell_type": cell, "representation": representation, "curve": kind,
                            "x": float(a), "y": float(b),
                        }
                        for a, b in zip(x, y, strict=True)
                    ]  # fmt: skip
    caption = (
        f"{words(name) + ': h' if name else 'H'}eld-out predictions of all folds together; {results.folds.count} folds "
        f"hold out {HOLD_OUT[results.folds.by]}. {'; '.join(counts)}. Dotted: chance, the share of positives."
    )
    return Plot(partial(panels_figure, panels), caption, rows)


def plot_imputation(evaluation: Path) -> Plot:
    """Errors of imputed tracks, by method and measure."""
    found = read_results(evaluation).imputation
    if found is None:
        raise ParamsError(f"{evaluation}: nothing was imputed in this evaluation; set evaluate.imputation and run it")
    rows = [
        {"method": method, "track": track, "measure": measure, "error": getattr(each, measure)}
        for method, table in found.methods.items()
        for track, each in table.tracks.items()
        for measure in IMPUTATION_MEASURES
    ]
    tracks = len(next(iter(found.methods.values())).tracks)
    caption = (
        f"Mean squared error of imputed tracks, transformed signal; each track was hidden with others in one of "
        f"{len(found.folds)} groups; {', '.join(found.chromosomes)}, n = {tracks} tracks, {found.bins:,} bins. "
        "Small points: tracks; large ones: their mean."
    )
    return Plot(partial(imputation_figure, found), caption, rows)
