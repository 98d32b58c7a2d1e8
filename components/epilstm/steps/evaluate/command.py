"""``epilstm evaluate``: read, judge, write.

The evaluation folder holds ``scores.json``, ``predictions.parquet``, ``levels.parquet`` where a task predicts levels
and, written last, ``manifest.json``; `epilstm.store.evaluation_results` has the schema of each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from epilstm.console import log, progress
from epilstm.errors import DataError, ParamsError
from epilstm.files.outputs import fingerprint, sha256_file, sha256_json, to_json
from epilstm.params import EvaluateParams
from epilstm.representations.features import Embedding, Network, Representation, Transform
from epilstm.representations.nmf import fit_nmf, offsets, training_sample
from epilstm.representations.pca import Moments, Pca, fit_pca
from epilstm.representations.pooling import WindowTable
from epilstm.runtime.runner import StepContext, StepResult
from epilstm.scoring.gene_regions import gene_regions
from epilstm.scoring.prediction import MAJORITY, HeldOut, predict_majority, predict_shown
from epilstm.scoring.task_results import score_classes, score_levels
from epilstm.scoring.tasks import Task, given_tasks
from epilstm.scoring.trials import Trial, prepare_trials
from epilstm.steps.evaluate.compared import (
    Ingredients,
    as_they_are,
    fit,
    fit_wide,
    make,
    ordered,
    require_two_levels,
    resolve,
)
from epilstm.steps.evaluate.cross_cell import (
    Encoders,
    cell_tracks,
    fits,
    judge_cross_cell,
    labelled_cell_types,
    views_of,
)
from epilstm.steps.evaluate.imputation import NetworkImputer, judge_imputation, judged_stretches
from epilstm.steps.evaluate.leak import LEAKING, judge_leak, with_random_folds
from epilstm.steps.evaluate.missing import hidden_tracks, judge_missing
from epilstm.steps.evaluate.reconstruction import judge_reconstruction, readout_blocks, training_moments
from epilstm.store.arrays import available_cores
from epilstm.store.evaluation_results import (
    EMBEDDING,
    LEVEL_COLUMNS,
    LEVELS_FILE,
    PREDICTION_COLUMNS,
    PREDICTIONS_FILE,
    SCORES_FILE,
    CrossCellTypes,
    EvaluationManifest,
    EvaluationResults,
    FoldsUsed,
    LeakResult,
    MissingTracks,
    require_one_run,
)
from epilstm.store.manifests import write_manifest
from epilstm.store.matrix import Matrix


@dataclass(frozen=True)
class Judged:
    """What every part of the evaluation is about: the data, the trials and how they are predicted."""

    matrix: Matrix
    trials: list[Trial]
    windows: WindowTable
    params: EvaluateParams
    threads: int

    @property
    def splits(self) -> int:
        """Folds over all trials."""
        return sum(len(trial.folds.splits()) for trial in self.trials)

    def predicted(
        self,
        representations: Mapping[str, Representation],
        what: str,
        trials: Sequence[Trial] | None = None,
    ) -> HeldOut:
        """Out-of-fold predictions of examples as they are, with a progress bar named `what`."""
        (held_out,) = self.predicted_shown(representations, [representations], what, trials)
        return held_out

    def predicted_shown(
        self,
        representations: Mapping[str, Representation],
        shown: Sequence[Mapping[str, Representation]],
        what: str,
        trials: Sequence[Trial] | None = None,
    ) -> list[HeldOut]:
        """The same of examples shown in several ways (`epilstm.scoring.prediction.predict_shown`)."""
        every = self.trials if trials is None else trials
        with progress(what, len(representations) * self.splits) as bar:
            return predict_shown(
                representations, shown, self.matrix, self.windows, every, self.params, self.threads, bar
            )


@dataclass(frozen=True)
class Compared:
    """What classifiers make of every representation; all empty but `order` and `sizes` without tasks.

    Parameters
    ----------
    order : list of str
        Representations as tables list them, the embedding first.
    sizes : dict of str to int
        Numbers per bin of each but the majority class.
    trials : list of Trial
    held_out : list of mapping
        For each trial, representation -> out-of-fold predictions.
    left_out, leak, missing_tracks, cross_cell_type
        As in `EvaluationResults`.
    """

    order: list[str]
    sizes: dict[str, int]
    left_out: dict[str, str] = field(default_factory=dict)
    trials: list[Trial] = field(default_factory=list)
    held_out: HeldOut = field(default_factory=list)
    leak: dict[str, LeakResult] = field(default_factory=dict)
    missing_tracks: MissingTracks | None = None
    cross_cell_type: CrossCellTypes | None = None


@dataclass(frozen=True)
class Described:
    """What representations are made of: the data, the network, and what is fitted on the training chromosomes.

    `sees` are the distances (base pairs) whose means the embedding's context was taught; none without a context level.
    """

    matrix: Matrix
    folder: Path
    embedding: Embedding
    encoders: Encoders
    moments: Moments
    pca: Pca
    sees: list[int]


def run(params: EvaluateParams, context: StepContext) -> StepResult:
    """Evaluate the embedding in reconstruction and, where tasks are given, on every task, against the baselines."""
    import torch

    from epilstm.model.folder import load_model, untrained_model
    from epilstm.model.networks import bin_level_of
    from epilstm.model.windows import CONTEXT_BINS, context_bins, encode_bins, reconstruct_bins

    # Recurrent steps are too small to share: a second thread slows them down, and one gives the same bytes everywhere.
    torch.set_num_threads(1)
    tasks, labels = given_tasks(context.inputs)
    matrix = Matrix(context.inputs["matrix"])
    genes = gene_regions(tasks, labels, matrix.manifest.bin_size)
    embedding = Embedding(matrix, context.inputs["embeddings"])
    network, model = load_model(context.inputs["model"])
    require_one_run(context.inputs, model.matrix_fingerprint, embedding.manifest)
    require_two_levels(params, model.config.context_size)
    also = _other_embeddings(matrix, params)
    if params.missing_tracks and matrix.tracks < 2:
        raise ParamsError("evaluate.missing_tracks: of one track none can be hidden; set it to 0")
    if not tasks:
        _say_what_needs_tasks(params)
    untrained_network = untrained_model(model)
    margin, frame = context_bins(model.config), model.frame_bins

    def trained_on(shown: Transform) -> Network:
        return Network(matrix, lambda rows: encode_bins(network, shown(rows)), embedding.size, margin, frame)

    def untrained_on(shown: Transform) -> Network:
        return Network(matrix, lambda rows: encode_bins(untrained_network, shown(rows)), embedding.size, margin, frame)

    # The decoder reads the code of the bin alone, so no more numbers than it has are fair to compare with.
    bin_code, untrained_bins = model.config.bin_code_size, bin_level_of(untrained_network)
    untrained_code = Network(matrix, lambda rows: encode_bins(untrained_bins, rows), bin_code, CONTEXT_BINS)
    reconstructed = Network(matrix, lambda rows: reconstruct_bins(network, rows), matrix.tracks, CONTEXT_BINS)

    trials, windows = prepare_trials(tasks, labels, matrix, params) if tasks else ([], None)
    for trial in trials:
        _log_examples(trial)

    split = matrix.manifest.split
    passes = [matrix.blocks(split.train), readout_blocks(matrix), matrix.blocks(split.test)]
    with progress("Reconstruction", sum(block.bins for blocks in passes for block in blocks)) as bar:
        moments = training_moments(matrix, bar.advance)
        pca = fit_pca(moments)
        reconstruction = judge_reconstruction(
            matrix, reconstructed, untrained_code, pca, bin_code, bar.advance, model.scaler, genes
        )
    imputation = None
    if params.imputation.enabled:
        with progress("Imputation", sum(block.bins for block in judged_stretches(matrix, params))) as bar:
            shown = NetworkImputer(lambda rows: reconstruct_bins(network, rows), CONTEXT_BINS, model.scaler)
            imputation = judge_imputation(matrix, shown, moments, bin_code, genes, params, bar.advance)
    compared = Compared([EMBEDDING], {EMBEDDING: embedding.size})
    if windows is not None:
        judged = Judged(matrix, trials, windows, params, params.threads or available_cores())
        encoders = Encoders(trained_on, untrained_on, embedding.size, bin_code)
        sees = model.training.context.surroundings_bp if model.training.context is not None else []
        described = Described(matrix, context.inputs["matrix"], embedding, encoders, moments, pca, sees)
        compared = compare_representations(judged, described, also)
    of_classes, of_levels = ([task for task in tasks if task.of_levels is levels] for levels in (False, True))
    results = EvaluationResults(
        embedding_size=embedding.size,
        representation_sizes=compared.sizes,
        representation_order=compared.order,
        left_out=compared.left_out,
        classifier=params.classifier.kind,
        pooling=list(params.pooling),
        context_bp=params.context_bp,
        pair_distance=params.pair_distance,
        folds=FoldsUsed(by=params.folds.by, count=params.folds.count, leaky=params.folds.by == "random"),
        confidence=params.confidence,
        bootstrap=params.bootstrap,
        task_order=[task.name for task in of_classes],
        tasks={task.name: score_classes(*_of_task(task, compared), params) for task in of_classes},
        regression={task.name: score_levels(*_of_task(task, compared), params) for task in of_levels},
        reconstruction=reconstruction,
        imputation=imputation,
        leak=compared.leak,
        missing_tracks=compared.missing_tracks,
        cross_cell_type=compared.cross_cell_type,
    )
    for sentence in sentences(results):
        log.info(sentence)
    _write(context, params, tasks, labels, matrix, results, compared)
    return StepResult(
        summary=_summary(results),
        metrics=metrics(results),
        bins=sum(region.bins for region in matrix.regions),
        tracks=matrix.tracks,
    )


def compare_representations(judged: Judged, described: Described, also: Mapping[str, Embedding]) -> Compared:
    """Predict every trial from every representation.

    Parameters
    ----------
    judged : Judged
    described : Described
    also : mapping of str to Embedding
        Other models' embeddings by name.
    """
    matrix, params, embedding = judged.matrix, judged.params, described.embedding
    encoders, moments = described.encoders, described.moments
    sample = cache(lambda: training_sample(matrix))
    resolved = resolve(params.representations, embedding.size, matrix.tracks, described.sees)
    for name, reason in resolved.left_out.items():
        log.info(f"{name} is left out: {reason}")
    fitted = fit(
        resolved.names,
        moments,
        described.pca,
        lambda size: fit_nmf(sample(), offsets(described.folder, matrix.manifest), size, params.seed),
        embedding.size,
    )
    fitted = replace(fitted, wide=fit_wide(resolved.names, matrix, readout_blocks(matrix)))
    untrained = encoders.untrained(as_they_are)
    ingredients = Ingredients(matrix, as_they_are, matrix.tracks, embedding, untrained, encoders.bin_code, fitted)
    names = {str(name): name for name in ordered(resolved.names)}
    order = [EMBEDDING, *also, *(name for name in names if name != EMBEDDING)]
    own = {text: make(name, ingredients) for text, name in names.items() if text != MAJORITY}
    made: dict[str, Representation] = {**own, **also}
    chosen = {name: made[name] for name in order if name != MAJORITY}

    def hiding(hidden: NDArray[np.bool_]) -> dict[str, Representation]:
        """The same representations of what is left of the tracks."""
        shown = _hiding(hidden)
        left = replace(
            ingredients, tracks=shown, embedding=encoders.trained(shown), untrained=encoders.untrained(shown)
        )
        return {text: make(names[text], left) for text in own}

    draws = hidden_tracks(matrix.tracks, params.missing_tracks, params.seed) if params.missing_tracks else []
    held_out, *without = judged.predicted_shown(own, [own, *(hiding(each) for each in draws)], "Classifiers")
    if also:
        for scores, further in zip(held_out, judged.predicted(also, "Other embeddings"), strict=True):
            scores.update(further)
    if MAJORITY in order:
        predict_majority(judged.trials, held_out)
    held_out = [{name: scores[name] for name in order} for scores in held_out]
    return Compared(
        order=order,
        sizes={name: each.size for name, each in chosen.items()},
        left_out=resolved.left_out,
        trials=judged.trials,
        held_out=held_out,
        leak=_leak(judged, chosen, held_out) if params.leak else {},
        missing_tracks=_missing(judged, draws, held_out, without) if params.missing_tracks else None,
        cross_cell_type=_cross_cell(judged, described.folder, encoders) if params.cross_cell_type else None,
    )


def _say_what_needs_tasks(params: EvaluateParams) -> None:
    log.info("no tasks are given: only the reconstruction is evaluated")
    asked = [name for name in ("also", "leak", "missing_tracks", "cross_cell_type") if getattr(params, name)]
    if asked:
        log.warning(f"evaluate.{', evaluate.'.join(asked)}: left out, needs tasks; give --tasks and --labels")


def sentences(results: EvaluationResults) -> list[str]:
    """What the results say, in plain sentences."""
    parts: list[Iterable[Any]] = [results.tasks.values(), results.regression.values(), results.leak.values()]
    if results.missing_tracks is not None:
        parts.append(results.missing_tracks.tasks.values())
    if results.cross_cell_type is not None:
        parts.append(results.cross_cell_type.tasks.values())
    if results.imputation is not None:
        parts.append([results.imputation])
    return [each.sentence for part in parts for each in part]


def _other_embeddings(matrix: Matrix, params: EvaluateParams) -> dict[str, Embedding]:
    """Embeddings by other models that ``also`` names.

    Raises
    ------
    DataError
        One is missing, or was made from another matrix.
    """
    others = {}
    for name, folder in params.also.items():
        if not Path(folder).is_dir():
            raise DataError(f"evaluate.also.{name}: {folder}: no such folder; give one that embed wrote")
        others[name] = Embedding(matrix, Path(folder))
        if others[name].manifest.matrix_fingerprint != matrix.fingerprint:
            raise DataError(
                f"evaluate.also.{name}: {folder}: these embeddings were made from another matrix; embed this one with "
                "that model"
            )
    return others


def _of_task(task: Task, compared: Compared) -> tuple[list[Trial], HeldOut]:
    own = [number for number, trial in enumerate(compared.trials) if trial.task is task]
    return [compared.trials[number] for number in own], [compared.held_out[number] for number in own]


def _leak(judged: Judged, chosen: Mapping[str, Representation], held_out: HeldOut) -> dict[str, LeakResult]:
    trials = with_random_folds(judged.trials, judged.params)
    leaking = {name: chosen[name] for name in LEAKING if name in chosen}
    leaky = judged.predicted(leaking, "Random folds", trials)
    return judge_leak(judged.trials, held_out, trials, leaky, list(leaking), judged.params)


def _missing(
    judged: Judged, draws: Sequence[NDArray[np.bool_]], held_out: HeldOut, without: Sequence[HeldOut]
) -> MissingTracks:
    names = judged.matrix.manifest.tracks
    return MissingTracks(
        share=judged.params.missing_tracks,
        draws=[[name for name, gone in zip(names, hidden, strict=True) if gone] for hidden in draws],
        tasks=judge_missing(judged.trials, held_out, without, judged.params),
    )


def _hiding(hidden: NDArray[np.bool_]) -> Transform:
    """Rows with some tracks at their mean."""
    kept = (~hidden).astype(np.float32)
    return lambda rows: rows * kept


def _cross_cell(judged: Judged, folder: Path, encoders: Encoders) -> CrossCellTypes | None:
    params, labelled = judged.params, labelled_cell_types(judged.trials)
    tracks = cell_tracks(judged.matrix.manifest.track_set, labelled)
    if tracks is None:
        log.warning(
            f"evaluate.cross_cell_type: left out, no two cell types ({', '.join(labelled) or 'none'}) have labels of "
            "one task and tracks of one assay"
        )
        return None
    views = views_of(judged.matrix, folder, tracks, encoders, params)
    with progress("Across cell types", fits(judged.trials, tracks, views, params)) as bar:
        return judge_cross_cell(
            judged.trials, judged.windows, judged.matrix, tracks, views, params, judged.threads, bar
        )


def _log_examples(trial: Trial) -> None:
    n, positives = len(trial.examples), int(trial.examples.labels.sum())
    counts = {"n": n, "positives": positives, "n_outside": trial.n_outside, "n_unusable": trial.examples.unusable}
    said = "with levels" if trial.task.of_levels else f"{positives:,} positive"
    log.info(
        f"{trial.task.name}, {trial.cell_type}: {n:,} examples, {said}; left out: {trial.n_outside:,} "
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


def _summary(results: EvaluationResults) -> str:
    reconstruction = results.reconstruction
    r2 = {name: "undefined" if fit.r2 is None else f"{fit.r2:.3f}" for name, fit in reconstruction.models.items()}
    said = [
        f"R2 on {', '.join(reconstruction.chromosomes)}: {r2['model']} ("
        + (f"PCA {r2['pca']}, " if "pca" in r2 else "")
        + f"untrained {r2['untrained']})"
    ]
    precision = ", ".join(
        f"{name} {task.summary[EMBEDDING].average_precision:.3f}" for name, task in results.tasks.items()
    )
    levels = ", ".join(f"{name} {task.summary[EMBEDDING].r2:.3f}" for name, task in results.regression.items())
    said += [f"{measure}: {told}" for measure, told in (("average precision", precision), ("R2", levels)) if told]
    return "; ".join(said)


def _write(
    context: StepContext,
    params: EvaluateParams,
    tasks: Sequence[Task],
    labels: Path,
    matrix: Matrix,
    results: EvaluationResults,
    compared: Compared,
) -> None:
    trials, held_out = compared.trials, compared.held_out
    folder = context.outputs["evaluation"]
    folder.mkdir(parents=True)
    (folder / SCORES_FILE).write_text(to_json(results.model_dump(mode="json")), encoding="utf-8")
    order = results.representation_order
    of_classes = [number for number, trial in enumerate(trials) if not trial.task.of_levels]
    of_levels = [number for number, trial in enumerate(trials) if trial.task.of_levels]
    write_predictions(folder / PREDICTIONS_FILE, [(trials[each], held_out[each]) for each in of_classes], order)
    if of_levels:
        write_predictions(folder / LEVELS_FILE, [(trials[each], held_out[each]) for each in of_levels], order)
    label_paths = sorted({path for task in tasks for path in task.label_paths})
    judged_with = params.model_dump(mode="json", exclude={"tasks", "labels", "threads"})
    write_manifest(
        folder,
        EvaluationManifest(
            matrix_fingerprint=matrix.fingerprint,
            model_fingerprint=fingerprint(context.inputs["model"]),
            embeddings_fingerprint=fingerprint(context.inputs["embeddings"]),
            tasks_sha256=sha256_file(context.inputs["tasks"]) if "tasks" in context.inputs else None,
            labels_sha256={path: sha256_file(labels / path) for path in label_paths},
            params_sha256=sha256_json(judged_with),
            params=judged_with,
            scores_sha256=sha256_file(folder / SCORES_FILE),
            predictions_sha256=sha256_file(folder / PREDICTIONS_FILE),
            levels_sha256=sha256_file(folder / LEVELS_FILE) if of_levels else None,
            also_fingerprints={name: fingerprint(Path(path)) for name, path in params.also.items()},
        ),
    )


def write_predictions(
    path: Path, predicted: Iterable[tuple[Trial, Mapping[str, NDArray[np.float32]]]], order: Sequence[str]
) -> None:
    """Write one row per example and representation, trial by trial.

    Parameters
    ----------
    path : Path
        Named `LEVELS_FILE`, the columns are those of `LEVEL_COLUMNS`; else, of `PREDICTION_COLUMNS`.
    predicted : iterable of (Trial, mapping)
        Each trial with its out-of-fold predictions by representation.
    order : sequence of str
        Representations.
    """
    import pyarrow
    import pyarrow.parquet

    kinds: dict[str, Callable[[], Any]] = {
        "string": pyarrow.string,
        "int64": pyarrow.int64,
        "int16": pyarrow.int16,
        "bool": pyarrow.bool_,
        "float32": pyarrow.float32,
        "float64": pyarrow.float64,
    }
    columns = LEVEL_COLUMNS if path.name == LEVELS_FILE else PREDICTION_COLUMNS
    schema = pyarrow.schema([(name, kinds[kind]()) for name, kind in columns.items()])
    with pyarrow.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for trial, scores in predicted:
            n, examples = len(trial.examples), trial.examples
            for name in order:
                content = {
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
                    "level": examples.levels,
                    "predicted": scores[name],
                }
                writer.write_table(pyarrow.table({column: content[column] for column in columns}, schema=schema))
