"""``epilstm client``: the command line."""

from __future__ import annotations

from pathlib import Path

import click

from epilstm.errors import ParamsError
from epilstm.files.outputs import require_free
from epilstm.runtime.command_options import overwrite_option
from epilstm.runtime.extras import missing_package

PATH = click.Path(path_type=Path)


@click.group(short_help="Ask a server for embeddings of signal that lies here.")
def client() -> None:
    """Ask a server for embeddings of signal that lies here."""


@client.command()
@click.option("--url", required=True, metavar="URL", help="http://, https://, grpc:// or grpcs:// host:port.")
@click.option("--bigwig-sheet", required=True, type=PATH, metavar="SHEET", help="Samplesheet with the model's tracks.")
@click.option("--region", "regions", multiple=True, metavar="chr:start-end", help="0-based, half-open; repeatable.")
@click.option("--regions", "bed", type=PATH, metavar="BED", help="Regions; '#whole-genome' as first line is all of it.")
@click.option("--output", required=True, type=PATH, metavar="PATH", help="X.tsv, X.bw (a folder) or X.zarr (a folder).")
@click.option("--format", "form", type=click.Choice(["tsv", "bigwig", "zarr"]), help="Where the name does not say it.")
@click.option(
    "--dimensions",
    default="",
    metavar="NAMES",
    help="Numbers to ask for, separated by commas: a cell type (E116), a block of one (E116.linear) or a number "
    "(E116.bin.01, e3); all if not given.",
)
@click.option("--assembly", metavar="NAME|FILE", help="Assembly or chrom.sizes file; the server's if not given.")
@click.option("--blacklist", type=PATH, metavar="BED", help="Bins to take as without data, as ingest does.")
@click.option("--chunk-bins", type=click.IntRange(1), default=2000, show_default=True, help="Bins kept per request.")
@click.option(
    "--warmup-bins", type=click.IntRange(0), default=200, show_default=True, help="Bins of context before each chunk."
)
@click.option("--stateful", is_flag=True, help="Carry the encoder's state on instead: exact, one request at a time.")
@click.option("--in-flight", type=click.IntRange(1, 64), default=4, show_default=True, help="Requests at a time.")
@click.option("--token-file", type=PATH, metavar="FILE", help="Send this bearer token.")
@click.option("--ca-file", type=PATH, metavar="FILE", help="Trust these certificates (PEM) instead of the system's.")
@click.option(
    "--header", "headers", multiple=True, metavar="'Name: value'", help="Send this, too, such as Host; repeatable."
)
@click.option("--timeout-s", type=click.FloatRange(0.1), default=60.0, show_default=True, help="For one attempt.")
@click.option(
    "--patience-s", type=click.FloatRange(0), default=300.0, show_default=True, help="For all attempts at a request."
)
@click.option("--downloads", type=PATH, metavar="FOLDER", help="Keep remote bigWigs here; forgotten if not given.")
@overwrite_option
@click.option("-v", "--verbose", is_flag=True, help="Debug messages too.")
@click.option("-q", "--quiet", is_flag=True, help="Warnings and errors only.")
def embed(
    url: str,
    bigwig_sheet: Path,
    regions: tuple[str, ...],
    bed: Path | None,
    output: Path,
    form: str | None,
    dimensions: str,
    assembly: str | None,
    blacklist: Path | None,
    chunk_bins: int,
    warmup_bins: int,
    stateful: bool,
    in_flight: int,
    token_file: Path | None,
    ca_file: Path | None,
    headers: tuple[str, ...],
    timeout_s: float,
    patience_s: float,
    downloads: Path | None,
    overwrite: bool,
    verbose: bool,
    quiet: bool,
) -> None:
    """Embed regions of a samplesheet's bigWigs with a served encoder.

    Signal is binned as ingest does it and sent raw; what comes back is written as a table, as a bigWig per number, or
    as a dataset as 'epilstm embed' writes it.
    """
    if bool(regions) == (bed is not None):
        raise ParamsError("give --region (repeatable) or --regions BED; a BED of '#whole-genome' is every chromosome")
    from epilstm import console
    from epilstm.runtime.network import parse_headers
    from epilstm.serving.client.connection import Access, Address
    from epilstm.serving.protocol.bearer import read_token

    console.set_up("client", int(verbose) - int(quiet))
    require_free(output, overwrite, folder=output.is_dir())
    token = None if token_file is None else read_token(token_file)
    access = Access(Address.parse(url), token, ca_file, timeout_s, patience_s, parse_headers(headers))
    try:
        from epilstm.serving.client import embedding
        from epilstm.serving.client.outputs import form_of
    except ImportError as error:
        raise ParamsError(missing_package(error.name, "client")) from error

    request = embedding.Request(
        sheet=bigwig_sheet,
        regions=regions,
        bed=bed,
        assembly=assembly,
        blacklist=blacklist,
        chunk_bins=chunk_bins,
        warmup_bins=warmup_bins,
        stateful=stateful,
        in_flight=in_flight,
        downloads=downloads,
        dimensions=dimensions,
    )
    embedding.run(access, request, output, form or form_of(output))  # type: ignore[arg-type]
