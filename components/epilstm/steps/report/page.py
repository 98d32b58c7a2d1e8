"""From a run and its figures to the page's HTML."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, StrictUndefined

from epilstm import __version__
from epilstm.figures.drawing import Picture, words
from epilstm.figures.html import LONG_TABLE, TIMES, count, number, percent, signed, span, style
from epilstm.figures.looks import RECONSTRUCTION_LOOKS, looks_of
from epilstm.figures.scores import HOLD_OUT
from epilstm.figures.window import Window
from epilstm.genome.assembly import assembly_name
from epilstm.genome.name_matching import listed
from epilstm.representation_names import known_name
from epilstm.steps.report.by_cell_type import by_cell_type
from epilstm.steps.report.data_quality import data_quality
from epilstm.steps.report.further import Part, further_comparisons
from epilstm.steps.report.imputation_tables import imputation_parts
from epilstm.steps.report.run_outputs import Run
from epilstm.store.evaluation_results import (
    EMBEDDING,
    NO_VERDICT,
    REPRESENTATIONS,
    EvaluationManifest,
    EvaluationResults,
    ReconstructionScore,
    TaskResult,
)
from epilstm.store.manifests import MatrixManifest, Use

if TYPE_CHECKING:
    from epilstm.params import ReportParams

TEMPLATE = "report.html.jinja"

CLASSIFIERS = {"xgboost": "gradient-boosted trees", "logistic": "a linear model", "random_forest": "a random forest"}


def page(run: Run, window: Window, pictures: Mapping[str, Picture], params: ReportParams) -> str:
    """The page as HTML text: everything is inside, nothing is loaded.

    Parameters
    ----------
    window : Window
        The window drawn.
    pictures : mapping of str to Picture
        Figures by name; those of the scores are missing where the run was not evaluated.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(number=number, count=count, span=span, words=words, signed=signed, percent=percent)
    environment.filters.update(places=listed)
    template = environment.from_string((files("epilstm.steps.report") / TEMPLATE).read_text(encoding="utf-8"))
    results = run.results
    order = [] if results is None else results.representation_order
    text = template.render(
        style=style(),
        title=params.title,
        version=__version__,
        run=run,
        results=results,
        facts=facts(run),
        summary=summary(run),
        looks=looks_of(order),
        reconstruction_looks={
            name: look
            for name, look in RECONSTRUCTION_LOOKS.items()
            if run.results is None or name in run.results.reconstruction.models
        },
        representation_order=order,
        compared_further=any(name not in REPRESENTATIONS and known_name(name) is not None for name in order),
        embedding=EMBEDDING,
        tasks=[] if results is None else [(task, task_note(task, results)) for task in results.tasks.values()],
        further=[] if results is None else _further(run, results),
        without_tasks=without_tasks(results),
        data=data_quality(run.matrix, run.scaler, run.histograms),
        window=window,
        pictures=pictures,
        provenance=provenance(run),
        params=params.model_dump(mode="json"),
        long_table=LONG_TABLE,
        classifiers=CLASSIFIERS,
        hold_out=HOLD_OUT,
    )
    return text.strip() + "\n"


def _further(run: Run, results: EvaluationResults) -> list[Part]:
    """Further comparisons; of a model that cell types share, scores by cell type first."""
    shared = run.model.config.cell_types is not None
    own = by_cell_type(results, run.matrix.track_set) if shared else None
    return [*([] if own is None else [own]), *further_comparisons(results), *imputation_parts(results)]


def without_tasks(results: EvaluationResults | None) -> str:
    """What the page lacks, and how to add it; empty where tasks were evaluated."""
    if results is None:
        return (
            "This run was not evaluated: the page shows the data, the training and the embedding, but no scores. Run "
            "epilstm evaluate for R² on test data against PCA; it needs no labels."
        )
    if results.tasks or results.regression:
        return ""
    return (
        "No tasks were evaluated: the page reports how well the embedding keeps the tracks, not what it is worth "
        "downstream. Give epilstm evaluate labels (--tasks, --labels) for that."
    )


