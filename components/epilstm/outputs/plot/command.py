"""``epilstm plot``: one figure as a file. What draws is imported when a command runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from epilstm import console
from epilstm.runtime.command_options import overwrite_option, verbosity_options

if TYPE_CHECKING:
    from epilstm.figures.drawing import Plot
    from epilstm.figures.sample import SampledBins

FilePath = click.Path(path_type=Path)
F = TypeVar("F", bound=Callable[..., Any])


def _path(name: str, text: str, *, metavar: str = "PATH", required: bool = True, to: str = "") -> Callable[[F], F]:
    names = (name, to) if to else (name,)
    return click.option(*names, type=FilePath, required=required, metavar=metavar, help=text)


_matrix = _path("--matrix", "Matrix dataset.")
_embeddings = _path("--embeddings", "Embeddings dataset.")
_evaluation = _path("--evaluation", "Evaluation folder.")
_method = click.option(
    "--method", type=click.Choice(["spearman", "pearson"]), default="spearman", show_default=True,
    help="Kind of correlation.",
)  # fmt: skip


_cell_type = click.option(
    "--cell-type", metavar="NAME", help="Code of this cell type alone, of a model that cell types share."
)


def _embedded(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options of a figure that is drawn from embeddings."""
    for option in (
        click.option(
            "--bins", type=click.IntRange(min=100), default=100_000, show_default=True,
            help="Bins to draw from, about, in intervals spread over the chromosomes.",
        ),
        click.option(
            "--chromosome", "chromosomes", multiple=True, metavar="NAME",
            help="Chromosome to draw from; repeatable. The test chromosomes if not given.",
        ),
        _cell_type,
        _embeddings,
        _matrix,
    ):  # fmt: skip
        command = option(command)
    return command


def _figure(command: Callable[..., Plot]) -> Callable[..., None]:
    """Options of every figure; the figure that the command returns is written."""

    @wraps(command)
    def written(
        to: Path,
        width: float,
        dpi: int,
        caption: bool,
        numbers: Path | None,
        overwrite: bool,
        verbose: bool,
        quiet: bool,
        **rest: Any,
    ) -> None:
        from epilstm.outputs.plot.figure_file import require_figure_paths, write_figure

        console.set_up("plot", int(verbose) - int(quiet))
        require_figure_paths(to, numbers, overwrite)
        plot = command(**rest)
        write_figure(plot, to, width, dpi, caption, numbers)
        console.log.info(f"{to}: {plot.caption}")

    options: Iterable[Callable[..., Any]] = (
        verbosity_options,
        overwrite_option,
        _path("--numbers", "CSV of the numbers behind the figure to write as well.", metavar="FILE", required=False),
        click.option("--caption/--no-caption", default=True, show_default=True, help="Describe the figure below it."),
        click.option(
            "--dpi", type=click.IntRange(30, 1200), default=150, show_default=True, help="Dots per inch of a PNG."
        ),
        click.option(
            "--width", type=click.FloatRange(3, 30), default=8.0, show_default=True, metavar="INCHES",
            help="Width; the height follows from what is drawn.",
        ),
        _path("--to", "Figure to write: .png, .svg or .pdf.", metavar="FILE"),
    )  # fmt: skip
    decorated: Callable[..., None] = written
    for option in options:
        decorated = option(decorated)
    return decorated


@click.group(short_help="Draw one figure as PNG, SVG or PDF.")
def plot() -> None:
    """Draw one figure as PNG, SVG or PDF; --numbers writes the numbers behind it as CSV.

    The same inputs give the same bytes. Figures of the embedding are drawn from a sample of the test chromosomes.
    """


@plot.command()
@_evaluation
@click.option("--task", "tasks", multiple=True, metavar="NAME", help="Task to draw; repeatable. All if not given.")
@_figure
def scores(evaluation: Path, tasks: tuple[str, ...]) -> Plot:
    """Scores by task and cell type, embedding against baselines."""
    from epilstm.outputs.plot.plots import plot_scores

    return plot_scores(evaluation, tasks)


@plot.command()
@_evaluation
@click.option("--task", metavar="NAME", help="Task to draw, by cell type; each task's largest if not given.")
@_figure
def curves(evaluation: Path, task: str | None) -> Plot:
    """Precision-recall and ROC curves of held-out predictions."""
    from epilstm.outputs.plot.plots import plot_curves

    return plot_curves(evaluation, task)


