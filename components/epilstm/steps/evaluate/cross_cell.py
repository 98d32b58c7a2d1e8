"""Learn from all labelled cell types but one, predict that one: which representation transfers.

For that, a cell type is described by its own tracks only, in an order of assays that all cell types share. The encoder
takes the tracks of all cell types, so it is shown one in two ways: its tracks in the place of every cell type's (the
same weights then read the same assay, whatever the cell type), or its tracks where they are and all others at their
mean. Genes are held out as elsewhere, in all cell types at once, so no gene is learnt from and predicted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from epilstm.console import Progress
from epilstm.params import EvaluateParams
from epilstm.representation_names import RepresentationName, has_brackets, has_means, parse_name
from epilstm.representations.features import Representation, Transform
from epilstm.representations.nmf import Nmf, fit_nmf, offsets, training_sample
from epilstm.representations.pca import fit_pca
from epilstm.representations.pooling import WindowTable
from epilstm.scoring.bootstrap import cluster_draws, difference, interval
from epilstm.scoring.classifier import predict_held_out
from epilstm.scoring.folds import Folds, assign_folds
from epilstm.scoring.metrics import metric_of
from epilstm.scoring.prediction import MAJORITY, PooledWindows, features_of
from epilstm.scoring.sentences import caveats, counted, listed, spoken
from epilstm.scoring.trials import Trial, by_task, clusters_of
from epilstm.steps.evaluate.compared import Ingredients, fit, make
from epilstm.store.evaluation_results import (
    EMBEDDING,
    NO_VERDICT,
    REPRESENTATIONS,
    CrossCellTask,
    CrossCellTypes,
    Difference,
    Transfer,
)
from epilstm.store.matrix import Matrix
from epilstm.store.moments import Moments
from epilstm.tracks.identity import TrackSet

#: The embedding of a cell type whose tracks are where they are, with all others hidden.
MASKED = "embedding_masked"

#: View of one cell type by name, then by cell type.
Views = Mapping[str, Mapping[str, Representation]]


@dataclass(frozen=True)
class Encoders:
    """Networks that can be shown something else than the matrix.

    Parameters
    ----------
    trained, untrained : callable
        From a transform of the matrix's rows to the embedding of what it makes of them.
    size, bin_code : int
        Numbers of the embedding, and of the bin's own code in it.
    hidden_value : float
        What stands for a track that the networks are not shown.
    """

    trained: Callable[[Transform], Representation]
    untrained: Callable[[Transform], Representation]
    size: int
    bin_code: int
    hidden_value: float = 0.0


@dataclass(frozen=True)
class CellTracks:
    """Tracks of the cell types compared.

    Parameters
    ----------
    assays : list of str
        Those that every one of the cell types has.
    columns : dict of str to (assays,) int array
        Cell type -> column of each assay's track.
    homes : list of int arrays
        For each assay, its columns in all cell types of the matrix.
    """

    assays: list[str]
    columns: dict[str, NDArray[np.intp]]
    homes: list[NDArray[np.intp]]

    def everywhere(self, rows: NDArray[np.float32], cell: str, hidden_value: float = 0.0) -> NDArray[np.float32]:
        """Rows with a cell type's tracks in the place of all cell types'; assays that it lacks are hidden."""
        shown = np.full_like(rows, hidden_value)
        for column, homes in zip(self.columns[cell], self.homes, strict=True):
            shown[:, homes] = rows[:, [column]]
        return shown

    def alone(self, rows: NDArray[np.float32], cell: str, hidden_value: float = 0.0) -> NDArray[np.float32]:
        """Rows with all tracks but a cell type's hidden."""
        shown = np.full_like(rows, hidden_value)
        shown[:, self.columns[cell]] = rows[:, self.columns[cell]]
        return shown


