"""From files to figures: what is read and what of it is chosen. `epilstm.figures` draws."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from epilstm.errors import DataError, ParamsError
from epilstm.figures.annotation import genes_in, segments_in
from epilstm.figures.curves import curves_plot, largest_panel, task_panels
from epilstm.figures.drawing import Plot
from epilstm.figures.imputation import imputation_plot
from epilstm.figures.landscape import SEGMENT_COLORS, window_plot
from epilstm.figures.loadings import loadings_plot, shown_context
from epilstm.figures.sample import SampledBins
from epilstm.figures.scores import Task, scores_plot
from epilstm.figures.training import read_curve, training_plot
from epilstm.figures.window import read_window
from epilstm.files.outputs import fingerprint, read_json
from epilstm.representations.features import Embedding
from epilstm.runtime.runner import record_path
from epilstm.store.evaluation_results import (
    PREDICTIONS_FILE,
    EvaluationResults,
    RegressionResult,
    read_results,
    require_one_run,
)
from epilstm.store.manifests import EmbeddingsManifest, read_manifest, read_scaler
from epilstm.store.matrix import Matrix

#: Tasks whose curves fit beside each other.
TASKS_DRAWN = 5


def plot_scores(evaluation: Path, names: Sequence[str]) -> Plot:
    """Scores of some tasks; of all where none is named."""
    results = read_results(evaluation)
    return scores_plot(chosen_tasks(results, names), results)


def chosen_tasks(results: EvaluationResults, names: Sequence[str]) -> list[Task]:
    """Tasks by name, all where none is named.

    Raises
    ------
    ParamsError
        No such task.
    """
    known: dict[str, Task] = {**results.tasks, **results.regression}
    if not known:
        raise ParamsError("no tasks were evaluated, so there are no scores; give evaluate --tasks and --labels")
    for name in names:
        if name not in known:
            close = get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(known)}"
            raise ParamsError(f"--task {name}: the evaluation has no such task; {hint}")
    return [known[name] for name in dict.fromkeys(names)] or list(known.values())


def plot_curves(evaluation: Path, name: str | None) -> Plot:
    """Curves of one task by cell type, or of each task in its cell type with the most positives.

    Raises
    ------
    ParamsError
        No such task, or none with classes.
    """
    results, predictions = read_results(evaluation), evaluation / PREDICTIONS_FILE
    if name is not None:
        (task,) = chosen_tasks(results, [name])
        if isinstance(task, RegressionResult):
            raise ParamsError(
                f"--task {name}: a task of levels has no precision and recall; epilstm plot scores draws it"
            )
        return curves_plot(task_panels(task, predictions), results.folds)
    if not results.tasks:
        levels = "; epilstm plot scores draws its tasks of levels" if results.regression else ""
        raise ParamsError(f"{evaluation}: no task with classes, so no curves{levels}")
    drawn = list(results.tasks.values())[:TASKS_DRAWN]
    return curves_plot([largest_panel(task, predictions) for task in drawn], results.folds)


def plot_imputation(evaluation: Path) -> Plot:
    """Errors of imputed tracks.

    Raises
    ------
    ParamsError
        Nothing was imputed.
    """
    found = read_results(evaluation).imputation
    if found is None:
        raise ParamsError(f"{evaluation}: nothing was imputed in this evaluation; set evaluate.imputation and run it")
    return imputation_plot(found)


def plot_loadings(sample: SampledBins, model: Path | None) -> Plot:
    """Correlation of each dimension with each track; `model` says which dimensions are its context code.

    Raises
    ------
    DataError
        The model folder is unusable, or the embeddings are not its own.
    """
    if model is None:
        return loadings_plot(sample)
    from epilstm.model.folder import read_model_manifest

    config = read_model_manifest(model).config
    if sample.embedding.manifest.model_fingerprint != fingerprint(model):
        raise DataError(f"--model {model}: the embeddings were made with another model; give that model")
    return loadings_plot(sample, shown_context(config, sample.embedding.size))


def plot_training(history: Path) -> Plot:
    """A training curve, with the params of its training where the record beside it has them."""
    curve, record = read_curve(history), record_path(history)
    content = read_json(record) if record.is_file() else {}
    found = content.get("params") if isinstance(content, dict) else None
    params = found if isinstance(found, dict) else {}
    best = int(curve.epoch[np.argmin(curve.validation_mse)])
    return training_plot(curve, best, *(params.get(name) for name in ("track_dropout", "dropout", "peak_weight")))


def plot_window(
    matrix: Path,
    model: Path,
    embeddings: Path,
    region: str,
    tracks: Sequence[str],
    genes: Path | None = None,
    segments: Path | None = None,
    cell_type: str | None = None,
) -> Plot:
    """A window of the genome, with genes (GTF) and segments (BED) where given.

    Parameters
    ----------
    matrix, model, embeddings : Path
        Of one run.
    region : str
        ``chrom:start-end``; empty takes the place on the test chromosomes where the tracks vary most.
    tracks : sequence of str
        Empty takes one each of a few assays.
    cell_type : str, optional
        Of a model that cell types share, the one whose code is drawn.

    Raises
    ------
    DataError, ModelError, ParamsError, GenomeError, LabelsError
        A file, the region or a track is unusable, or the folders are of different runs.
    """
    import torch

    from epilstm.model.folder import load_model

    torch.set_num_threads(1)
    network, manifest = load_model(model)
    inputs = {"matrix": matrix, "model": model, "embeddings": embeddings}
    require_one_run(inputs, manifest.matrix_fingerprint, read_manifest(embeddings, EmbeddingsManifest))
    data, options = Matrix(matrix), ("--region", "--track")
    scaler = read_scaler(matrix, data.manifest)
    window = read_window(data, Embedding(data, embeddings, cell_type), scaler, network, region, tracks, options)
    place, chromosomes = window.region, data.manifest.chromosomes
    return window_plot(
        window,
        data.manifest,
        manifest,
        chosen=not region,
        genes=genes_in(genes, place, chromosomes) if genes else None,
        segments=segments_in(segments, place, SEGMENT_COLORS, chromosomes) if segments else None,
        segments_name=segments.name if segments else "",
    )