def facts(run: Run) -> list[tuple[str, str]]:
    """The data, the model and its training, as (term, description)."""
    matrix, model, config = run.matrix, run.model, run.model.config
    tracks = matrix.track_set
    cells, assays = (list(dict.fromkeys(parts)) for parts in (tracks.cell_types, tracks.assays))
    bins = sum(matrix.bins_with_data.values())
    directions = "one direction" if config.directions == 1 else "two directions"
    return [
        ("Tracks", f"{len(matrix.tracks):,}: {_named(cells, 'cell type')} {TIMES} {_named(assays, 'assay')}"),
        ("Genome", f"{assembly_name(matrix.assembly)}, {matrix.bin_size}-bp bins"),
        (
            "Data",
            f"{_plural(bins, 'bin')} with data ({bins * matrix.bin_size / 1e6:,.1f} Mb) in "
            f"{_plural(len(matrix.regions), 'region')} on {_plural(len(matrix.bins_with_data), 'chromosome')}",
        ),
        (f"Training {_places(matrix)}", _split(run, "train")),
        (f"Validation {_places(matrix)}", _split(run, "validation")),
        (f"Test {_places(matrix)}", _split(run, "test")),
        (
            "Model",
            f"LSTM autoencoder “{config.architecture}”: embedding size {config.embedding_size}{_parts(run)}, hidden "
            f"size {config.hidden_size}, {_plural(config.layers, 'layer')}, {directions}; "
            f"{run.parameters:,} parameters",
        ),
        ("Rotation", _rotation(run)),
        (
            "Training",
            f"{_plural(model.training.epochs, 'epoch')} (best: {model.training.best_epoch}), "
            f"{_plural(model.training.steps, 'step')}, {model.training.bins_seen:,} bins seen, "
            f"on {model.training.device}, seed {model.seed}",
        ),
        *_context_training(run),
        *_held_out(run.results),
        (
            "Fingerprints",
            f"data set {run.fingerprints['matrix'][:12]} · model {run.fingerprints['model'][:12]} · "
            f"epilstm {__version__}",
        ),
    ]


def _parts(run: Run) -> str:
    config = run.model.config
    return f" ({config.bin_code_size} of bin code, {config.context_size} of context)" if config.context_size else ""


def _rotation(run: Run) -> str:
    if run.model.training.rotation == "none":
        return "none: the code is as it was trained"
    return f"{run.model.training.rotation}: each axis has variance 1 on the training bins and loads on few tracks"


def _context_training(run: Run) -> list[tuple[str, str]]:
    level, config = run.model.training.context, run.model.config
    if level is None:
        return []
    text = (
        f"{_plural(level.frames, 'frame')} of {_plural(config.frame_bins, 'bin')}, {_plural(level.epochs, 'epoch')} "
        f"(best: {level.best_epoch}), R² {number(level.validation_r2)} on frames of the validation data"
    )
    return [("Context level", text)]


def _held_out(results: EvaluationResults | None) -> list[tuple[str, str]]:
    """What was held out of what in the evaluation."""
    if results is None or results.held_out is None:
        return []
    held = results.held_out
    where = "the data that the model was trained on" if held.own_matrix else "other data than the model was trained on"
    text = f"on {where}; PCA and NMF fitted on {listed(held.fitted_on)}"
    if held.cross_fit:
        groups = "; ".join(", ".join(group) for group in held.cross_fit)
        models = ", each with a model of its own" if held.models_by_group else ""
        text += f" for the reconstruction; for the tasks each group left out in turn ({groups}){models}"
    if held.labels_on:
        text += f"; labels on {listed(held.labels_on)}"
        text += f", of which the model has seen {listed(held.labels_seen)} without labels" if held.labels_seen else ""
    left_out = f"; {len(results.left_out_tasks)} tasks without usable labels" if results.left_out_tasks else ""
    return [("Evaluation", text + left_out)]


def _places(matrix: MatrixManifest) -> str:
    return "regions" if matrix.bins_by_use else "chromosomes"


