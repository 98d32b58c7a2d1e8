"""``epilstm report``: read the run, draw its figures, write one page."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from epilstm.console import log, progress
from epilstm.errors import DataError, ParamsError
from epilstm.figures.curves import curves_plot, task_panels
from epilstm.figures.density import density_plot
from epilstm.figures.drawing import Picture, Plot, picture
from epilstm.figures.imputation import imputation_plot, measures_drawn
from epilstm.figures.landscape import window_plot
from epilstm.figures.loadings import loadings_plot, shown_context
from epilstm.figures.reconstruction import size_plot, track_plot
from epilstm.figures.sample import SampledBins, read_sample
from epilstm.figures.scores import Task, scores_plot
from epilstm.figures.smoothness import smoothness_plot
from epilstm.figures.training import training_plot
from epilstm.figures.window import Window, read_window
from epilstm.params import ReportParams
from epilstm.runtime.runner import StepContext, StepResult
from epilstm.steps.report.page import page
from epilstm.steps.report.run_outputs import Run, read_run
from epilstm.store.evaluation_results import EvaluationResults
from epilstm.tracks.identity import TrackSet


def run(params: ReportParams, context: StepContext) -> StepResult:
    """Write the page.

    Raises
    ------
    DataError, ModelError, ParamsError
        An input is unusable or of another run, or the window or a track is not in the data.
    """
    import torch

    from epilstm.model.folder import load_model

    # One thread gives the same bytes everywhere.
    torch.set_num_threads(1)
    inputs = dict(context.inputs)
    network, model = load_model(inputs["model"])
    the_run = read_run(inputs, model, sum(weights.numel() for weights in network.parameters()))
    sample, matrix = read_sample(inputs["matrix"], inputs["embeddings"]), the_run.matrix
    window = read_window(sample.matrix, sample.embedding, the_run.scaler, network, params.window, params.tracks)
    log.info(f"drawing {window.region} in {len(window.tracks)} of {len(matrix.tracks)} tracks")
    pictures = drawn(plots_of(the_run, window, not params.window, sample))
    text = page(the_run, window, pictures, params)
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


def plots_of(the_run: Run, window: Window, chosen: bool, sample: SampledBins) -> dict[str, Plot]:
    """Every figure of the page, by the name that the page has for it.

    Parameters
    ----------
    chosen : bool
        Whether the window was chosen by its tracks' variation, not by the user.
    sample : SampledBins
        Bins of the test chromosomes.

    Raises
    ------
    DataError
        The predictions are not those of the scores.
    """
    model, matrix = the_run.model, the_run.matrix
    training = model.training
    plots = {
        "training": training_plot(
            the_run.curve, training.best_epoch, training.track_dropout, training.dropout, training.peak_weight
        ),
        "window": window_plot(window, matrix, model, chosen=chosen, embedding=False),
        "embedding": window_plot(window, matrix, model, chosen=chosen, tracks=False),
        "loadings": loadings_plot(sample, shown_context(model.config, sample.embedding.size)),
        "density": density_plot(sample),
    }
    with suppress(DataError, ParamsError):  # test chromosomes too short, or constant representations: nothing to draw
        plots["smoothness"] = smoothness_plot(sample)
    if the_run.results is not None:
        plots |= _score_plots(the_run.results, the_run.predictions, matrix.track_set)
    return plots


def _score_plots(results: EvaluationResults, predictions: Path | None, tracks: TrackSet) -> dict[str, Plot]:
    plots = {"sizes": size_plot(results.reconstruction), "tracks": track_plot(results.reconstruction, tracks)}
    if results.imputation and measures_drawn(results.imputation):
        plots["imputation"] = imputation_plot(results.imputation)
    tasks: dict[str, Task] = {**results.tasks, **results.regression}
    plots |= {f"scores of {name}": scores_plot([task], results) for name, task in tasks.items()}
    if predictions is not None:
        plots |= {
            f"curves of {name}": curves_plot(task_panels(task, predictions), results.folds)
            for name, task in results.tasks.items()
        }
    return plots


def drawn(plots: dict[str, Plot]) -> dict[str, Picture]:
    """Draw figures for the page."""
    pictures: dict[str, Picture] = {}
    with progress("Figures", len(plots)) as bar:
        for name, plot in plots.items():
            pictures[name] = picture(plot.draw, plot.alt, plot.caption)
            bar.advance()
    return pictures
