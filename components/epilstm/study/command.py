"""``epilstm study list|plan|run|show``: studies of the pipeline, as DVC experiments."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from epilstm import console
from epilstm.errors import PipelineError
from epilstm.files.outputs import require_free
from epilstm.runtime.command_options import overwrite_option

PATH = click.Path(path_type=Path)


def _file(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--file", type=PATH, default="studies.yaml", show_default=True, metavar="FILE", help="Studies, YAML."
    )(command)


def _choice(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what says which experiments."""
    for option in reversed(
        (
            click.argument("name"),
            click.option(
                "--on", "base", default="params", show_default=True, metavar="DATA", help="Data set of the file."
            ),
            click.option("--data", type=PATH, metavar="FOLDER", help="Where that data set lies."),
            click.option("--seeds", type=Seeds(), metavar="N[,N...]", help="In place of the study's own."),
            click.option("--only", "variants", multiple=True, metavar="VARIANT", help="Repeatable."),
        )
    ):
        command = option(command)
    return _file(command)


class Seeds(click.ParamType[tuple[int, ...]]):
    """Whole numbers with commas between them."""

    name = "seeds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Read them."""
        if isinstance(value, tuple):
            return value
        words = [word.strip() for word in str(value).split(",")]
        if not all(word.isdecimal() and word.isascii() for word in words) or len(set(words)) < len(words):
            self.fail(f"{value!r}: expected different whole numbers, such as 1,2,3", param, ctx)
        return tuple(map(int, words))


@click.group(short_help="Run variants of the pipeline, and compare them.")
def study() -> None:
    """Run variants of the pipeline as DVC experiments, and compare them.

    A study changes one thing at a time: studies.yaml names its variants and the params that each sets. Experiments run
    in a folder of their own, so the work tree stays as it is; what is in git or changed there is what they run.
    """


@study.command(name="list")
@_file
def list_studies(file: Path) -> None:
    """List the studies, their variants, and the data sets that they can run on."""
    from epilstm.study.definition import read_studies

    found = read_studies(file)
    for name, each in found.studies.items():
        click.echo(f"{name:<16} {each.about}\n{'':<16} {', '.join(each.variants)}")
    for name, base in found.bases.items():
        click.echo(f"--on {name:<11} {base.about}")


@study.command(name="plan")
@_choice
def print_plan(name: str, file: Path, **choice: Any) -> None:
    """Print the commands that the study NAME is."""
    from epilstm.study.plan import plan

    for experiment in plan(*_planned(name, file, choice)):
        click.echo(experiment.command)


@study.command()
@_choice
@click.option("--replace", is_flag=True, help="Run those again that are there with other params or code.")
def run(name: str, file: Path, replace: bool, **choice: Any) -> None:
    """Run the experiments of the study NAME that are not there yet.

    Run it again after a kill or a failure: it resumes. Stages that nothing concerns come from DVC's cache.
    """
    from epilstm.study import experiments
    from epilstm.study.plan import plan

    console.set_up("study", 0)
    repository = experiments.open_project(Path.cwd())
    failed = []
    for experiment, outcome in experiments.run(repository, plan(*_planned(name, file, choice)), replace):
        click.echo(f"{experiment.name}: {outcome}")
        if outcome == "failed":
            failed.append(experiment.name)
    if failed:
        raise PipelineError(f"failed, as dvc says above: {', '.join(failed)}; fix that and run the same line again")


@study.command()
@_choice
@click.option("--csv", "target", type=PATH, metavar="FILE", help="CSV to write: a row per experiment and task.")
@click.option(
    "--against", metavar="REPRESENTATION", help="Show the embedding's differences to it, too, such as pca or raw."
)
@overwrite_option
def show(name: str, file: Path, target: Path | None, against: str | None, overwrite: bool, **choice: Any) -> None:
    """Show what the experiments of the study NAME came to.

    R2 of the reconstruction of the test chromosomes, and by task the average precision (or R2, of levels) of the
    embedding with its bootstrap interval; then the difference to the first variant, its mean and standard deviation
    over seeds. With --against, a second table: the embedding minus that representation, by variant and task, the mean
    over seeds of the difference and its interval, and a * where every seed says that it beats it, or is beaten by it.
    """
    from epilstm.study import experiments, results
    from epilstm.study.plan import plan

    console.set_up("study", 0)
    if target is not None:
        require_free(target, overwrite)
    repository = experiments.open_project(Path.cwd())
    there = experiments.kept(repository)
    found, missing, baselines = [], [], set()
    outdated: dict[str, list[str]] = {}
    planned = plan(*_planned(name, file, choice))
    for experiment in planned:
        kept = there.get(experiment.name)
        if kept is None:
            missing.append(experiment.name)
        elif (differing := experiments.difference(repository, experiment, kept)) is not None:
            outdated.setdefault(differing, []).append(experiment.name)
        else:
            baselines.add(kept.baseline)
            found.append(results.read_result(repository.root, experiment, kept))
    problems = {"not run yet": missing, **{f"left out, run with {what}": names for what, names in outdated.items()}}
    for problem, names in problems.items():
        if names:
            console.log.warning(f"{len(names)} of {len(planned)} {problem}: {', '.join(names)}")
    if len(baselines) > 1:
        console.log.warning(f"run from {len(baselines)} different commits: the code may differ, too")
    if target is not None:
        results.write_csv(target, name, found)
    variants = list(dict.fromkeys(each.variant for each in planned))
    against_it = results.against_as_text(found, variants, against) if against is not None else None
    _print_table(results.as_text(results.table(found, variants)))
    if against_it is not None:
        click.echo()
        _print_table(against_it)


def _planned(name: str, file: Path, choice: dict[str, Any]) -> tuple[Any, Any, Path]:
    from epilstm.study.definition import read_studies
    from epilstm.study.plan import Choice

    given = {key: value for key, value in choice.items() if value}
    return read_studies(file), Choice(name, **given), Path.cwd()


def _print_table(lines: list[list[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        click.echo("  ".join(f"{word:<{width}}" for word, width in zip(line, widths, strict=True)).rstrip())
