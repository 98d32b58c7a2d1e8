"""Trials: a task in one cell type with its examples, folds and bootstrap clusters."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from epilstm.console import log
from epilstm.errors import LabelsError
from epilstm.genome.assembly import Region
from epilstm.genome.coverage import FOLD_INTERVAL, intervals_of, parts_of_regions, region_of
from epilstm.genome.name_matching import match_names
from epilstm.params import EvaluateParams
from epilstm.representations.features import bins_with_data
from epilstm.representations.pooling import WindowTable, distinct_windows, window_bins
from epilstm.scoring.folds import Folds, assign_folds, cross_fit_folds, cross_fit_groups
from epilstm.scoring.labels import Examples, read_labels
from epilstm.scoring.tasks import Task
from epilstm.store.matrix import Matrix


@dataclass(frozen=True)
class Trial:
    """One task in one cell type.

    Parameters
    ----------
    task : Task
    cell_type : str
    examples : Examples
        Those whose windows are covered and have data.
    rows : (n, windows) int array
        Each window's row in the window table that the trials share.
    cluster : (n,) int64 array
        What the bootstrap resamples; numbered alike in all trials of a task, from 0.
    clusters : int
        Number of clusters in the task.
    folds : Folds
    group_names : list of str
        Name of each group number.
    n_outside : int
        Examples left out: outside of the covered regions, without data, or over a cut between folds.
    """

    task: Task
    cell_type: str
    examples: Examples
    rows: NDArray[np.intp]
    cluster: NDArray[np.int64]
    clusters: int
    folds: Folds
    group_names: list[str]
    n_outside: int


@dataclass(frozen=True)
class UsableTrials:
    """Trials of which the data have labels, their windows, and the tasks that are left out, with the reason."""

    trials: list[Trial]
    windows: WindowTable
    left_out: dict[str, str]


def prepare_trials(
    tasks: list[Task], labels_folder: Path, matrix: Matrix, params: EvaluateParams
) -> tuple[list[Trial], WindowTable]:
    """Trials and windows of `usable_trials`."""
    found = usable_trials(tasks, labels_folder, matrix, params)
    return found.trials, found.windows


def usable_trials(tasks: list[Task], labels_folder: Path, matrix: Matrix, params: EvaluateParams) -> UsableTrials:
    """Read every task's labels, keep the examples that the matrix covers, and assign folds.

    A task is left out, in a cell type, with a warning where none of its labels lies in the data or no folds can be made
    of them, as long as another one remains.

    Returns
    -------
    UsableTrials
        Trials by task and cell type, in the order of the tasks file; their windows, each once.

    Raises
    ------
    LabelsError
        Labels are missing or malformed, or none of the tasks has usable ones.
    """
    regions, bin_size = matrix.covered(), matrix.manifest.bin_size
    crossed = cross_fit_groups(params.cross_fit, matrix.manifest)
    trials: list[Trial] = []
    failed: dict[str, LabelsError] = {}
    for task in tasks:
        located: dict[str, _Located] = {}
        for cell, examples in read_labels(task, labels_folder).items():
            try:
                located[cell] = _locate(examples, matrix, regions, task, cell)
            except LabelsError as error:
                failed[_where(task, cell)] = error
        by_cell = _cut_apart(located, params, bin_size, f"task {task.name}") if located else {}
        grouping = _group(list(by_cell.values()), params, bin_size) if by_cell else _Grouping([], [], [], 0)
        for (cell, own), group, cluster in zip(by_cell.items(), grouping.groups, grouping.clusters, strict=True):
            labels, where = own.examples.labels, _where(task, cell)
            try:
                folds = (
                    cross_fit_folds(own.examples.chroms[:, 0], group, labels, crossed, where, task.of_levels)
                    if crossed
                    else assign_folds(labels, group, params.folds, params.seed, where, task.of_levels)
                )
                folds = replace(folds, scored=_scored(own.examples, matrix, params, where))
            except LabelsError as error:
                failed[where] = error
                continue
            trials.append(
                Trial(
                    task=task,
                    cell_type=cell,
                    examples=own.examples,
                    rows=np.empty(0, np.intp),
                    cluster=cluster,
                    clusters=grouping.count,
                    folds=folds,
                    group_names=grouping.names,
                    n_outside=own.n_outside,
                )
            )
    if failed and not trials:
        raise next(iter(failed.values()))
    for each in failed.values():
        log.warning(f"left out: {each}")
    windows, rows = distinct_windows([_bins(trial.examples, matrix) for trial in trials])
    return UsableTrials(
        [replace(trial, rows=own) for trial, own in zip(trials, rows, strict=True)],
        windows,
        {where: str(each) for where, each in failed.items()},
    )


def _scored(examples: Examples, matrix: Matrix, params: EvaluateParams, where: str) -> NDArray[np.bool_] | None:
    """Which examples `score_on` scores; None for all."""
    if params.score_on == "all":
        return None
    places = matrix.manifest.split.test if params.score_on == "test" else matrix.manifest.split.validation
    regions = matrix.manifest.region_list(places)
    scored = region_of(examples.chroms, examples.starts, examples.ends, regions) >= 0
    labels = examples.labels[scored]
    if not scored.any() or (examples.levels is None and (labels.all() or not labels.any())):
        found = "no labelled examples are"
        if len(labels):
            found = f"all {len(labels):,} examples are {'positive' if labels.all() else 'negative'}"
        raise LabelsError(
            f"{where}: {found} on the {params.score_on} chromosomes "
            f"({', '.join(places) or 'none'}), which evaluate.score_on asks for; set it to all, or take the task out "
            "of the tasks file"
        )
    return scored


def scored_trials(trials: Sequence[Trial]) -> list[Trial]:
    """Trials of their scored examples alone; clusters are numbered anew, alike in all trials of a task."""
    found = list(trials)
    for numbers in by_task(trials).values():
        kept = {number: trials[number].folds.scored for number in numbers}
        clusters = [trials[number].cluster[mask] for number, mask in kept.items() if mask is not None]
        if not clusters:
            continue
        names = np.unique(np.concatenate(clusters))
        for number, mask in kept.items():
            trial = trials[number]
            if mask is not None:
                found[number] = replace(
                    trial,
                    examples=trial.examples.take(mask),
                    rows=trial.rows[mask],
                    cluster=np.searchsorted(names, trial.cluster[mask]),
                    clusters=len(names),
                    folds=Folds(trial.folds.fold[mask], trial.folds.group[mask]),
                )
    return found


def by_task(trials: Sequence[Trial]) -> dict[str, list[int]]:
    """Numbers of the trials of each task, in order."""
    numbers: dict[str, list[int]] = {}
    for number, trial in enumerate(trials):
        numbers.setdefault(trial.task.name, []).append(number)
    return numbers


def clusters_of(trials: Sequence[Trial]) -> int:
    """Clusters of the cell type that has most of them."""
    return max(len(np.unique(trial.cluster)) for trial in trials)


def _where(task: Task, cell: str) -> str:
    return f"task {task.name}, {cell}"


def _bins(examples: Examples, matrix: Matrix) -> tuple[NDArray[np.str_], NDArray[np.int64], NDArray[np.int64]]:
    return examples.chroms, *window_bins(examples.starts, examples.ends, matrix.manifest.bin_size)


@dataclass(frozen=True)
class _Located:
    """Examples that lie in the covered regions, the number of each one's region, and how many do not."""

    examples: Examples
    region: NDArray[np.int64]
    n_outside: int


