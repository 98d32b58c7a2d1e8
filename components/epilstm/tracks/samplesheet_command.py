"""``epilstm samplesheet``: write one for Roadmap tracks, or check one."""

from __future__ import annotations

from pathlib import Path

import click

from epilstm.errors import SamplesheetError
from epilstm.files.outputs import require_free
from epilstm.runtime.command_options import overwrite_option
from epilstm.tracks import catalogue
from epilstm.tracks.samplesheet import format_samplesheet, is_local, mixed_assays, scan_samplesheet, write_samplesheet
from epilstm.tracks.samplesheet_check import track_problem


@click.group(short_help="Write or check a samplesheet.")
def samplesheet() -> None:
    """Write or check a samplesheet: the CSV with one line per track that 'epilstm ingest' reads."""


@samplesheet.command()
@click.option("--cell-type", "cell_types", multiple=True, metavar="ID", help="Epigenome, such as E116; repeatable.")
@click.option("--assay", "assays", multiple=True, metavar="NAME", help="Assay, such as H3K4me3; repeatable.")
@click.option("--core", is_flag=True, help="Only the assays of at least five epigenomes (24 assays, 1,014 tracks).")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    default="-",
    show_default=True,
    metavar="FILE",
    help="Samplesheet to write; - is standard output.",
)
@overwrite_option
def roadmap(cell_types: tuple[str, ...], assays: tuple[str, ...], core: bool, output: Path, overwrite: bool) -> None:
    """Write the samplesheet of Roadmap Epigenomics tracks (-log10 p, hg19), all 1,032 or those chosen."""
    tracks = [entry.track for entry in catalogue.select(catalogue.load_catalog(), cell_types, assays, core_only=core)]
    if str(output) == "-":
        click.echo(format_samplesheet(tracks), nl=False)
    else:
        require_free(output, overwrite)
        write_samplesheet(output, tracks)
        click.echo(f"{output}: {len(tracks)} tracks", err=True)


@samplesheet.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--checksums", is_flag=True, help="Compare every local file with its sha256, where one is given.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Problems to list.")
def check(file: Path, checksums: bool, limit: int) -> None:
    """Check the samplesheet FILE, and that the local files it names are bigWigs.

    Remote files are not opened. Exit code 1 if anything is wrong; every problem is one line on standard error.
    """
    rows, problems = scan_samplesheet(file)
    for row in rows:
        problem = track_problem(row.track, file, checksums=checksums)
        if problem is not None:
            problems.append(f"{file}:{row.number}: {problem}")
    for problem in problems[:limit]:
        click.echo(problem, err=True)
    if problems:
        unlisted = f", {len(problems) - limit} of them not listed (--limit)" if len(problems) > limit else ""
        raise SamplesheetError(f"{file}: {len(problems)} problem{'s' if len(problems) > 1 else ''}{unlisted}")
    tracks = [row.track for row in rows]
    for line in mixed_assays(tracks):
        click.echo(f"{file}: warning: {line}", err=True)
    cell_types, assays = {track.cell_type for track in tracks}, {track.assay for track in tracks}
    remote = sum(not is_local(track.uri) for track in tracks)
    click.echo(
        f"{file}: {len(tracks)} tracks, {len(cell_types)} cell types, {len(assays)} assays"
        + (f"; {remote} remote files not opened" if remote else "")
    )
