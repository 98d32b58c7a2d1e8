"""``epilstm similar``: the command line."""

from __future__ import annotations

from pathlib import Path

import click

from epilstm.errors import ParamsError
from epilstm.files.outputs import require_free
from epilstm.runtime.command_options import overwrite_option
from epilstm.runtime.extras import missing_package

PATH = click.Path(path_type=Path)


@click.command(short_help="Find the regions whose embeddings are most like a region's.")
@click.option("--embeddings", required=True, type=PATH, metavar="PATH", help="Embeddings dataset.")
@click.option("--region", "regions", multiple=True, metavar="chr:start-end", help="0-based, half-open; repeatable.")
@click.option("--regions", "bed", type=PATH, metavar="BED", help="A query per interval, named by the fourth column.")
@click.option("--vector", type=PATH, metavar="NPY", help="An embedding: an array (dim,) or (windows, dim).")
@click.option("--cell-type", metavar="NAME", help="By the code of this cell type, of a model that cell types share.")
@click.option("--top", type=click.IntRange(1, 100_000), default=100, show_default=True, help="Regions per query.")
@click.option("--window", type=click.IntRange(1), default=1000, show_default=True, help="Base pairs that are pooled.")
@click.option("--annotation", type=PATH, metavar="GTF", help="Gene annotation (.gz too): the gene closest to each.")
@click.option("--to", type=PATH, metavar="BED", help="File to write; the table is printed if not given.")
@click.option(
    "--windows",
    type=PATH,
    metavar="FOLDER",
    help="Pooled embeddings, made once; beside the dataset, as EMBEDDINGS.windows, if not given.",
)
@overwrite_option
@click.option("-v", "--verbose", is_flag=True, help="Debug messages too.")
@click.option("-q", "--quiet", is_flag=True, help="Warnings and errors only.")
def similar(
    embeddings: Path,
    regions: tuple[str, ...],
    bed: Path | None,
    vector: Path | None,
    cell_type: str | None,
    top: int,
    window: int,
    annotation: Path | None,
    to: Path | None,
    windows: Path | None,
    overwrite: bool,
    verbose: bool,
    quiet: bool,
) -> None:
    """Find the regions whose embeddings are most like a region's.

    Embeddings are pooled to windows and standardised. A query of several windows is compared window by window, in both
    directions, with every place of the genome that has data. Hits overlap neither each other nor the query. 'distance'
    is the root mean square difference in standard deviations, 'p' the share of all places that are as close.
    """
    from epilstm import console

    console.set_up("similar", int(verbose) - int(quiet))
    if not regions and bed is None and vector is None:
        raise ParamsError("give --region chr:start-end (repeatable), --regions BED or --vector NPY")
    if to is not None:
        require_free(to, overwrite)
    try:
        from epilstm.outputs.similarity import finding
    except ModuleNotFoundError as error:
        raise ParamsError(missing_package(error.name, "outputs")) from error

    request = finding.Request(
        embeddings=embeddings,
        windows=windows,
        regions=regions,
        bed=bed,
        vectors=vector,
        cell_type=cell_type,
        window_bp=window,
        top=top,
        annotation=annotation,
    )
    found = finding.run(request, to)
    if to is None:
        click.echo(finding.table(found), nl=False)
