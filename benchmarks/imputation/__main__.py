"""``python -m benchmarks.imputation``: the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import torch

from benchmarks.imputation.comparison import Settings, errors_by_deviation, impute_left_out, inside, table
from epilstm.errors import EpilstmError
from epilstm.files.outputs import write_json
from epilstm.params import ImputerParams
from epilstm.store.matrix import Matrix

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--matrix", required=True, type=FOLDER, help="with a split; each cell type is imputed on its test places")
@click.option("--cell-type", "cell_types", multiple=True, help="left out, repeatable  [default: each]")
@click.option("--seeds", type=click.IntRange(1, 20), default=1, show_default=True, help="how many, for each cell type")
@click.option("--training-bins", type=click.IntRange(100), default=200_000, show_default=True, help="examples")
@click.option("--steps", type=click.IntRange(1), default=3000, show_default=True, help="of the network")
@click.option("--test-bins", type=click.IntRange(100), default=200_000, show_default=True)
@click.option("--trees", type=click.IntRange(1), default=200, show_default=True)
@click.option("--depth", type=click.IntRange(1, 16), default=6, show_default=True)
@click.option("--blocks-bp", type=click.IntRange(1), default=100_000, show_default=True, help="that are resampled")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="file to write all to, too")
def main(
    matrix: Path,
    cell_types: tuple[str, ...],
    seeds: int,
    training_bins: int,
    steps: int,
    test_bins: int,
    trees: int,
    depth: int,
    blocks_bp: int,
    json_file: Path | None,
) -> None:
    """Impute cell types that training never saw, and print errors, calibration and the curve as Markdown."""
    torch.set_num_threads(1)
    training = ImputerParams(enabled=True, bins=training_bins, steps=steps)
    settings = Settings(training, test_bins, trees, depth, blocks_bp, resamples=1000)
    rows: list[dict[str, Any]] = []
    try:
        for cell_type in cell_types or list(dict.fromkeys(Matrix(matrix).manifest.track_set.cell_types)):
            for seed in range(1, seeds + 1):
                predicted, curve = impute_left_out(matrix, cell_type, settings, seed)
                rows.append(
                    {
                        "cell_type": cell_type,
                        "seed": seed,
                        "errors": table(predicted, settings, seed),
                        "inside_90": {assay: inside(each) for assay, each in predicted.items()},
                        "by_deviation": errors_by_deviation(list(predicted.values())),
                        "by_number_shown": curve,
                    }
                )
                click.echo(as_markdown(rows[-1]))
                if json_file is not None:
                    write_json(json_file, {"settings": {"training_bins": training_bins, "steps": steps}, "rows": rows})
    except EpilstmError as error:
        raise click.ClickException(str(error)) from error


def as_markdown(row: dict[str, Any]) -> str:
    """One cell type left out, as three tables and a line."""
    lines = [
        f"### {row['cell_type']} left out, seed {row['seed']}",
        "",
        "| method | MSE global | 1obs | 1imp |",
        "|---|---|---|---|",
    ]
    for method, by_measure in row["errors"].items():
        cells = [f"{cell['mse']:.3f}" + _difference(cell) for cell in by_measure.values()]
        lines.append(f"| {method} | {' | '.join(cells)} |")
    lines += ["", "| assay | inside 90% | in observed peaks | in imputed peaks |", "|---|---|---|---|"]
    for assay, shares in row["inside_90"].items():
        lines.append(f"| {assay} | {' | '.join(f'{share:.3f}' for share in shares.values())} |")
    lines += ["", "| assays shown | network | assay mean |", "|---|---|---|"]
    for count, errors in row["by_number_shown"].items():
        lines.append(f"| {count} | {' | '.join(f'{error:.3f}' for error in errors.values())} |")
    parts = ", ".join(f"{error:.3f}" for error in row["by_deviation"])
    return "\n".join([*lines, "", f"MSE by fifth of the network's own deviation, least first: {parts}", ""])


def _difference(cell: dict[str, float]) -> str:
    if "delta" not in cell:
        return ""
    return f" ({cell['delta']:+.3f}: {cell['low']:+.3f} to {cell['high']:+.3f})"


if __name__ == "__main__":
    main()