def _split(run: Run, use: Use) -> str:
    bins = run.matrix.bins_used_for(use)
    share = bins / max(sum(run.matrix.bins_with_data.values()), 1)
    return f"{listed(getattr(run.matrix.split, use), most=30)} ({bins:,} bins, {share:.0%})"


def _named(names: list[str], noun: str) -> str:
    listed = f" ({', '.join(names)})" if len(names) <= 8 else ""
    return f"{_plural(len(names), noun)}{listed}"


def _plural(amount: int, noun: str) -> str:
    return f"{amount:,} {noun}{'' if amount == 1 else 's'}"


def summary(run: Run) -> list[str]:
    """The run in a few plain sentences; those of the tasks stand on their own."""
    matrix = run.matrix
    config = run.model.config
    size, parts, read = config.embedding_size, "", ""
    if config.context_size:
        parts = f", {config.bin_code_size} of the bin itself and {config.context_size} of its context"
        read = f" from the {config.bin_code_size} of the bin"
    sentences = [
        f"An LSTM autoencoder was trained to describe every {matrix.bin_size}-bp bin of {len(matrix.tracks):,} "
        f"epigenomic signal tracks ({assembly_name(matrix.assembly)}) with {_plural(size, 'number')}{parts}.",
    ]
    if run.results is None:
        return sentences
    fits = run.results.reconstruction
    r2 = {name: fit.r2 for name, fit in fits.models.items()}
    sentences.append(
        f"On data that training never saw ({listed(fits.chromosomes)}; {fits.bins:,} bins), its decoder "
        f"reconstructs the tracks{read} with R² {number(r2['model'])}; "
        + (f"PCA of the same size reaches {number(r2['pca'])}, " if "pca" in r2 else "")
        + f"an untrained encoder with the best linear read-out {'' if 'pca' in r2 else 'reaches '}"
        f"{number(r2['untrained'])}."
    )
    better = _better(fits.models["model"], fits.models.get("pca"))
    if better is not None:
        sentences.append(better)
    return sentences


def _better(model: ReconstructionScore, pca: ReconstructionScore | None) -> str | None:
    if model.r2 is not None and model.r2 <= 0:
        return "That is no better than the mean of each track: this model has not learnt to reconstruct."
    if model.r2 is None or pca is None or pca.r2 is None:
        return None
    if model.mse < pca.mse:
        return f"Its squared error is {1 - model.mse / pca.mse:.0%} smaller than that of PCA."
    return "It does not reconstruct better than PCA does."


def task_note(task: TaskResult, results: EvaluationResults) -> str:
    """The smallest difference that a task's labels can show, in one sentence."""
    raw = next((each for each in task.differences if each.baseline == "raw"), None)
    if raw is None or raw.verdict == NO_VERDICT:
        return ""
    reach = (raw.ci.high - raw.ci.low) / 2
    return (
        f"With these labels, a difference from the raw tracks below about {number(reach)} in average precision cannot "
        f"be distinguished from zero (half the {results.confidence:.0%} interval)."
    )


def provenance(run: Run) -> Mapping[str, list[tuple[str, Any]]]:
    """What the page was made from, as tables of (name, value)."""
    return {
        "Inputs (SHA-256)": [
            *run.fingerprints.items(),
            ("signal", run.matrix.signal_fingerprint),
            ("model weights", run.model.weights_sha256),
            ("encoder", run.embeddings.encoder_fingerprint),
            ("matrix the model was trained on", run.model.matrix_fingerprint),
            *_evaluated_on(run.evaluation),
        ],
        "Model": [*run.model.config.model_dump(mode="json").items(), ("seed", run.model.seed)],
    }


def _evaluated_on(evaluation: EvaluationManifest | None) -> list[tuple[str, str]]:
    if evaluation is None:
        return []
    tasks = [] if evaluation.tasks_sha256 is None else [("tasks file", evaluation.tasks_sha256)]
    labels = [(f"labels: {name}", value) for name, value in evaluation.labels_sha256.items()]
    return [*tasks, *labels, ("evaluation parameters", evaluation.params_sha256)]
