"""``epilstm report``: read the run, draw, write one page."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from epilstm.console import log, progress
from epilstm.figures.curves import read_curves
from epilstm.figures.density import density_figure
from epilstm.figures.drawing import Picture, picture, words
from epilstm.figures.embedding import embedding_figure
from epilstm.figures.html import number
from epilstm.figures.imputation import imputation_figure, measures_drawn
from epilstm.figures.loadings import loadings_figure
from epilstm.figures.reconstruction import size_figure, track_figure, window_figure
from epilstm.figures.run_outputs import Run, read_run
from epilstm.figures.smoothness_curves import smoothness_figure
from epilstm.figures.task_scores import curves_figure, level_figure, level_rows, score_figure, score_rows
from epilstm.figures.track_choice import choose_tracks
from epilstm.figures.training import training_figure
from epilstm.figures.window import Window, choose_window, parse_window, read_window
from epilstm.params import ReportParams
from epilstm.runtime.runner import StepContext, StepResult
from epilstm.steps.report.held_out import HeldOut, read_held_out
from epilstm.steps.report.page import Pictures, ScorePictures, TaskPictures, page
from epilstm.store.evaluation_results import EvaluationResults, TaskResult
from epilstm.store.matrix import Matrix

#: Draws a figure for the page, with what it shows for those who cannot see it.
Drawn = Callable[[partial, str], Picture]


def run(params: ReportParams, context: StepContext) -> StepResult:
    """Write the page.

    Raises
    ------
    DataError, ModelError, ParamsError
        What the user can mend.
    """
    import torch

    from epilstm.model.folder import load_model
    from epilstm.model.windows import CONTEXT_BINS, reconstruct_bins

    # One thread gives the same bytes everywhere.
    torch.set_num_threads(1)
    inputs = dict(context.inputs)
    network, model = load_model(inputs["model"])
    the_run = read_run(inputs, model, sum(weights.numel() for weights in network.parameters()))
    matrix = the_run.matrix
    tracks = choose_tracks(matrix.track_set, params.tracks)
    region = parse_window(params.window, matrix) if params.window else choose_window(matrix, inputs["matrix"])
    window = read_window(
        region,
        tracks,
        matrix,
        the_run.scaler,
        inputs["matrix"],
        inputs["embeddings"],
        partial(reconstruct_bins, network),
        CONTEXT_BINS,
    )
    bins = read_held_out(Matrix(inputs["matrix"]), inputs["embeddings"])
    log.info(f"drawing {region} in {len(tracks)} of {len(matrix.tracks)} tracks")
    text = page(the_run, window, not params.window, draw_all(the_run, window, bins), bins, params)
    context.outputs["report"].write_text(text, encoding="utf-8")
    return StepResult(
        f"report of {_contents(the_run)}, {len(text.encode()) / 1e6:.1f} MB",
        bins=sum(matrix.bins_with_data.values()),
        tracks=len(matrix.tracks),
        threads=1,
    )


def _contents(the_run: Run) -> str:
    results = the_run.results
    if results is None:
        return "a run that was not evaluated"
    tasks = len(results.tasks) + len(results.regression)
    return "reconstruction, no tasks" if not tasks else "one task" if tasks == 1 else f"{tasks} tasks"


def draw_all(the_run: Run, window: Window, bins: HeldOut) -> Pictures:
    """Every figure of the page."""
    results, training = the_run.results, the_run.model.training
    context_size = the_run.model.config.context_size
    with progress("Figures", _figures(results)) as bar:

        def drawn(figure: partial, alt: str) -> Picture:
            made = picture(figure, alt)
            bar.advance()
            return made

        return Pictures(
            scores=None if results is None else _score_pictures(the_run, results, drawn),
            training=drawn(
                partial(training_figure, the_run.curve, training.best_epoch),
                f"Two line charts over {training.epochs} epochs: mean squared error on training and validation "
                f"chromosomes, and R² on validation data; epoch {training.best_epoch} is the best, with "
                f"validation error {number(training.validation_mse)} and R² {number(training.validation_r2)}.",
            ),
            window=drawn(
                partial(window_figure, window),
                f"Measured and reconstructed signal along {window.region} for {', '.join(window.tracks)}.",
            ),
            embedding=drawn(
                partial(embedding_figure, window, context_size=context_size),
                f"Heat map of the {window.embedding.shape[1]} dimensions of the embedding along {window.region}.",
            ),
            density=drawn(
                partial(density_figure, bins.values),
                f"Density of the values of each of the {window.embedding.shape[1]} dimensions of the embedding.",
            ),
            loadings=drawn(
                partial(loadings_figure, bins.loadings, the_run.matrix.track_set, context_size=context_size),
                f"Heat map of the correlation of each of the {window.embedding.shape[1]} dimensions of the embedding "
                f"with each of the {len(the_run.matrix.tracks)} tracks.",
            ),
            smoothness=drawn(
                partial(smoothness_figure, bins.smoothness, the_run.matrix.bin_size),
                "Mean distance between bins, rising with how far apart they lie, for the embedding, the raw tracks"
                f"{' and PCA' if 'pca' in bins.smoothness else ''}.",
            )
            if bins.smoothness
            else None,
        )


def _figures(results: EvaluationResults | None) -> int:
    return 6 if results is None else 9 + 2 * len(results.tasks) + len(results.regression)


def _score_pictures(the_run: Run, results: EvaluationResults, drawn: Drawn) -> ScorePictures:
    reconstruction = results.reconstruction
    return ScorePictures(
        sizes=drawn(
            partial(size_figure, reconstruction),
            f"R² of PCA rising with its size, and the model's R² of {number(reconstruction.models['model'].r2)} at "
            f"{reconstruction.size} numbers per bin.",
        ),
        tracks=drawn(
            partial(track_figure, reconstruction, the_run.matrix.track_set),
            f"R² on test data per track for {' and '.join(reconstruction.models)}; the table has the numbers.",
        ),
        imputation=drawn(
            partial(imputation_figure, results.imputation),
            f"Mean squared error of imputed tracks by {', '.join(results.imputation.methods)}; the table has the "
            "numbers.",
        )
        if results.imputation and measures_drawn(results.imputation)
        else None,
        levels={
            name: drawn(
                partial(level_figure, task),
                f"R² and Spearman's correlation of every representation with their intervals for {words(name)}, in "
                f"{', '.join(row for row, _ in level_rows(task, 'r2'))}; the table has the numbers.",
            )
            for name, task in results.regression.items()
        },
        tasks={name: _task_pictures(the_run.predictions, task, drawn) for name, task in results.tasks.items()},
    )


def _task_pictures(predictions: Path | None, task: TaskResult, drawn: Drawn) -> TaskPictures:
    name = task.name
    curves = read_curves(predictions, task) if predictions else {}
    rows = ", ".join(row for row, _ in score_rows(task))
    return TaskPictures(
        scores=drawn(
            partial(score_figure, task),
            f"Average precision of every representation with its interval for {words(name)}, in {rows}; the table has "
            "the numbers.",
        ),
        curves=drawn(
            partial(curves_figure, task, curves),
            f"Precision-recall and ROC curves of {words(name)} in {', '.join(curves)}.",
        ),
        drawn=list(curves),
    )