@plot.command()
@_evaluation
@_figure
def imputation(evaluation: Path) -> Plot:
    """Errors of imputed tracks, by method and measure."""
    from epilstm.outputs.plot.plots import plot_imputation

    return plot_imputation(evaluation)


@plot.command()
@_path("--study", "CSV that 'epilstm study' wrote.", metavar="FILE", to="table")
@click.option("--name", metavar="NAME", help="Study to draw, where the file has several.")
@click.option("--axis", metavar="TEXT", help="What was varied, for the axis; the study's name if not given.")
@_figure
def study(table: Path, name: str | None, axis: str | None) -> Plot:
    """Scores over what a study varied: hidden size, training bins, or variant by variant."""
    from epilstm.figures.study import plot_study

    return plot_study(table, name, axis)


def _read(
    matrix: Path, embeddings: Path, chromosomes: tuple[str, ...], bins: int, cell_type: str | None
) -> SampledBins:
    from epilstm.figures.sample import read_sample

    return read_sample(matrix, embeddings, chromosomes, bins, cell_type)


@plot.command()
@_embedded
@click.option(
    "--distance", type=click.Choice(["euclidean", "cosine"]), default="euclidean", show_default=True, help="Measure."
)
@click.option(
    "--max-distance", type=click.IntRange(min=1), default=100_000, show_default=True, metavar="BP",
    help="Largest distance along the genome.",
)  # fmt: skip
@_figure
def smoothness(distance: Any, max_distance: int, **data: Any) -> Plot:
    """Distance between bins' vectors, by how far apart they lie."""
    from epilstm.figures.smoothness import smoothness_plot

    return smoothness_plot(_read(**data), distance, max_distance)


@plot.command()
@_embedded
@_figure
def density(**data: Any) -> Plot:
    """Distribution of the values of each dimension."""
    from epilstm.figures.density import density_plot

    return density_plot(_read(**data))


@plot.command()
@_embedded
@_path("--model", "Model folder of the embeddings, to mark the dimensions of its context code.", required=False)
@_figure
def loadings(model: Path | None, **data: Any) -> Plot:
    """Correlation of each dimension with each track."""
    from epilstm.outputs.plot.plots import plot_loadings

    return plot_loadings(_read(**data), model)


@plot.command()
@_embedded
@_path("--fasta", "The assembly's sequence (.fa or .fa.gz).", metavar="FILE")
@_method
@_figure
def gc(fasta: Path, method: Any, **data: Any) -> Plot:
    """Correlation of each dimension with GC content."""
    from epilstm.figures.covariates import gc_plot

    return gc_plot(_read(**data), fasta, method)


@plot.command()
@_embedded
@_path("--bigwig", "Conservation scores, such as phyloP.", metavar="FILE")
@_method
@_figure
def conservation(bigwig: Path, method: Any, **data: Any) -> Plot:
    """Correlation of each dimension with conservation."""
    from epilstm.figures.covariates import conservation_plot

    return conservation_plot(_read(**data), bigwig, method)


@plot.command()
@_path("--history", "Training curve that train wrote (CSV).", metavar="FILE")
@_figure
def training(history: Path) -> Plot:
    """Training and validation loss over epochs."""
    from epilstm.outputs.plot.plots import plot_training

    return plot_training(history)


@plot.command()
@_matrix
@_path("--model", "Model folder.")
@_embeddings
@_cell_type
@click.option(
    "--region", default="", metavar="CHROM:START-END",
    help="Window; where tracks of the test chromosomes vary most if not given.",
)  # fmt: skip
@click.option("--track", "tracks", multiple=True, metavar="NAME", help="Track, cell type or assay to draw; repeatable.")
@_path("--genes", "GTF annotation, to draw genes.", metavar="FILE", required=False)
@_path("--segments", "BED of segments to draw below, as 'epilstm segment' writes.", metavar="FILE", required=False)
@_figure
def window(
    matrix: Path,
    model: Path,
    embeddings: Path,
    cell_type: str | None,
    region: str,
    tracks: tuple[str, ...],
    genes: Path | None,
    segments: Path | None,
) -> Plot:
    """Tracks, their reconstruction and the embedding along the genome."""
    from epilstm.outputs.plot.plots import plot_window

    return plot_window(matrix, model, embeddings, region, tracks, genes, segments, cell_type)
