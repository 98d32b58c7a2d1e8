"""``epilstm export-tracks``: the command line."""

from __future__ import annotations

from pathlib import Path

import click

from epilstm.errors import ParamsError
from epilstm.files.outputs import require_free
from epilstm.runtime.command_options import overwrite_option
from epilstm.runtime.extras import missing_package

PATH = click.Path(path_type=Path)
FORMATS = ("bigwig", "bedgraph", "genomedata-bedgraph", "parquet", "h5ad", "hub")


@click.command(short_help="Write embeddings or tracks as bigWig, bedGraph, Parquet, AnnData or a track hub.")
@click.option("--embeddings", type=PATH, metavar="PATH", help="Embeddings dataset (--what embedding).")
@click.option("--matrix", type=PATH, metavar="PATH", help="Matrix dataset (--what reconstruction or imputation).")
@click.option("--model", type=PATH, metavar="PATH", help="Model folder (likewise).")
@click.option("--to", required=True, type=PATH, metavar="FOLDER", help="Folder to write, whole or not at all.")
@click.option(
    "--format", "formats", required=True, multiple=True, type=click.Choice(FORMATS), help="Repeatable: a folder each."
)
@click.option(
    "--what",
    type=click.Choice(["embedding", "reconstruction", "imputation"]),
    default="embedding",
    show_default=True,
    help="What is written. imputation: each track as the model gives it back when it is hidden.",
)
@click.option("--region", "regions", multiple=True, metavar="chr:start-end", help="0-based, half-open; repeatable.")
@click.option(
    "--tracks", multiple=True, metavar="NAME", help="Track, cell type or assay (or dimension: 0, e0); repeatable."
)
@click.option(
    "--cell-type", metavar="NAME", help="Code of this cell type alone, of a model that cell types share (embedding)."
)
@click.option("--bed", type=PATH, metavar="BED", help="One row per region: the mean of its bins (parquet, h5ad).")
@click.option(
    "--signed", is_flag=True, help="Keep reconstructed values below 0; else they are 0 in transformed tracks."
)
@click.option("--email", metavar="ADDRESS", help="Contact of the hub, which UCSC demands.")
@click.option("--genome", metavar="NAME", help="UCSC's name of the hub's assembly, where it is not hg19, hg38 or mm10.")
@click.option("--two-bit", metavar="URL", help="Sequence of an assembly that UCSC does not have.")
@overwrite_option
@click.option("-v", "--verbose", is_flag=True, help="Debug messages too.")
@click.option("-q", "--quiet", is_flag=True, help="Warnings and errors only.")
def export_tracks(
    embeddings: Path | None,
    matrix: Path | None,
    model: Path | None,
    to: Path,
    formats: tuple[str, ...],
    what: str,
    regions: tuple[str, ...],
    tracks: tuple[str, ...],
    cell_type: str | None,
    bed: Path | None,
    signed: bool,
    email: str | None,
    genome: str | None,
    two_bit: str | None,
    overwrite: bool,
    verbose: bool,
    quiet: bool,
) -> None:
    """Write embeddings, reconstructed or imputed tracks in the formats of genome browsers and of analysis tools.

    Bins without data are gaps. Reconstructed and imputed tracks are in the units of the tracks' files (-log10 p, say).
    """
    from epilstm import console

    console.set_up("export-tracks", int(verbose) - int(quiet))
    require_free(to, overwrite, folder=True, kind="tracks")
    try:
        from epilstm.outputs.browser_tracks import exporting

        exporting.run(
            exporting.Request(
                what=what,  # type: ignore[arg-type]
                to=to,
                formats=formats,
                embeddings=embeddings,
                matrix=matrix,
                model=model,
                regions=regions,
                tracks=tracks,
                cell_type=cell_type,
                bed=bed,
                signed=signed,
                email=email,
                genome=genome,
                two_bit=two_bit,
            )
        )
    except ModuleNotFoundError as error:
        raise ParamsError(missing_package(error.name, "outputs")) from error
