"""``python -m benchmarks.segmentation``: the command line."""

from __future__ import annotations

import resource
from dataclasses import asdict
from pathlib import Path

import click

from benchmarks.machine import describe_machine
from benchmarks.segmentation.comparison import Settings, measured, methods_of, ranges_by_use
from benchmarks.segmentation.genes import read_active_genes
from benchmarks.segmentation.table import as_markdown
from benchmarks.segmentation.tracks import THRESHOLD
from epilstm.errors import EpilstmError
from epilstm.files.outputs import write_json
from epilstm.outputs.segmentation.segmenting import matching_matrix
from epilstm.store.bin_ranges import open_embeddings
from epilstm.store.matrix import Matrix

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--matrix", required=True, type=FOLDER, help="with a split; the one that the embeddings were made from")
@click.option("--embeddings", required=True, type=FOLDER, help="embeddings dataset")
@click.option("--annotation", required=True, type=FILE, help="genes, GTF or GFF3")
@click.option("--expression", type=FILE, help="RPKM by gene and cell type; without it all genes count as active")
@click.option(
    "--cell-type",
    "cell_types",
    multiple=True,
    help="column of the table, repeatable  [default: those of the tracks]",
)
@click.option("--states", type=click.IntRange(2, 50), default=15, show_default=True)
@click.option("--seeds", type=click.IntRange(1, 20), default=1, show_default=True, help="how many, for each method")
@click.option("--sample-bins", type=click.IntRange(1000), default=200_000, show_default=True, help="as of segment")
@click.option("--min-bins", type=click.IntRange(1, 1000), default=8, show_default=True, help="as of segment")
@click.option(
    "--threshold", type=float, default=THRESHOLD, show_default=True, help="mean signal from which a track is present"
)
@click.option("--only", default="", help="methods whose name contains this")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="file to write all to, too")
def main(
    matrix: Path,
    embeddings: Path,
    annotation: Path,
    expression: Path | None,
    cell_types: tuple[str, ...],
    states: int,
    seeds: int,
    sample_bins: int,
    min_bins: int,
    threshold: float,
    only: str,
    json_file: Path | None,
) -> None:
    """Compare ways to find chromatin states by what they know of genes, and print the table as Markdown."""
    if cell_types and expression is None:
        raise click.UsageError("--cell-type names a column of --expression, which is not given")
    settings = Settings(states, seeds, sample_bins, min_bins, threshold)
    try:
        manifest, rows = open_embeddings(embeddings)
        matching_matrix(matrix, manifest)
        tracks = Matrix(matrix)
        ranges = ranges_by_use(manifest, tracks.manifest)
        known = [track.cell_type for track in tracks.manifest.track_set.identities]
        genes = read_active_genes(annotation, expression, cell_types, known)
        methods = [method for method in methods_of(tracks, rows, threshold) if only in method.name]
        if not methods:
            raise click.UsageError(f"--only {only}: no method has this in its name")
        found = []
        for method in methods:
            for seed in range(1, seeds + 1):
                found.append(each := measured(method, ranges, genes, settings, seed, manifest.bin_size))
                click.echo(f"{method.name}, seed {seed}: {each.fit_seconds + each.segment_seconds:.0f} CPU s", err=True)
    except EpilstmError as error:
        raise click.ClickException(str(error)) from error
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    content = {
        "machine": describe_machine(),
        "settings": asdict(settings),
        "cell_types": list(genes.cell_types),
        "bins": {use: sum(each.bins for each in own) for use, own in ranges.items()},
        "peak_memory": memory,
        "measurements": [asdict(each) for each in found],
    }
    if json_file is not None:
        write_json(json_file, content)
    click.echo(as_markdown(found))
    click.echo(f"{states} states; seeds 1 to {seeds}; at most {memory / 1e6:,.0f} MB of memory")


if __name__ == "__main__":
    main()