def cell_tracks(tracks: TrackSet, cell_types: Sequence[str]) -> CellTracks | None:
    """Tracks of those of the cell types that have any; None where fewer than two share an assay.

    Parameters
    ----------
    tracks : TrackSet
        Of the matrix; of the replicates of a cell type and assay, the first one is taken.
    cell_types : sequence of str
        Those with labels.
    """
    names = list(zip(tracks.cell_types, tracks.assays, strict=True))
    assays = {cell: {assay for own, assay in names if own == cell} for cell in cell_types}
    present = [cell for cell in cell_types if assays[cell]]
    if len(present) < 2:
        return None
    order = dict.fromkeys(assay for _, assay in names)
    shared = [assay for assay in order if all(assay in assays[cell] for cell in present)]
    if not shared:
        return None
    return CellTracks(
        shared,
        {cell: np.array([names.index((cell, assay)) for assay in shared]) for cell in present},
        [np.flatnonzero([own == assay for _, own in names]) for assay in shared],
    )


def labelled_cell_types(trials: Sequence[Trial]) -> list[str]:
    """Cell types of the tasks that have several, each once, in order."""
    several = [number for numbers in by_task(trials).values() if len(numbers) > 1 for number in numbers]
    return list(dict.fromkeys(trials[number].cell_type for number in several))


def views_of(
    matrix: Matrix,
    folder: Path,
    tracks: CellTracks,
    encoders: Encoders,
    params: EvaluateParams,
) -> Views:
    """What each cell type can be described by.

    Parameters
    ----------
    matrix : Matrix
    folder : Path
        Of the matrix.
    tracks : CellTracks
    encoders : Encoders
    params : EvaluateParams
        PCA and non-negative factors have their size as far as there are as many assays.
    """
    offset, width = offsets(folder, matrix.manifest), len(tracks.assays)
    sample = cache(lambda: _stacked_sample(matrix, offset, tracks))
    moments = _stacked_moments(matrix, tracks)
    fitted = fit(
        params.representations,
        moments,
        fit_pca(moments),
        lambda size: fit_nmf(sample(), np.zeros(width, np.float32), size, params.seed),
        encoders.size,
    )
    cells = {
        cell: Ingredients(
            matrix,
            _own(columns),
            width,
            encoders.trained(partial(tracks.everywhere, cell=cell, hidden_value=encoders.hidden_value)),
            encoders.untrained(partial(tracks.everywhere, cell=cell, hidden_value=encoders.hidden_value)),
            encoders.bin_code,
            replace(fitted, nmf={size: Nmf(offset[columns], each.factors) for size, each in fitted.nmf.items()}),
        )
        for cell, columns in tracks.columns.items()
    }
    views = {str(name): {cell: make(name, of) for cell, of in cells.items()} for name in _viewed(params)}
    alone = partial(tracks.alone, hidden_value=encoders.hidden_value)
    views[MASKED] = {cell: encoders.trained(partial(alone, cell=cell)) for cell in cells}
    return views


def _viewed(params: EvaluateParams) -> list[RepresentationName]:
    """What cell types are described by: the raw tracks, which the others are compared with, and what is asked for.

    Means around a bin are left out, here a cell type is described bin by bin; and so is what is of something in
    brackets, such as the cell type's own tracks, which all views are.
    """
    plain = [name for name in params.representations if not has_means(name) and not has_brackets(name)]
    asked = {str(name): name for name in plain} | {"raw": parse_name("raw")}
    usual = [asked[name] for name in ("raw", "pca", "nmf", EMBEDDING, "untrained") if name in asked]
    return [*usual, *(name for text, name in asked.items() if text not in REPRESENTATIONS)]


def _own(columns: NDArray[np.intp]) -> Transform:
    return lambda rows: rows[:, columns]


def _stacked_moments(matrix: Matrix, tracks: CellTracks) -> Moments:
    """Of the training bins' tracks by assay, all cell types one below the other."""
    moments = Moments(len(tracks.assays))
    for block in matrix.blocks(matrix.manifest.split.train):
        rows = matrix.rows(block)[matrix.mask(block)]
        for columns in tracks.columns.values():
            moments.add(rows[:, columns])
    return moments


def _stacked_sample(matrix: Matrix, offset: NDArray[np.float32], tracks: CellTracks) -> NDArray[np.float32]:
    """Un-centred rows by assay, from all cell types, as many as a sample has."""
    sample, columns = training_sample(matrix), tracks.columns.values()
    no_factors = np.empty((0, 0), np.float32)
    stacked = [Nmf(offset[own], no_factors).non_negative(sample[:, own]) for own in columns]
    return np.concatenate(stacked)[:: len(columns)]


