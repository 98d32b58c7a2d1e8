"""``epilstm impute``: the command line."""

from __future__ import annotations

from pathlib import Path

import click

from epilstm.errors import ParamsError
from epilstm.files.outputs import require_free
from epilstm.runtime.command_options import overwrite_option, verbosity_options
from epilstm.runtime.extras import missing_package

PATH = click.Path(path_type=Path)


@click.command(short_help="Impute assays of a cell type that training never saw, with their uncertainty.")
@click.option("--model", required=True, type=PATH, metavar="PATH", help="Model folder, trained with an imputer.")
@click.option(
    "--matrix",
    required=True,
    type=PATH,
    metavar="PATH",
    help="Matrix that it was trained on: the reference cell types.",
)
@click.option("--samplesheet", required=True, type=PATH, metavar="CSV", help="The cell type's own bigWigs.")
@click.option("--to", required=True, type=PATH, metavar="FOLDER", help="Folder to write, whole or not at all.")
@click.option("--assays", metavar="NAME,...", help="To impute; without it, all that the cell type does not have.")
@click.option("--cell-type", metavar="NAME", help="Of a samplesheet with several.")
@click.option("--region", "regions", multiple=True, metavar="chr:start-end", help="0-based, half-open; repeatable.")
@overwrite_option
@verbosity_options
def impute(
    model: Path,
    matrix: Path,
    samplesheet: Path,
    to: Path,
    assays: str | None,
    cell_type: str | None,
    regions: tuple[str, ...],
    overwrite: bool,
    verbose: bool,
    quiet: bool,
) -> None:
    """Impute assays of a cell type from those that it has and from the cell types that the model was trained on.

    Of each assay two bigWigs are written: the signal, in the units of the training tracks' files, and the standard
    deviation of its transform (arcsinh, by default). Nine tenths of the values should lie within 1.645 of these.
    """
    from epilstm import console

    console.set_up("impute", int(verbose) - int(quiet))
    require_free(to, overwrite, folder=True, kind="tracks")
    named = [name.strip() for name in (assays or "").split(",") if name.strip()]
    if assays is not None and not named:
        raise ParamsError("--assays: names no assay; name some, separated by commas, or leave it out")
    try:
        from epilstm.outputs.imputation import writing

        writing.run(writing.Request(model, matrix, samplesheet, to, tuple(named), cell_type, regions))
    except ModuleNotFoundError as error:
        raise ParamsError(missing_package(error.name, "outputs")) from error
