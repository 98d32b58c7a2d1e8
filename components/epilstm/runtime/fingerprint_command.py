"""``epilstm fingerprint``: what the outputs of each step follow from besides its inputs."""

from __future__ import annotations

from pathlib import Path

import click

from epilstm.errors import DataError
from epilstm.runtime.step_table import STEPS

FilePath = click.Path(path_type=Path)


@click.command(short_help="Write the fingerprint of each step's code and params.")
@click.option("--params", type=FilePath, metavar="FILE", help="Params file (YAML); without it, every default.")
@click.option(
    "--fingerprints", "folder", type=FilePath, metavar="PATH", help="Folder to write: a file per step, for DVC."
)
def fingerprint(params: Path | None, folder: Path | None) -> None:
    """Print the fingerprint of the code of each step, or write one file per step with its code and resolved params.

    The code of a step is every module that it imports, directly or through others. Comments, docstrings and formatting
    do not count.
    """
    if folder is None:
        from epilstm.runtime.code_fingerprint import step_fingerprint

        for step in STEPS:
            found = step_fingerprint(step)
            click.echo(f"{step:<12} {found.sha256}  {len(found.modules)} modules and data files")
        return
    from epilstm.runtime.step_fingerprints import write_fingerprints

    try:
        changed = write_fingerprints(params, folder)
    except OSError as error:
        raise DataError(f"--fingerprints {folder}: cannot be read: {error.strerror}; give another folder") from error
    click.echo(f"changed: {', '.join(changed)}" if changed else "nothing has changed", err=True)