def _locate(examples: Examples, matrix: Matrix, regions: list[Region], task: Task, cell: str) -> _Located:
    where = _where(task, cell)
    if not len(examples):
        raise LabelsError(f"{where}: no labelled examples in {task.labels.path}")
    source, target = f"{where}, {task.labels.path}", "the data set"
    match_names(
        Counter(examples.chroms[:, 0].tolist()),
        matrix.manifest.chromosomes,
        source,
        target,
        what="labelled examples",
        error=LabelsError,
        partial=logging.DEBUG,  # how many examples lie outside is logged in any case
    )
    examples = _clipped(examples, matrix.manifest.chromosome_sizes, source, target)
    region = region_of(examples.chroms, examples.starts, examples.ends, regions)
    inside = examples.take(region >= 0)
    windows, (rows,) = distinct_windows([_bins(inside, matrix)])
    has_data = (bins_with_data(matrix, windows) > 0) | (windows.first == windows.last)
    keep = has_data[rows].all(axis=1)
    if not keep.any():
        first = f"{examples.chroms[0, 0]}:{examples.starts[0, 0]}-{examples.ends[0, 0]}"
        covered = ", ".join(str(region) for region in regions[:2])
        raise LabelsError(
            f"{where}: none of the {len(examples):,} labelled examples (the first at {first}) lies inside the covered "
            f"regions and has data (covered: {covered}, ...); check that labels and signal are of one assembly, or "
            "take the task out of the tasks file"
        )
    kept = inside.take(keep)
    if kept.levels is not None and np.ptp(kept.levels) == 0:
        raise LabelsError(
            f"{where}: all {len(kept):,} examples have the level {kept.levels[0]:g}; take the cell type out of the "
            "tasks file"
        )
    return _Located(kept, region[region >= 0][keep], len(examples) - int(keep.sum()))


