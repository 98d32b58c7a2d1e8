"""``epilstm run``: from a samplesheet to a report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

_PATH = click.Path(path_type=Path)


@click.command(short_help="From a samplesheet of bigWigs to embeddings and a report.")
@click.argument("samplesheet", type=_PATH)
@click.option("--to", "folder", type=_PATH, required=True, metavar="FOLDER", help="Folder of the results.")
@click.option("--assembly", metavar="NAME", help="hg19, hg38, mm10, or the path of a chrom.sizes file.")
@click.option("--params", type=_PATH, metavar="FILE", help="Params file (YAML); what it leaves out keeps its default.")
@click.option("--regions", type=_PATH, metavar="BED", help="Regions to read; without it, whole chromosomes.")
@click.option("--blacklist", type=_PATH, metavar="BED", help="Regions to leave out, such as ENCODE's exclusion list.")
@click.option("--tasks", type=_PATH, metavar="FILE", help="Tasks file (YAML): what to predict from the embedding.")
@click.option(
    "--labels", type=_PATH, metavar="FOLDER", help="Folder that the label files of the tasks are relative to."
)
@click.option("--replace", is_flag=True, help="Replace results of another samplesheet or assembly in FOLDER.")
@click.option("--check", is_flag=True, help="Check everything, say what would run, and stop.")
@click.option("-v", "--verbose", is_flag=True, help="Debug messages too.")
@click.option("-q", "--quiet", is_flag=True, help="Warnings and errors only.")
def run(**options: Any) -> None:
    """Train an embedding on the tracks of SAMPLESHEET, embed every bin, and write a report.

    SAMPLESHEET is a CSV file with the columns cell_type, assay and uri, a row per bigWig. Steps: ingest, preprocess,
    train, export, embed, evaluate, report; each is a command of its own, too. Neither git nor DVC is needed.

    Given again, the command resumes: steps that are done are kept where their inputs, params and code are the same,
    and a step that was interrupted resumes where it stopped.

    Without --regions, the primary chromosomes of the assembly that every bigWig has are read whole. Without
    preprocess.split in the params, about a tenth of the genome each is held out for validation and test: chromosomes
    of middle to small size in turn, or, of one or two chromosomes, intervals of them.

    Without --tasks and --labels, the report shows reconstruction, tracks and data quality, and no tasks.
    """
    from epilstm import console
    from epilstm.console import log
    from epilstm.files.outputs import exclusive
    from epilstm.project import plan as planning
    from epilstm.project.freshness import Done
    from epilstm.project.running import run_plan, what_is_kept

    verbosity = int(options.pop("verbose")) - int(options.pop("quiet"))
    replace, check = options.pop("replace"), options.pop("check")
    console.set_up("run", verbosity)
    plan = planning.make_plan(planning.Request(**options))
    planning.check_folder(plan, replace)
    done = Done(plan)
    log.info(f"{plan.request.samplesheet}: {len(plan.tracks)} tracks, {plan.bins:,} bins of {plan.assembly.name}")
    for remark in plan.remarks:
        log.info(remark)
    if check:
        _say_what_would_run(plan)
        return
    planning.check_writable(plan.folder)
    with exclusive(plan.folder / planning.RUNNING):
        first = not (plan.folder / planning.RUN_FILE).is_file()
        warning = planning.check_disk(plan, planning.ORDER) if first else None
        plan.write()
        keep = what_is_kept(done)
        if not first:
            warning = planning.check_disk(plan, [step for step in planning.ORDER if step not in keep])
        if warning is not None:
            log.warning(warning)
        outcome = run_plan(plan, done, keep, verbosity)
    _say_what_there_is(plan, outcome)


def _say_what_would_run(plan: Any) -> None:
    """Print the lines of the steps, ready to type."""
    import shlex

    from epilstm.project.plan import ORDER
    from epilstm.runtime.step_table import STEPS

    for step in ORDER:
        paths = {name: str(path) for name, path in plan.paths(step).items()}
        flags = ("resume",) if step == "train" else ()
        click.echo(shlex.join(STEPS[step].argv(str(plan.params_path), paths, flags)))


def _say_what_there_is(plan: Any, outcome: Any) -> None:
    """Print where the results are, and what to do with them."""
    from epilstm.project.running import LOG, duration, relative

    folder = relative(plan.folder)
    ran = f"{len(outcome.ran)} steps in {duration(outcome.seconds)}" if outcome.ran else "nothing has changed"
    kept = f", {len(outcome.kept)} kept" if outcome.kept and outcome.ran else ""
    rows = [
        ("report", f"{folder}/report.html"),
        ("embeddings", f"{folder}/embeddings"),
        ("encoder", f"{folder}/encoder/encoder.onnx"),
        ("model", f"{folder}/model"),
        ("params", f"{folder}/params.yaml"),
        ("log", f"{folder}/{LOG}"),
    ]
    click.echo(f"done: {ran}{kept}")
    for name, place in rows:
        click.echo(f"  {name:<12}{place}")
    if outcome.warnings:
        click.echo(f"warnings: {len(outcome.warnings)}, the last: {outcome.warnings[-1]}")
    click.echo(
        "next:\n"
        f"  epilstm export-tracks --embeddings {folder}/embeddings --format bigwig --to tracks\n"
        f"  epilstm segment --embeddings {folder}/embeddings --matrix {folder}/matrix --segmentation segmentation\n"
        f"  python: epilstm.load({folder + '/model'!r})"
    )
