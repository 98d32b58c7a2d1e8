"""Scores of predicted levels under many weightings at once, and the results of a task of levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from epilstm.params import EvaluateParams
from epilstm.scoring.classification import against_baselines, caveats, counted, listed, verdicts
from epilstm.scoring.scores import cluster_draws, in_batches, interval
from epilstm.scoring.trials import Trial
from epilstm.store.evaluation_results import (
    EMBEDDING,
    Difference,
    RegressionCellType,
    RegressionResult,
    RegressionScores,
    RegressionSummary,
)

#: Least variance, relative to the mean square, that counts as varying.
VARIES = 1e-12


def weighted_r2(
    levels: NDArray[np.float64], predicted: NDArray[np.floating], weights: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Coefficient of determination, ``1 - SSE / SST``, under many weightings.

    Parameters
    ----------
    levels, predicted : (n,) arrays
    weights : (b, n) array

    Returns
    -------
    (b,) float64 array
        NaN where the levels with weight do not vary.
    """
    exact = np.asarray(weights, dtype=np.float64)
    # About the mean of all levels, the one-pass variance loses no digits.
    about = levels - levels.mean()
    errors = exact @ np.square(levels - np.asarray(predicted, dtype=np.float64))
    squares = exact @ np.square(about)
    total = squares - np.square(exact @ about) / np.maximum(exact.sum(axis=1), 1e-300)
    varies = total > VARIES * np.maximum(squares, 1e-300)
    return np.where(varies, 1 - errors / np.where(varies, total, 1), np.nan)


def weighted_ranks(values: NDArray[np.floating], weights: NDArray[np.floating]) -> NDArray[np.float64]:
    """(b, n) ranks of values that occur `weights` times each; equal values share the mean of their ranks."""
    order = np.argsort(values, kind="stable")
    starts = np.flatnonzero(np.diff(values[order], prepend=np.nan))
    totals = np.add.reduceat(np.asarray(weights, dtype=np.float64)[:, order], starts, axis=1)
    mean_ranks = np.cumsum(totals, axis=1) - (totals - 1) / 2
    tie = np.empty(len(values), dtype=np.intp)
    tie[order] = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(values)))
    return np.asarray(mean_ranks[:, tie])


