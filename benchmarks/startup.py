"""``python -m benchmarks.startup``: CPU seconds of every command on a tiny genome, for one tree or for several in turn.

Data are so few that what remains is starting up: the interpreter, imports, compiling, and opening inputs and outputs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import click
import yaml

from benchmarks.machine import describe_machine
from epilstm.files.outputs import write_json

ROOT = Path(__file__).resolve().parents[1]

PARAMS = {
    "simulate": {"chromosomes": {f"chr{number}": 200_000 for number in range(1, 5)}},
    "ingest": {"assembly": "sim/chrom.sizes"},
    "preprocess": {"split": {"validation": ["chr3"], "test": ["chr4"]}},
    "train": {"epochs": 1, "context_epochs": 1},
    "evaluate": {"folds": {"count": 4}, "bootstrap": 20},
}

TASKS = "--tasks sim/tasks.yaml --labels sim/labels"

#: What follows ``python -m epilstm``, in an order in which each finds its inputs.
COMMANDS = {
    "--help": "--help",
    "simulate": "simulate --params params.yaml --simulated sim",
    "ingest": "ingest --params params.yaml --samplesheet sim/samplesheet.csv --regions sim/regions.bed --blacklist "
    "none.bed --signal signal --cache cache/ingest",
    "preprocess": "preprocess --params params.yaml --signal signal --matrix matrix --parts cache/preprocess",
    "train": "train --params params.yaml --matrix matrix --model model --history history.csv --checkpoint cache/train",
    "export": "export --params params.yaml --model model --encoder encoder",
    "embed": "embed --params params.yaml --matrix matrix --encoder encoder --embeddings embeddings --parts cache/embed",
    "evaluate": f"evaluate --params params.yaml --matrix matrix --model model --embeddings embeddings {TASKS} "
    "--evaluation evaluation",
    "report": "report --params params.yaml --matrix matrix --model model --history history.csv --embeddings embeddings "
    "--evaluation evaluation --report report.html",
    "promote": f"promote --matrix matrix --model model --encoder encoder --evaluation evaluation {TASKS} "
    "--decision decision.json",
    "monitor": "monitor --matrix matrix --model model --signal signal --drift drift.json",
}

#: Programs in Python, run after the commands.
PROGRAMS = {
    "load and embed an array of 10 kb": "import numpy, epilstm; model = epilstm.load('model'); "
    "model.embed(numpy.ones((400, len(model.tracks))))",
    "load and embed 10 kb of bigWigs": "import epilstm; model = epilstm.load('model'); "
    "model.embed('sim/samplesheet.csv', 'chr1:0-10000')",
}


def cpu_seconds(command: list[str], folder: Path, tree: Path) -> float:
    """CPU time of a command of a tree and of its children, system time included.

    Raises
    ------
    ClickException
        It failed.
    """
    environment = os.environ | {"PYTHONPATH": str(tree / "components"), "OMP_WAIT_POLICY": "PASSIVE"}
    with open(folder / "log", "w", encoding="utf-8") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise click.ClickException(f"{' '.join(command)}: {(folder / 'log').read_text()[-500:]}")
    return usage.ru_utime + usage.ru_stime


def measure(tree: Path, folder: Path) -> dict[str, float]:
    """CPU seconds of each command and program of a tree, run one after another in a new folder."""
    folder.mkdir()
    (folder / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    (folder / "none.bed").touch()
    commands = {name: ["-P", "-m", "epilstm", *line.split()] for name, line in COMMANDS.items()}
    commands |= {name: ["-P", "-c", program] for name, program in PROGRAMS.items()}
    return {name: cpu_seconds([sys.executable, *command], folder, tree) for name, command in commands.items()}


def as_markdown(seconds: dict[str, list[dict[str, float]]]) -> str:
    """Medians by command and tree, and how often the first tree's goes into the last one's."""
    names = list(seconds)
    lines = [f"| CPU, s | {' | '.join(names)} | last over first |", "|---|" + "---:|" * (len(names) + 1)]
    for what in (*COMMANDS, *PROGRAMS):
        medians = [median(run[what] for run in seconds[name]) for name in names]
        cells = [f"{value:.1f}" for value in medians] + [f"{medians[-1] / medians[0]:.1f}"]
        lines.append(f"| {what} | {' | '.join(cells)} |")
    return "\n".join(lines)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--tree",
    "trees",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path, resolve_path=True),
    help="another tree to compare with, repeatable: its components run in this environment",
)
@click.option("--repeats", type=click.IntRange(1), default=3, show_default=True, help="runs of each command and tree")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="file to write all runs to")
def main(trees: tuple[Path, ...], repeats: int, json_file: Path | None) -> None:
    """Measure the CPU time of every command on a tiny genome and print the table as Markdown."""
    seconds: dict[str, list[dict[str, float]]] = {tree.name: [] for tree in (ROOT, *trees)}
    work = Path(tempfile.mkdtemp(prefix="epilstm-startup-"))
    try:
        for tree in (ROOT, *trees):  # byte code is written, and caches are filled
            measure(tree, work / f"{tree.name}-first")
        for repeat in range(repeats):
            for tree in (ROOT, *trees):
                seconds[tree.name].append(measure(tree, work / f"{tree.name}-{repeat}"))
    finally:
        shutil.rmtree(work)
    if json_file:
        write_json(json_file, {"machine": describe_machine(), "seconds": seconds})
    click.echo(as_markdown(seconds))


if __name__ == "__main__":
    main()