@dataclass(frozen=True)
class _Stack:
    """Trials of one task, one below the other: which cell type each example is of, and folds made of all at once."""

    trials: list[Trial]
    cell: NDArray[np.intp]
    labels: NDArray[np.bool_]
    levels: NDArray[np.float64] | None
    groups: NDArray[np.int64]
    fold: NDArray[np.int16]


def _stacked(trials: Sequence[Trial], params: EvaluateParams) -> _Stack:
    task = trials[0].task
    labels = np.concatenate([trial.examples.labels for trial in trials])
    groups = np.concatenate([trial.folds.group for trial in trials])
    levels = [trial.examples.levels for trial in trials if trial.examples.levels is not None]
    folds = assign_folds(labels, groups, params.folds, params.seed, f"task {task.name}", task.of_levels)
    cell = np.repeat(np.arange(len(trials)), [len(trial.examples) for trial in trials])
    refolded = [
        replace(trial, folds=Folds(folds.fold[cell == number], trial.folds.group))
        for number, trial in enumerate(trials)
    ]
    return _Stack(refolded, cell, labels, np.concatenate(levels) if levels else None, groups, folds.fold)


def score_cross_cell(
    trials: Sequence[Trial],
    windows: WindowTable,
    matrix: Matrix,
    tracks: CellTracks,
    views: Views,
    params: EvaluateParams,
    threads: int,
    bar: Progress,
) -> CrossCellTypes:
    """Transfer of every view in every task that has labels of at least two of the cell types.

    Parameters
    ----------
    trials : sequence of Trial
    windows : WindowTable
        Of the trials.
    matrix : Matrix
    tracks : CellTracks
    views : mapping
        Of `views_of`.
    params : EvaluateParams
    threads : int
    bar : Progress
        Advanced by each fit.
    """
    stacks = {}
    for task, numbers in by_task(trials).items():
        own = [trials[number] for number in numbers if trials[number].cell_type in tracks.columns]
        if len(own) > 1:
            stacks[task] = _stacked(own, params)
    used = np.unique(np.concatenate([trial.rows.ravel() for stack in stacks.values() for trial in stack.trials]))
    table = WindowTable(windows.chroms[used], windows.first[used], windows.last[used])
    place = np.zeros(len(windows), dtype=np.intp)
    place[used] = np.arange(len(used))

    features_by_window = PooledWindows(matrix, table, params)
    # task -> view -> (across, within), each with one array of scores per cell type
    scores: dict[str, dict[str, tuple[list[NDArray], list[NDArray]]]] = {task: {} for task in stacks}
    with ThreadPoolExecutor(threads) as pool:
        for name in (*views, MAJORITY):
            bar.note(f"({name})")
            pooled = (
                {} if name == MAJORITY else {cell: features_by_window.of(view) for cell, view in views[name].items()}
            )
            for task, stack in stacks.items():
                features = None
                if pooled:
                    shifted = [replace(trial, rows=place[trial.rows]) for trial in stack.trials]
                    features = np.concatenate([features_of(each, pooled[each.cell_type], params) for each in shifted])
                scores[task][name] = _predicted(stack, features, params, pool, bar)
    return CrossCellTypes(
        assays=tracks.assays,
        cell_types=list(tracks.columns),
        view_sizes={name: next(iter(by_cell.values())).size for name, by_cell in views.items()},
        tasks={task: _result(task, stack, scores[task], params) for task, stack in stacks.items()},
    )


def fits(trials: Sequence[Trial], tracks: CellTracks, views: Views, params: EvaluateParams) -> int:
    """How many classifiers `score_cross_cell` fits."""
    counts = [
        sum(trials[number].cell_type in tracks.columns for number in numbers) for numbers in by_task(trials).values()
    ]
    return 2 * params.folds.count * len(views) * sum(count for count in counts if count > 1)