def _clipped(examples: Examples, sizes: Mapping[str, int], source: str, target: str) -> Examples:
    """Examples with windows that end where their chromosomes do; those that lie beyond are left as they are."""
    size = np.array([sizes.get(chrom, np.iinfo(np.int64).max) for chrom in examples.chroms.ravel().tolist()])
    size = size.reshape(examples.chroms.shape)
    past = (examples.ends > size) & (examples.starts < size)
    if not past.any():
        return examples
    log.warning(
        f"{source}: {int(past.any(axis=1).sum()):,} of {len(examples):,} labelled examples reach past the end of their "
        f"chromosome in {target} and are clipped; are they of another assembly?"
    )
    return replace(examples, ends=np.where(past, size, examples.ends))


def _cut_apart(
    by_cell: Mapping[str, _Located], params: EvaluateParams, bin_size: int, where: str
) -> Mapping[str, _Located]:
    """A task's examples in enough groups for the folds, where they overlap one another along whole regions.

    The regions are then cut into equal parts, and the examples that reach over a cut are left out.
    """
    located = list(by_cell.values())
    if params.folds.by != "region" or len(_group(located, params, bin_size).names) >= params.folds.count:
        return by_cell
    region, first, last = _placed(located, bin_size)
    part = parts_of_regions(region, first, last, FOLD_INTERVAL // bin_size)
    if part.max(initial=-1) + 1 < params.folds.count:
        return by_cell
    log.warning(
        f"{where}: its examples overlap one another over long intervals, which leaves fewer groups than folds; so the "
        f"regions are cut into intervals of about {FOLD_INTERVAL // 1_000_000} Mb, and the {int((part < 0).sum()):,} "
        f"of {len(part):,} examples that reach over a cut are left out"
    )
    own = np.split(part, np.cumsum([len(each.examples) for each in located])[:-1])
    return {
        cell: _Located(
            each.examples.take(parts >= 0), parts[parts >= 0], each.n_outside + int((parts < 0).sum())
        )
        for (cell, each), parts in zip(by_cell.items(), own, strict=True)
    }  # fmt: skip


def _placed(located: list[_Located], bin_size: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Region of each example of all cell types, and its bins from its first window to its last, half-open."""
    starts = np.concatenate([each.examples.starts.min(axis=1) for each in located])
    ends = np.concatenate([each.examples.ends.max(axis=1) for each in located])
    return np.concatenate([each.region for each in located]), *window_bins(starts, ends, bin_size)


@dataclass(frozen=True)
class _Grouping:
    """For each cell type of a task, the groups that folds hold out and the clusters that the bootstrap resamples.

    Both are numbered alike in all cell types; `names` are those of the groups, `count` is the number of clusters.
    """

    groups: list[NDArray[np.int64]]
    clusters: list[NDArray[np.int64]]
    names: list[str]
    count: int


def _group(located: list[_Located], params: EvaluateParams, bin_size: int) -> _Grouping:
    chroms = np.concatenate([each.examples.chroms[:, 0] for each in located])
    starts = np.concatenate([each.examples.starts.min(axis=1) for each in located])
    ends = np.concatenate([each.examples.ends.max(axis=1) for each in located])
    cuts = np.cumsum([len(each.examples) for each in located])[:-1]
    if params.folds.by == "random":
        examples = np.array([name for each in located for name in each.examples.names])
        names, numbers = np.unique(examples, return_inverse=True)
        split = np.split(numbers.astype(np.int64), cuts)
        return _Grouping(split, split, [str(name) for name in names], len(names))
    region, first, last = _placed(located, bin_size)
    cluster = intervals_of(region, first, last, params.blocks_bp // bin_size)
    clusters, count = np.split(cluster, cuts), int(cluster.max()) + 1
    if params.folds.by == "chromosome":
        names, numbers = np.unique(chroms, return_inverse=True)
        return _Grouping(np.split(numbers.astype(np.int64), cuts), clusters, [str(name) for name in names], count)
    interval = intervals_of(region, first, last, FOLD_INTERVAL // bin_size)
    # Intervals are numbered from 0 without gaps; each lies in one region, and so on one chromosome.
    order = np.argsort(interval, kind="stable")
    begins = np.flatnonzero(np.diff(interval[order], prepend=-1))
    low, high = np.minimum.reduceat(starts[order], begins), np.maximum.reduceat(ends[order], begins)
    interval_names = [
        f"{chrom}:{start}-{end}" for chrom, start, end in zip(chroms[order][begins], low, high, strict=True)
    ]
    return _Grouping(np.split(interval, cuts), clusters, interval_names, count)