def weighted_spearman(
    levels: NDArray[np.float64], predicted: NDArray[np.floating], weights: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Spearman's rank correlation of examples that occur `weights` times each, for many weightings.

    Returns
    -------
    (b,) float64 array
        NaN where the levels with weight do not vary, 0 where only the predictions do not.
    """
    exact = np.asarray(weights, dtype=np.float64)
    count = np.maximum(exact.sum(axis=1, keepdims=True), 1)
    true, other = (
        ranks - (exact * ranks).sum(axis=1, keepdims=True) / count
        for ranks in (weighted_ranks(levels, exact), weighted_ranks(predicted, exact))
    )
    true_squares, other_squares = (exact * true**2).sum(axis=1), (exact * other**2).sum(axis=1)
    covariance = (exact * true * other).sum(axis=1)
    # Ranks that differ at all differ by a half or more.
    varies, predicts = true_squares > 1e-6, other_squares > 1e-6
    scale = np.sqrt(np.where(varies & predicts, true_squares * other_squares, 1))
    return np.where(varies, np.where(predicts, covariance / scale, 0), np.nan)


def mean_spearman(
    levels: NDArray[np.float64],
    predicted: NDArray[np.floating],
    fold: NDArray[np.integer],
    weights: NDArray[np.floating],
) -> NDArray[np.float64]:
    """Spearman's correlation within each fold, mean over the folds whose levels vary, by their weight.

    Returns
    -------
    (b,) float64 array
        NaN where the levels vary in no fold.
    """
    tests = [fold == number for number in np.unique(fold)]
    each = np.stack([weighted_spearman(levels[test], predicted[test], weights[:, test]) for test in tests])
    # A resample may leave a fold with a few examples, whose correlation is next to random.
    share = np.where(np.isfinite(each), np.stack([weights[:, test].sum(axis=1) for test in tests]), 0)
    total = share.sum(axis=0)
    mean = (share * np.nan_to_num(each)).sum(axis=0) / np.where(total > 0, total, 1)
    return np.where(total > 0, mean, np.nan)


def levels_of(trial: Trial) -> NDArray[np.float64]:
    """Levels of a trial of a task of levels."""
    assert trial.examples.levels is not None
    return trial.examples.levels


def judge_regression(
    trials: Sequence[Trial], held_out: Sequence[Mapping[str, NDArray[np.float32]]], params: EvaluateParams
) -> RegressionResult:
    """Results of one task of levels over its cell types.

    Parameters
    ----------
    trials : sequence of Trial
        All of one task.
    held_out : sequence of mapping
        For each trial, representation -> (n,) out-of-fold levels.
    params : EvaluateParams
    """
    names = list(held_out[0])
    draws = cluster_draws(trials[0].clusters, params.bootstrap, params.seed)
    cells: list[dict[str, RegressionScores]] = []
    resampled: list[dict[str, NDArray[np.float64]]] = []
    for trial, predictions in zip(trials, held_out, strict=True):
        levels, fold = levels_of(trial), trial.folds.fold
        once = np.ones((1, len(levels)))
        cells.append({})
        resampled.append({})
        for name in names:
            predicted = predictions[name]
            r2 = in_batches(draws, trial.cluster, partial(weighted_r2, levels, predicted))
            rho = in_batches(draws, trial.cluster, partial(mean_spearman, levels, predicted, fold))
            resampled[-1][name] = np.stack([r2, rho])
            cells[-1][name] = RegressionScores(
                r2=float(weighted_r2(levels, predicted, once)[0]),
                r2_ci=interval(r2, params.confidence),
                spearman=float(mean_spearman(levels, predicted, fold, once)[0]),
                spearman_ci=interval(rho, params.confidence),
                n=len(levels),
            )
    task = trials[0].task
    cell_types = {
        trial.cell_type: RegressionCellType(
            cell_type=trial.cell_type,
            n=len(trial.examples),
            n_outside=trial.n_outside,
            n_unusable=trial.examples.unusable,
            groups=len(np.unique(trial.folds.group)),
            clusters=len(np.unique(trial.cluster)),
            representations=own,
            differences=against_baselines(
                {name: each.r2 for name, each in own.items()},
                {name: each[0] for name, each in draw.items()},
                len(np.unique(trial.cluster)),
                params.confidence,
            ),
        )
        for trial, own, draw in zip(trials, cells, resampled, strict=True)
    }
    mean_draws = {name: np.mean([draw[name] for draw in resampled], axis=0) for name in names}
    r2_mean = {name: float(np.mean([each[name].r2 for each in cells])) for name in names}
    rho_mean = {name: float(np.mean([each[name].spearman for each in cells])) for name in names}
    clusters = max(cell.clusters for cell in cell_types.values())
    r2_draws, rho_draws = ({name: each[row] for name, each in mean_draws.items()} for row in (0, 1))
    summary = {
        name: RegressionSummary(
            r2=r2_mean[name],
            r2_ci=interval(r2_draws[name], params.confidence),
            spearman=rho_mean[name],
            spearman_ci=interval(rho_draws[name], params.confidence),
        )
        for name in names
    }
    differences = against_baselines(r2_mean, r2_draws, clusters, params.confidence)
    return RegressionResult(
        name=task.name,
        kind=task.kind,
        windows=task.windows,
        label_format=task.labels.format,
        unit=task.unit,
        cell_types=cell_types,
        summary=summary,
        differences=differences,
        spearman_differences=against_baselines(rho_mean, rho_draws, clusters, params.confidence),
        sentence=_sentence(task.name, task.unit, cell_types, summary[EMBEDDING], differences, clusters, params),
    )


def _sentence(
    task: str,
    unit: str,
    cell_types: Mapping[str, RegressionCellType],
    embedding: RegressionSummary,
    differences: Sequence[Difference],
    clusters: int,
    params: EvaluateParams,
) -> str:
    cells = list(cell_types)
    where = cells[0] if len(cells) == 1 else f"the mean over {len(cells)} cell types"
    n = sum(cell.n for cell in cell_types.values())
    said = f", in R2, the embedding {listed(verdicts(differences))}" if differences else ""
    return (
        f"{task} ({unit}): with R2 {embedding.r2:.3f} ({100 * params.confidence:g}% interval {embedding.r2_ci.low:.3f} "
        f"to {embedding.r2_ci.high:.3f}) and Spearman's correlation {embedding.spearman:.3f} "
        f"({embedding.spearman_ci.low:.3f} to {embedding.spearman_ci.high:.3f}; {where}; {n:,} levels, in "
        f"{counted(clusters, params)}){said}.{caveats(clusters, params)}"
    )
