"""``epilstm segment``: the command line."""

from __future__ import annotations

from pathlib import Path

import click

from epilstm.errors import ParamsError
from epilstm.files.outputs import require_free
from epilstm.runtime.command_options import overwrite_option
from epilstm.runtime.extras import missing_package

PATH = click.Path(path_type=Path)


@click.command(short_help="Cluster embeddings into a segmentation of the genome.")
@click.option("--embeddings", required=True, type=PATH, metavar="PATH", help="Embeddings dataset.")
@click.option(
    "--segmentation", required=True, type=PATH, metavar="FOLDER", help="Folder to write, whole or not at all."
)
@click.option("--cell-type", metavar="NAME", help="By the code of this cell type, of a model that cell types share.")
@click.option("--states", type=click.IntRange(2, 50), default=10, show_default=True, help="Number of states.")
@click.option(
    "--method",
    type=click.Choice(["multiscale", "kmeans", "hmm"]),
    default="multiscale",
    show_default=True,
    help="Cluster each bin with what surrounds it, cluster each by itself, or use a hidden Markov model.",
)
@click.option("--matrix", type=PATH, metavar="PATH", help="Matrix: signal of each state.")
@click.option("--annotation", type=PATH, metavar="GTF", help="Gene annotation (.gz too): what states are enriched in.")
@click.option(
    "--min-bins",
    type=click.IntRange(1, 1000),
    default=8,
    show_default=True,
    help="Join shorter segments to a neighbour; intervals with data shorter than that have none.",
)
@click.option(
    "--sample-bins", type=click.IntRange(1000), default=200_000, show_default=True, help="Bins to fit on, at most."
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=1, show_default=True, help="Of the fitting.")
@overwrite_option
@click.option("-v", "--verbose", is_flag=True, help="Debug messages too.")
@click.option("-q", "--quiet", is_flag=True, help="Warnings and errors only.")
def segment(
    embeddings: Path,
    segmentation: Path,
    cell_type: str | None,
    states: int,
    method: str,
    matrix: Path | None,
    annotation: Path | None,
    min_bins: int,
    sample_bins: int,
    seed: int,
    overwrite: bool,
    verbose: bool,
    quiet: bool,
) -> None:
    """Cluster embeddings into a segmentation of the genome.

    States are fitted on a sample of the training chromosomes (those that the embeddings or the matrix say the model was
    trained on; all, where neither does) and found everywhere. With a matrix of histone marks, states are named and
    coloured as the Roadmap chromatin states whose marks they carry. Written are segmentation.bed (BED9
    with colours), states.tsv, embedding.tsv, states.png and, as far as what they need is given, emissions.tsv (mean
    raw signal), enrichment.tsv (fold enrichment at genes) and transitions.tsv (hmm).
    """
    from epilstm import console

    console.set_up("segment", int(verbose) - int(quiet))
    require_free(segmentation, overwrite, folder=True, kind="segmentation")
    try:
        from epilstm.outputs.segmentation import segmenting
    except ModuleNotFoundError as error:
        raise ParamsError(missing_package(error.name, "outputs")) from error

    try:
        segmenting.run(
            segmenting.Request(
                embeddings=embeddings,
                segmentation=segmentation,
                cell_type=cell_type,
                states=states,
                method=method,  # type: ignore[arg-type]
                matrix=matrix,
                annotation=annotation,
                min_bins=min_bins,
                sample_bins=sample_bins,
                seed=seed,
            )
        )
    except ModuleNotFoundError as error:
        raise ParamsError(missing_package(error.name, "outputs")) from error