def _predicted(
    stack: _Stack, features: NDArray[np.float32] | None, params: EvaluateParams, pool: ThreadPoolExecutor, bar: Progress
) -> tuple[list[NDArray], list[NDArray]]:
    across, within = (np.empty(len(stack.cell), dtype=np.float32) for _ in range(2))
    jobs = [(cell, fold) for cell in range(len(stack.trials)) for fold in np.unique(stack.fold)]

    def fit(job: tuple[int, int]) -> None:
        held, here = stack.cell == job[0], stack.fold == job[1]
        test = held & here
        for out, train in ((across, ~held & ~here), (within, held & ~here)):
            if features is None:
                out[test] = (stack.labels if stack.levels is None else stack.levels)[train].mean()
                continue
            out[test] = predict_held_out(
                features, stack.labels, stack.groups, test, params.classifier, params.seed,
                levels=stack.levels, train=train,
            )  # fmt: skip

    for _ in pool.map(fit, jobs):
        if features is not None:
            bar.advance(2)
    cells = range(len(stack.trials))
    return [across[stack.cell == cell] for cell in cells], [within[stack.cell == cell] for cell in cells]


def _result(
    task: str, stack: _Stack, scores: Mapping[str, tuple[list[NDArray], list[NDArray]]], params: EvaluateParams
) -> CrossCellTask:
    trials, (measure, metric) = stack.trials, metric_of(stack.trials)
    draws = cluster_draws(trials[0].clusters, params.bootstrap, params.seed)
    clusters = clusters_of(trials)
    summary, across_draws = {}, {}
    cell_types: dict[str, dict[str, float]] = {trial.cell_type: {} for trial in trials}
    for name, (across, within) in scores.items():
        values = [metric.value(trial, each) for trial, each in zip(trials, across, strict=True)]
        for trial, value in zip(trials, values, strict=True):
            cell_types[trial.cell_type][name] = value
        own = float(np.mean([metric.value(trial, each) for trial, each in zip(trials, within, strict=True)]))
        across_draws[name], within_draws = (
            np.mean([metric.resampled(trial, each, draws) for trial, each in zip(trials, part, strict=True)], axis=0)
            for part in (across, within)
        )
        mean = float(np.mean(values))
        summary[name] = Transfer(
            across=mean,
            across_ci=interval(across_draws[name], params.confidence),
            within=own,
            loss=own - mean,
            loss_ci=interval(within_draws - across_draws[name], params.confidence),
        )
    differences = {
        name: difference(
            "raw",
            summary[name].across - summary["raw"].across,
            across_draws[name] - across_draws["raw"],
            clusters,
            params.confidence,
        )
        for name in scores
        if name != "raw"
    }
    return CrossCellTask(
        measure=measure,
        n=len(stack.labels),
        clusters=clusters,
        cell_types=cell_types,
        summary=summary,
        differences=differences,
        sentence=_sentence(task, measure, len(stack.labels), len(trials), summary, differences, clusters, params),
    )


def view_name(name: str) -> str:
    """How a sentence or a table calls a view."""
    own = {MASKED: "the embedding with the others hidden", EMBEDDING: "the embedding with its tracks in every place"}
    return own.get(name, spoken(name))


def _agreeing(verdict: str, subjects: int) -> str:
    if verdict == NO_VERDICT:
        return "has no verdict against" if subjects == 1 else "have no verdict against"
    if subjects == 1:
        return verdict
    return "beat" if verdict == "beats" else verdict.replace("is ", "are ", 1)


def _sentence(
    task: str,
    measure: str,
    n: int,
    cells: int,
    summary: Mapping[str, Transfer],
    differences: Mapping[str, Difference],
    clusters: int,
    params: EvaluateParams,
) -> str:
    raw = summary["raw"]
    against: dict[str, list[str]] = {}
    for name, each in differences.items():
        against.setdefault(each.verdict, []).append(f"{view_name(name)} ({each.delta:+.3f})")
    reasons = dict.fromkeys(each.reason for each in differences.values() if each.reason)
    said = [
        f"{listed(names)} {_agreeing(verdict, len(names))} them"
        + ("".join(f" ({reason})" for reason in reasons) if verdict == NO_VERDICT else "")
        for verdict, names in against.items()
    ]
    return (
        f"{task}: learnt from {cells - 1} of {cells} cell types and predicted in the other, a cell type's own tracks "
        f"reach {measure} {raw.across:.3f} ({100 * params.confidence:g}% interval {raw.across_ci.low:.3f} to "
        f"{raw.across_ci.high:.3f}; learnt in the cell type itself: {raw.within:.3f}; {n:,} labels, in "
        f"{counted(clusters, params)}); {listed(said)}.{caveats(clusters, params)}"
    )
