"""Folds that hold out whole chromosomes or regions."""

from __future__ import annotations

import heapq
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from epilstm.errors import LabelsError, ParamsError
from epilstm.params import CrossFitParams, FoldParams
from epilstm.store.manifests import MatrixManifest


@dataclass(frozen=True)
class Folds:
    """Which fold holds out each example.

    Parameters
    ----------
    fold : (n,) int16 array
        Number of the fold that tests an example; all others train on it.
    group : (n,) int64 array
        What is held out whole.
    scored : (n,) bool array, optional
        Examples whose predictions are scored; without it, all.
    """

    fold: NDArray[np.int16]
    group: NDArray[np.int64]
    scored: NDArray[np.bool_] | None = None

    def splits(self) -> list[tuple[int, NDArray[np.bool_]]]:
        """The number of each fold that has scored examples, and which examples it tests."""
        used = self.fold if self.scored is None else self.fold[self.scored]
        return [(int(number), self.fold == number) for number in np.unique(used)]


def assign_folds(
    labels: NDArray[np.bool_],
    groups: NDArray[np.int64],
    params: FoldParams,
    seed: int,
    where: str,
    of_levels: bool = False,
) -> Folds:
    """Folds with about the same share of positives, whole groups apart.

    Parameters
    ----------
    labels : (n,) bool array
    groups : (n,) int64 array
        Chromosome, interval or, for random folds, the example itself.
    params : FoldParams
    seed : int
    where : str
        Task and cell type, for messages.
    of_levels : bool
        Levels are predicted: both classes need not be there, nor in more than one group.

    Raises
    ------
    LabelsError
        No examples, one class only, fewer groups than folds, or a class that lies in one group.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    unit = {"chromosome": "chromosomes", "region": "regions", "random": "examples"}[params.by]
    if not len(labels):
        raise LabelsError(f"{where}: no labelled examples")
    if not of_levels and (labels.all() or not labels.any()):
        kind = "positive" if labels.all() else "negative"
        raise LabelsError(
            f"{where}: all {len(labels):,} examples are {kind}; a task needs both classes (check the threshold, or "
            "take the cell type out of the tasks file)"
        )
    count = len(np.unique(groups))
    if count < params.count:
        remedies = [f"set folds.count to {count}{' or less' if count > 2 else ''}"] if count > 1 else []
        remedies += ["hold out regions (folds.by: region)"] if params.by == "chromosome" else []
        remedies += ["give more labels or regions, or take the task out of the tasks file"] if not remedies else []
        raise LabelsError(
            f"{where}: the labelled examples lie in {count} {unit if count != 1 else unit[:-1]}, too few for "
            f"{params.count} folds; {', or '.join(remedies)}"
        )
    for value, name in () if of_levels else ((True, "positives"), (False, "negatives")):
        if len(np.unique(groups[labels == value])) < 2:
            raise LabelsError(
                f"{where}: all {name} lie in one of the {count} {unit}, so with it held out nothing is left to learn "
                "from; use finer folds (folds.by) or more labels"
            )
    if max(labels.sum(), (~labels).sum()) < params.count:
        raise LabelsError(f"{where}: {len(labels)} examples are too few for {params.count} folds; lower folds.count")
    shuffled = {"n_splits": params.count, "shuffle": True, "random_state": seed}
    fold = np.empty(len(labels), dtype=np.int16)
    if params.by == "random":
        splits = StratifiedKFold(**shuffled).split(labels, labels)
    else:
        splits = StratifiedGroupKFold(**shuffled).split(labels, labels, groups)
    with warnings.catch_warnings():
        # scikit-learn warns of a class rarer than folds; `Scores.folds_scored` says it in the results.
        warnings.simplefilter("ignore", UserWarning)
        for number, (_, test) in enumerate(splits):
            fold[test] = number
    return Folds(fold, groups)


def cross_fit_groups(params: CrossFitParams, manifest: MatrixManifest) -> list[list[str]]:
    """Groups of a data set's chromosomes that cross-fitting leaves out in turn; none where it is off.

    A number makes groups of about equal size: the largest chromosome goes first, each to the group that has least.

    Raises
    ------
    ParamsError
        The data have a chromosome that no group names, none of a group's, or fewer chromosomes than groups.
    """
    chromosomes = manifest.chromosomes
    if isinstance(params.groups, list):
        named = [name for group in params.groups for name in group]
        forgotten = [name for name in chromosomes if name not in named]
        if forgotten:
            raise ParamsError(f"evaluate.cross_fit.groups: {', '.join(forgotten)} of the data is in no group")
        groups = [[name for name in group if name in chromosomes] for group in params.groups]
        empty = [group for group, own in zip(params.groups, groups, strict=True) if not own]
        if empty:
            raise ParamsError(f"evaluate.cross_fit.groups: the data have none of the chromosomes {', '.join(empty[0])}")
        return groups
    if params.groups > len(chromosomes):
        raise ParamsError(
            f"evaluate.cross_fit.groups: {params.groups} groups of {len(chromosomes)} chromosomes; set it to "
            f"{len(chromosomes)} or less"
        )
    bins = {chrom: sum(last - first for first, last in manifest.bin_ranges[chrom]) for chrom in chromosomes}
    least = [(0, number) for number in range(params.groups)]
    groups = [[] for _ in least]
    for chrom in sorted(bins, key=lambda name: -bins[name]) if groups else []:
        size, number = heapq.heappop(least)
        heapq.heappush(least, (size + bins[chrom], number))
        groups[number].append(chrom)
    return [[chrom for chrom in chromosomes if chrom in group] for group in groups]


def cross_fit_folds(
    chroms: NDArray[np.str_],
    group: NDArray[np.int64],
    labels: NDArray[np.bool_],
    groups: Sequence[Sequence[str]],
    where: str,
    of_levels: bool = False,
) -> Folds:
    """Folds that are the groups of cross-fitting: fold i tests what lies on the chromosomes of group i.

    Parameters
    ----------
    chroms : (n,) array of str
    group : (n,) int64 array
        Number of each example's chromosome.
    labels : (n,) bool array
    groups : sequence of sequence of str
    where, of_levels
        As `assign_folds`.

    Raises
    ------
    LabelsError
        With a group left out, nothing is left to learn from.
    """
    number = {chrom: fold for fold, own in enumerate(groups) for chrom in own}
    fold = np.array([number[chrom] for chrom in chroms.tolist()], dtype=np.int16)
    for value, name in ((None, "labels"),) if of_levels else ((True, "positives"), (False, "negatives")):
        held = np.unique(fold if value is None else fold[labels == value])
        if len(held) < 2:
            raise LabelsError(
                f"{where}: all {name} lie on the chromosomes of one group of evaluate.cross_fit.groups, so with it "
                "left out nothing is left to learn from; use other groups, or take the task out of the tasks file"
            )
    return Folds(fold, group)
