"""An evaluation's results in short: sentences for the log, numbers for the metrics file, and one line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from epilstm.genome.name_matching import listed
from epilstm.store.evaluation_results import EMBEDDING, EvaluationResults


def sentences(results: EvaluationResults) -> list[str]:
    """The results in plain sentences."""
    parts: list[Iterable[Any]] = [results.tasks.values(), results.regression.values(), results.leak.values()]
    if results.missing_tracks is not None:
        parts.append(results.missing_tracks.tasks.values())
    if results.cross_cell_type is not None:
        parts.append(results.cross_cell_type.tasks.values())
    if results.imputation is not None:
        parts.append([results.imputation])
    return [each.sentence for part in parts for each in part]


def metrics(results: EvaluationResults) -> dict[str, Any]:
    """The numbers of an evaluation for the metrics file: nested by task, cell type and representation."""
    tasks: dict[str, Any] = {}
    for name, task in results.tasks.items():
        cells = tasks.setdefault(name, {})
        for cell, result in task.cell_types.items():
            cells[cell] = {
                "n": result.n,
                "positives": result.positives,
                "base_rate": result.base_rate,
                "n_outside": result.n_outside,
                "n_unusable": result.n_unusable,
            }
            for representation, scores in result.representations.items():
                own = scores.model_dump(exclude={"average_precision_ci", "folds_scored"})
                ci = scores.average_precision_ci
                cells[cell][representation] = own | {"ci_low": ci.low, "ci_high": ci.high}
    fits = results.reconstruction.models.items()
    numbers: dict[str, Any] = {
        "tasks": tasks,
        "reconstruction": {name: {"r2": fit.r2, "mse": fit.mse} for name, fit in fits},
        "reconstruction_size": results.reconstruction.size,
        "leaky_folds": int(results.folds.leaky),
    }
    if results.imputation is not None:
        numbers["imputation"] = {
            name: table.overall.model_dump(exclude_none=True) for name, table in results.imputation.methods.items()
        }
    if results.regression:
        numbers["regression"] = {
            task.name: {
                cell.cell_type: {"n": cell.n}
                | {
                    name: {
                        "r2": each.r2,
                        "r2_ci_low": each.r2_ci.low,
                        "r2_ci_high": each.r2_ci.high,
                        "spearman": each.spearman,
                    }
                    for name, each in cell.representations.items()
                }
                for cell in task.cell_types.values()
            }
            for task in results.regression.values()
        }
    if results.leak:
        numbers["leak"] = {
            task: {name: each.delta for name, each in leak.representations.items()}
            for task, leak in results.leak.items()
        }
    if results.missing_tracks is not None:
        numbers["missing_tracks"] = {
            task: {name: each.fall for name, each in missing.representations.items()}
            for task, missing in results.missing_tracks.tasks.items()
        }
    if results.cross_cell_type is not None:
        numbers["cross_cell_type"] = {
            task: {name: each.across for name, each in transfer.summary.items()}
            for task, transfer in results.cross_cell_type.tasks.items()
        }
    return numbers


def summary(results: EvaluationResults) -> str:
    """The results in one line."""
    reconstruction = results.reconstruction
    r2 = {name: "undefined" if fit.r2 is None else f"{fit.r2:.3f}" for name, fit in reconstruction.models.items()}
    parts = [
        f"R2 on {listed(reconstruction.chromosomes)}: {r2['model']} ("
        + (f"PCA {r2['pca']}, " if "pca" in r2 else "")
        + f"untrained {r2['untrained']})"
    ]
    precision = ", ".join(
        f"{name} {task.summary[EMBEDDING].average_precision:.3f}" for name, task in results.tasks.items()
    )
    levels = ", ".join(f"{name} {task.summary[EMBEDDING].r2:.3f}" for name, task in results.regression.items())
    parts += [
        f"{measure}: {scores}" for measure, scores in (("average precision", precision), ("R2", levels)) if scores
    ]
    return "; ".join(parts)
