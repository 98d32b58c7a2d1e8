"""``epilstm data``: bring tracks in."""

from __future__ import annotations

from pathlib import Path

import click

from epilstm import console


@click.group(short_help="Import tracks, with where they came from.")
def data() -> None:
    """Import tracks, with where they came from."""


@data.command(name="import")
@click.argument("samplesheet", type=click.Path(path_type=Path), required=False)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default="tracks",
    show_default=True,
    metavar="PATH",
    help="Folder of the tracks to write.",
)
@click.option("--retries", type=click.IntRange(min=0), default=4, show_default=True, help="Further attempts at a read.")
@click.option("--overwrite", is_flag=True, help="Remove tracks of the folder that SAMPLESHEET does not list.")
@click.option("--no-dvc", is_flag=True, help="Do not put the folder under DVC.")
def import_tracks(samplesheet: Path | None, output: Path, retries: int, overwrite: bool, no_dvc: bool) -> None:
    """Bring the tracks of SAMPLESHEET in, with checksums and where they came from.

    Without SAMPLESHEET, bring in again what has changed at its source since. What has not changed is not read. The
    folder then holds samplesheet.csv, to be named as ingest.samplesheet, and is put under DVC.
    """
    from epilstm.store import track_import

    console.set_up("data", 0)
    if samplesheet is None:
        done = track_import.refresh(output, retries)
    else:
        done = track_import.import_sheet(samplesheet, output, retries, overwrite)
    added = not no_dvc and track_import.put_under_dvc(output)
    removed = f", {len(done.removed)} removed" if done.removed else ""
    tracked = f"; tracked by {output}.dvc" if added else ""
    click.echo(f"{output}: {len(done.changed)} tracks new or changed, {done.unchanged} unchanged{removed}{tracked}")
