"""``epilstm init``: a project for a user's own data."""

from __future__ import annotations

from pathlib import Path

import click

_PATH = click.Path(path_type=Path)


@click.command(short_help="Write a project for your own data into a folder.")
@click.argument("folder", type=_PATH)
@click.option("--samplesheet", type=_PATH, metavar="FILE", help="Samplesheet of your tracks; without it, an empty one.")
@click.option(
    "--assembly", metavar="NAME", help="hg19, hg38, mm10, or the path of a chrom.sizes file.  [default: hg38]"
)
@click.option("--force", is_flag=True, help="Overwrite the files of a project that are there; never a samplesheet.")
def init(folder: Path, samplesheet: Path | None, assembly: str | None, force: bool) -> None:
    """Write a project into FOLDER: params, tasks, regions, and the pipeline for DVC.

    The project needs no clone of epilstm. It holds params.yaml, tasks.yaml, regions.bed, blacklist.bed, dvc.yaml,
    .gitignore, .dvcignore, a folder for labels and, unless one is given or there, an empty samplesheet.csv.

    Regions are the primary chromosomes of the assembly that every bigWig of the samplesheet has; the split is chosen
    from them as 'epilstm run' chooses it.
    """
    from epilstm.project.initialising import initialise

    project = initialise(folder, samplesheet, assembly, force)
    for remark in project.remarks:
        click.echo(remark, err=True)
    click.echo(f"{folder}: {', '.join(project.written)}")
    empty = "samplesheet.csv" in project.written
    sheet = "  fill in samplesheet.csv: a row per bigWig (cell_type, assay, uri)\n" if empty else ""
    click.echo(
        f"next:\n  cd {folder}\n{sheet}"
        f"  epilstm run {project.samplesheet} --params params.yaml --to results   # plain steps, no git and no DVC\n"
        "or, with DVC (epilstm's extra 'pipeline'), which keeps every version of data and models:\n"
        "  git init && dvc init && dvc repro   # without git: dvc init --no-scm"
    )
