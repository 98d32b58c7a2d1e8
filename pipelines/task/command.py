"""``epilstm task``: a step as a task of a Kubeflow pipeline."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from epilstm import console
from epilstm.console import log
from epilstm.errors import RETRIED, EpilstmError, ParamsError, error_line
from epilstm.pipelines.task.secret_variables import set_variables

#: Kubernetes shows the content of this file as the reason for a container's end.
TERMINATION_LOG = Path("/dev/termination-log")


@click.group()
def task() -> None:
    """Run a step as a task of a Kubeflow pipeline (what the compiled pipelines call)."""
    set_variables()
    os.environ[RETRIED] = "1"


@contextmanager
def _reported_to_kubernetes() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if os.access(TERMINATION_LOG, os.W_OK):
            line = error_line(error) if isinstance(error, EpilstmError) else f"error: {type(error).__name__}: {error}"
            TERMINATION_LOG.write_text(f"{line[:4000]}\n", encoding="utf-8")
        raise


data_root = click.option(
    "--data-root", required=True, metavar="ROOT", help="Folder of a volume, or s3://bucket/prefix."
)
executor_input = click.option("--executor-input", required=True, metavar="JSON", help="kfp's placeholder {{$}}.")


@task.command()
@data_root
@executor_input
@click.option("--manifest", type=click.Path(path_type=Path), metavar="PATH", help="Where the dataset's manifest goes.")
@click.option("--processes", type=click.IntRange(0), default=1, show_default=True, help="Processes under torchrun.")
@click.option("--launcher", default="", metavar="COMMAND", help="Command before the step's line, to run it elsewhere.")
@click.option(
    "--mirror-seconds",
    type=click.FloatRange(0.1),
    default=30.0,
    show_default=True,
    help="Between copies of a work folder to a bucket.",
)
@click.option("--code", default="", metavar="SHA256", help="Fingerprint of the step's code that the plan reported.")
@click.option("--version-of", multiple=True, metavar="NAME=VALUE", help="Enters kfp's cache key; not read.")
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def run(
    data_root: str,
    executor_input: str,
    manifest: Path | None,
    processes: int,
    launcher: str,
    mirror_seconds: float,
    code: str,
    version_of: tuple[str, ...],
    words: tuple[str, ...],
) -> None:
    """Run a step with kfp's values in the places of paths: task run OPTIONS -- epilstm STEP OPTIONS."""
    from epilstm.pipelines.task.assignment import require_code, resolve
    from epilstm.pipelines.task.data_root import open_data_root
    from epilstm.pipelines.task.executor import Executor
    from epilstm.pipelines.task.failure_reporting import failures_reported
    from epilstm.pipelines.task.line import StepLine
    from epilstm.pipelines.task.outcome import report
    from epilstm.pipelines.task.step_process import stop_signals
    from epilstm.pipelines.task.work import do

    console.set_up(f"task {words[1] if len(words) > 1 else ''}".strip(), 0)
    with _reported_to_kubernetes():
        line = StepLine.parse(words)
        if processes > 1 and not line.step.distributed:
            raise ParamsError(f"--processes {processes}: step {line.step.name} runs in one process; leave it out")
        del version_of  # only part of kfp's cache key
        executor = Executor.parse(executor_input)
        require_code(line.step.name, code)
        reported = failures_reported(line.step.name, line.part)
        with reported, stop_signals(line.step, line.part) as signals, open_data_root(data_root) as root:
            assignment = resolve(root, line)
            do(assignment, signals, processes, launcher, mirror_seconds)
            report(assignment, executor, manifest)


@task.command()
@data_root
@executor_input
@click.option("--params", required=True, metavar="JSON", help="Section of ingest.")
@click.option("--ingest-shards", type=int, required=True, metavar="N", help="Parts of ingest at most.")
@click.option("--genome-parts", type=int, required=True, metavar="N", help="Parts of preprocess and embed at most.")
@click.option("--samplesheet", required=True, metavar="VALUE", help="Relative to the root, absolute, or s3://.")
@click.option("--regions", default="", metavar="VALUE")
@click.option("--blacklist", default="", metavar="VALUE")
@click.option("--tasks", default="", metavar="VALUE")
@click.option("--labels", default="", metavar="VALUE")
@click.option("--encoder", default="", metavar="VALUE")
def plan(
    data_root: str, executor_input: str, params: str, ingest_shards: int, genome_parts: int, **values: str
) -> None:
    """Split the work into parts, and report the versions of the data, the labels and the encoder."""
    from epilstm.pipelines.task.data_root import open_data_root
    from epilstm.pipelines.task.executor import Executor
    from epilstm.pipelines.task.plan import make_plan
    from epilstm.runtime.telemetry.step_run import observed

    console.set_up("task plan", 0)
    with _reported_to_kubernetes():
        executor = Executor.parse(executor_input)
        with observed("plan"), open_data_root(data_root) as root:
            given = {name: value for name, value in values.items() if value}
            made = make_plan(root, params, given, ingest_shards, genome_parts)
        executor.set_output("ingest_parts", made.ingest_parts)
        executor.set_output("genome_groups", made.genome_parts)
        for name, version in made.versions.items():
            executor.set_output(name, version)
        for name, code in made.code.items():
            executor.set_output(f"{name}_code", code)
        executor.set_output("code", made.code)
        executor.write()
        log.info(f"parts: {made.summary}; data {made.versions['data_version'][:12]}")
