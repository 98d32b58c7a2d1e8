"""``epilstm evaluate``: read, judge, write.

The evaluation folder holds ``scores.json`` (`epilstm.evaluation.EvaluationResults`), ``predictions.parquet``
(`epilstm.evaluation.PREDICTION_COLUMNS`) and, written last, ``manifest.json``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from epilstm.artifacts import fingerprint, sha256_file, sha256_json, to_json
from epilstm.config import EvaluateParams
from epilstm.console import Progress, log, progress
from epilstm.datasets import write_manifest
from epilstm.evaluate.classifier import base_rate, predict_held_out
from epilstm.evaluate.judgement import judge_task
from epilstm.evaluate.matrix import Matrix
from epilstm.evaluate.pca import fit_pca
from epilstm.evaluate.pooling import WindowTable
from epilstm.evaluate.reconstruction import judge_reconstruction, readout_blocks, training_moments
from epilstm.evaluate.representations import (
    Embedding,
    Network,
    PrincipalComponents,
    RawTracks,
    Representation,
    pooled_features,
)
from epilstm.evaluate.tasks import Task, load_tasks
from epilstm.evaluate.trials import Trial, prepare_trials
from epilstm.evaluation import (
    EMBEDDING,
    PREDICTION_COLUMNS,
    PREDICTIONS_FILE,
    REPRESENTATIONS,
    SCORES_FILE,
    EvaluationManifest,
    EvaluationResults,
    FoldsUsed,
    Reconstruction,
    TaskResult,
    require_one_run,
)
from epilstm.runner import StepContext, StepResult
from epilstm.store import available_cores

HeldOut = list[dict[str, NDArray[np.float32]]]


def run(params: EvaluateParams, context: StepContext) -> StepResult:
    """Judge the embedding on every task and on reconstruction, against the baselines."""
    import torch

    from epilstm.model.folder import load_model, untrained_model
    from epilstm.model.windows import CONTEXT_BINS, encode_bins, reconstruct_bins

    threads = params.threads or available_cores()
    # Recurrent steps are too small to share: a second thread slows them down, and one gives the same bytes everywhere.
    torch.set_num_threads(1)
    tasks = load_tasks(context.inputs["tasks"])
    matrix = Matrix(context.inputs["matrix"])
    embedding = Embedding(matrix, context.inputs["embeddings"])
    network, model = load_model(context.inputs["model"])
    require_one_run(context.inputs, model.matrix_fingerprint, embedding.manifest)
    untrained_network = untrained_model(model)
    untrained = Network(matrix, lambda rows: encode_bins(untrained_network, rows), embedding.size, CONTEXT_BINS)
    reconstructed = Network(matrix, lambda rows: reconstruct_bins(network, rows), matrix.tracks, CONTEXT_BINS)

    trials, windows = prepare_trials(tasks, context.inputs["labels"], matrix, params)
    for trial in trials:
        _tell_examples(trial)

    split = matrix.manifest.split
    passes = [matrix.blocks(split.train), readout_blocks(matrix), matrix.blocks(split.test)]
    with progress("Reconstruction", sum(block.bins for blocks in passes for block in blocks)) as bar:
        pca = fit_pca(training_moments(matrix, bar.advance))
        reconstruction = judge_reconstruction(matrix, reconstructed, untrained, pca, embedding.size, bar.advance)
    representations: dict[str, Representation] = {
        EMBEDDING: embedding,
        "raw": RawTracks(matrix),
        "pca": PrincipalComponents(matrix, pca, embedding.size),
        "untrained": untrained,
    }
    fits = len(representations) * sum(len(trial.folds.splits()) for trial in trials)
    with progress("Classifiers", fits) as bar:
        held_out = predict_all(representations, matrix, windows, trials, params, threads, bar)
    results = EvaluationResults(
        embedding_size=embedding.size,
        representation_sizes={name: each.size for name, each in representations.items()},
        pooling=list(params.pooling),
        folds=FoldsUsed(by=params.folds.by, count=params.folds.count, leaky=params.folds.by == "random"),
        confidence=params.confidence,
        bootstrap=params.bootstrap,
        task_order=[task.name for task in tasks],
        tasks={task.name: _judged(task, trials, held_out, params) for task in tasks},
        reconstruction=reconstruction,
    )
    for task_result in results.tasks.values():
        log.info(task_result.sentence)
    _write(context, params, tasks, matrix, results, trials, held_out)
    return StepResult(
        summary=_summary(results.reconstruction, results.tasks),
        metrics=metrics(results),
        bins=sum(region.bins for region in matrix.regions),
        tracks=matrix.tracks,
    )


def predict_all(
    representations: Mapping[str, Representation],
    matrix: Matrix,
    windows: WindowTable,
    trials: Sequence[Trial],
    params: EvaluateParams,
    threads: int,
    bar: Progress,
) -> HeldOut:
    """Out-of-fold scores of every trial with every representation, the majority class included.

    One representation's features are in memory at a time. Classifiers run on one thread each, `threads` at once, so
    that the scores do not depend on how many there are.
    """
    held_out: HeldOut = [
        {name: np.empty(len(trial.examples), dtype=np.float32) for name in REPRESENTATIONS} for trial in trials
    ]
    for scores, trial in zip(held_out, trials, strict=True):
        for _, test in trial.folds.splits():
            scores["majority"][test] = base_rate(trial.examples.labels, test)
    with ThreadPoolExecutor(threads) as pool:
        for name, representation in representations.items():
            bar.note(f"({name})")
            pooled = pooled_features(representation, matrix, windows, list(params.pooling))

            def fit(job: tuple[int, NDArray[np.bool_]], pooled: NDArray = pooled, name: str = name) -> None:
                number, test = job
                trial = trials[number]
                features = pooled[trial.rows].reshape(len(trial.examples), -1)
                held_out[number][name][test] = predict_held_out(
                    features, trial.examples.labels, trial.folds.group, test, params.classifier, params.seed
                )

            jobs = [(number, test) for number, trial in enumerate(trials) for _, test in trial.folds.splits()]
            for _ in pool.map(fit, jobs):
                bar.advance()
    return held_out


def _judged(task: Task, trials: Sequence[Trial], held_out: HeldOut, params: EvaluateParams) -> TaskResult:
    own = [number for number, trial in enumerate(trials) if trial.task is task]
    return judge_task([trials[number] for number in own], [held_out[number] for number in own], params)


def _tell_examples(trial: Trial) -> None:
    n, positives = len(trial.examples), int(trial.examples.labels.sum())
    counts = {"n": n, "positives": positives, "n_outside": trial.n_outside, "n_unusable": trial.examples.unusable}
    log.info(
        f"{trial.task.name}, {trial.cell_type}: {n:,} examples, {positives:,} positive; left out: {trial.n_outside:,} "
        f"outside the covered regions, {trial.examples.unusable:,} without a value or a place",
        extra={"fields": counts},
    )


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
                numbers = scores.model_dump(exclude={"average_precision_ci", "folds_scored"})
                ci = scores.average_precision_ci
                cells[cell][representation] = numbers | {"ci_low": ci.low, "ci_high": ci.high}
    fits = results.reconstruction.models.items()
    return {
        "tasks": tasks,
        "reconstruction": {name: {"r2": fit.r2, "mse": fit.mse} for name, fit in fits},
        "leaky_folds": int(results.folds.leaky),
    }


def _summary(reconstruction: Reconstruction, tasks: Mapping[str, TaskResult]) -> str:
    r2 = {name: "undefined" if fit.r2 is None else f"{fit.r2:.3f}" for name, fit in reconstruction.models.items()}
    precision = ", ".join(f"{name} {task.summary[EMBEDDING].average_precision:.3f}" for name, task in tasks.items())
    return (
        f"R2 on {', '.join(reconstruction.chromosomes)}: {r2['model']} (PCA {r2['pca']}, untrained {r2['untrained']}); "
        f"average precision: {precision}"
    )


def _write(
    context: StepContext,
    params: EvaluateParams,
    tasks: Sequence[Task],
    matrix: Matrix,
    results: EvaluationResults,
    trials: Sequence[Trial],
    held_out: HeldOut,
) -> None:
    folder = context.outputs["evaluation"]
    folder.mkdir(parents=True)
    (folder / SCORES_FILE).write_text(to_json(results.model_dump(mode="json")), encoding="utf-8")
    write_predictions(folder / PREDICTIONS_FILE, trials, held_out)
    label_paths = sorted({path for task in tasks for path in task.label_paths})
    judged_with = params.model_dump(mode="json", exclude={"tasks", "labels", "threads"})
    write_manifest(
        folder,
        EvaluationManifest(
            matrix_fingerprint=matrix.fingerprint,
            model_fingerprint=fingerprint(context.inputs["model"]),
            embeddings_fingerprint=fingerprint(context.inputs["embeddings"]),
            tasks_sha256=sha256_file(context.inputs["tasks"]),
            labels_sha256={path: sha256_file(context.inputs["labels"] / path) for path in label_paths},
            params_sha256=sha256_json(judged_with),
            params=judged_with,
            scores_sha256=sha256_file(folder / SCORES_FILE),
            predictions_sha256=sha256_file(folder / PREDICTIONS_FILE),
        ),
    )


def write_predictions(path: Path, trials: Sequence[Trial], held_out: HeldOut) -> None:
    """Write one row per example and representation, trial by trial, with the columns of `PREDICTION_COLUMNS`."""
    import pyarrow
    import pyarrow.parquet

    kinds: dict[str, Callable[[], Any]] = {
        "string": pyarrow.string,
        "int64": pyarrow.int64,
        "int16": pyarrow.int16,
        "bool": pyarrow.bool_,
        "float32": pyarrow.float32,
    }
    schema = pyarrow.schema([(name, kinds[kind]()) for name, kind in PREDICTION_COLUMNS.items()])
    with pyarrow.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for trial, scores in zip(trials, held_out, strict=True):
            n, examples = len(trial.examples), trial.examples
            for name in REPRESENTATIONS:
                columns = {
                    "task": [trial.task.name] * n,
                    "cell_type": [trial.cell_type] * n,
                    "representation": [name] * n,
                    "example": examples.names,
                    "chrom": examples.chroms[:, 0],
                    "start": examples.starts.min(axis=1),
                    "end": examples.ends.max(axis=1),
                    "group": [trial.group_names[number] for number in trial.folds.group],
                    "fold": trial.folds.fold,
                    "label": examples.labels,
                    "score": scores[name],
                }
                writer.write_table(pyarrow.table(columns, schema=schema))
