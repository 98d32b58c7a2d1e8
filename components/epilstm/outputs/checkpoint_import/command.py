"""``epilstm import-checkpoint``: the command line."""

from __future__ import annotations

from pathlib import Path

import click

from epilstm.files.outputs import require_free
from epilstm.runtime.command_options import overwrite_option

PATH = click.Path(path_type=Path)


@click.command("import-checkpoint", short_help="Import the weights published with Epi-LSTM.")
@click.argument("encoder_file", metavar="ENCODER.pth", type=PATH)
@click.argument("decoder_file", metavar="DECODER.pth", type=PATH)
@click.option("--config", required=True, type=PATH, metavar="FILE", help="The config.yaml published with the weights.")
@click.option(
    "--tracks", type=PATH, metavar="FILE", help="Names of the tracks in their order: a samplesheet, or one name a line."
)
@click.option("--assembly", default="hg19", show_default=True, metavar="NAME|FILE", help="Of the published tracks.")
@click.option(
    "--model", default="models/published", show_default=True, type=PATH, metavar="FOLDER", help="Model folder to write."
)
@click.option(
    "--encoder",
    default="models/published-encoder",
    show_default=True,
    type=PATH,
    metavar="FOLDER",
    help="Encoder folder to write, with encoder.onnx.",
)
@overwrite_option
@click.option("-v", "--verbose", is_flag=True, help="Debug messages too.")
@click.option("-q", "--quiet", is_flag=True, help="Warnings and errors only.")
def import_checkpoint(
    encoder_file: Path,
    decoder_file: Path,
    config: Path,
    tracks: Path | None,
    assembly: str,
    model: Path,
    encoder: Path,
    overwrite: bool,
    verbose: bool,
    quiet: bool,
) -> None:
    """Import the weights published with Epi-LSTM: a model folder and an ONNX encoder that compute the published cell.

    The files are read as tensors; no code in them is run. A warning says whether the weights differ from those
    that the published code starts from.
    """
    from epilstm import console
    from epilstm.outputs.checkpoint_import.importing import PublishedFiles, run

    console.set_up("import-checkpoint", int(verbose) - int(quiet))
    for path in (model, encoder):
        require_free(path, overwrite, folder=True)
    run(PublishedFiles(encoder_file, decoder_file, config, tracks), model, encoder, assembly)
