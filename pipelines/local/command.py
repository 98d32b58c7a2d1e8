"""``epilstm pipeline local``: a compiled pipeline on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from epilstm.pipelines.submit.answers import json_option
from epilstm.pipelines.submit.options import PATH, package_options, parameter_options
from epilstm.runtime.command_options import verbosity_options

if TYPE_CHECKING:
    from epilstm.pipelines.compile.packages import Package
    from epilstm.pipelines.local.engines import Engine
    from epilstm.pipelines.local.scheduler import LocalRun
    from epilstm.pipelines.submit.run_steps import Step


@click.command("local", short_help="Run a compiled pipeline on this machine, without a cluster.")
@package_options
@click.option("--to", "folder", type=PATH, required=True, metavar="DIR", help="Folder of the run.")
@click.option(
    "--data-root",
    type=PATH,
    metavar="FOLDER",
    help="Folder that paths in parameters are relative to, and where datasets go.  [default: DIR/data]",
)
@parameter_options
@click.option(
    "--engine",
    type=click.Choice(["process", "container"]),
    default="process",
    show_default=True,
    help="Run tasks in the environment that is installed, or in containers of their images.",
)
@click.option("--engine-program", metavar="PROGRAM", help="For containers.  [default: docker, else podman]")
@click.option("--network", is_flag=True, help="Give containers a network, for remote tracks or a registry.")
@click.option(
    "--tasks", type=click.IntRange(1), default=1, show_default=True, help="Tasks at the same time; each uses all cores."
)
@json_option
@verbosity_options
def local(folder: Path, data_root: Path | None, tasks: int, as_json: bool, **options: Any) -> None:
    """Run a compiled pipeline to its end: the same tasks, conditions, loops and command lines as on a cluster.

    Given again, the command takes what an earlier run in DIR has done, where Kubeflow Pipelines would take it from its
    cache, and does the rest. DIR/run.json says what each task was given and made, and where its log is.
    """
    import asyncio
    from uuid import UUID

    from epilstm import console
    from epilstm.pipelines.local.run_folder import held, summary, write
    from epilstm.pipelines.local.scheduler import LocalRun
    from epilstm.pipelines.local.worker import ProcessWorker
    from epilstm.pipelines.submit.answers import print_result
    from epilstm.pipelines.submit.options import package_of
    from epilstm.trace_context import RUN_ID, current_trace

    console.set_up("pipeline", int(options["verbose"]) - int(options["quiet"]))
    package = package_of(options)
    folder = folder.absolute()
    data = (data_root or folder / "data").absolute()
    engine = _engine(options, package, folder, data)
    parameters = _parameters(options, package, engine.data_root(data))
    run_id = str(UUID(current_trace().trace_id))
    with held(folder) as lock:
        (folder / "tasks").mkdir(exist_ok=True)
        data.mkdir(parents=True, exist_ok=True)
        pipeline = package.spec["pipelineInfo"]["name"]
        view = _View(run_id, pipeline)
        worker = ProcessWorker(engine, run_id, pipeline, folder, {RUN_ID: run_id}, (lock,))
        view.run = run = LocalRun(package.spec, folder, worker, tasks, view.show)

        def keep() -> dict[str, Any]:
            content = summary(run, run_id, package.name, package.digest, parameters)
            write(folder, content)
            return content

        keep()
        try:
            with view.on_terminal():
                asyncio.run(run.run(parameters))
        except BaseException:
            with suppress(OSError):  # what refuses this has most likely ended the run, and is reported
                keep()
            raise
        content = keep()
    print_result(content, lambda: _print_end(content, folder), as_json)


@dataclass
class _View:
    """A local run as it is shown."""

    id: str
    name: str
    run: LocalRun | None = None

    def __post_init__(self) -> None:
        from epilstm.pipelines.submit.watching import ChangeLines

        self.lines = ChangeLines()
        self.drawn = False

    @property
    def state(self) -> str:
        return self.run.state if self.run else "PENDING"

    @property
    def ended(self) -> bool:
        return self.state not in ("PENDING", "RUNNING")

    @property
    def steps(self) -> tuple[Step, ...]:
        steps = list(self.run.steps.values()) if self.run else []
        first = {step.name: number for number, step in reversed(list(enumerate(steps)))}
        return tuple(sorted(steps, key=lambda step: first[step.name]))

    def show(self) -> None:
        if not self.drawn:
            self.lines.show(self)

    @contextmanager
    def on_terminal(self) -> Iterator[None]:
        """Draw a table until the end, where standard error is a terminal."""
        import logging
        import sys

        from epilstm.console import log

        if not (sys.stderr.isatty() and log.isEnabledFor(logging.INFO)):
            yield
            return
        from rich.console import Console
        from rich.live import Live

        from epilstm.pipelines.submit.watching import table_of

        self.drawn = True
        with Live(get_renderable=lambda: table_of(self), console=Console(stderr=True), refresh_per_second=2):
            yield


def _engine(options: Mapping[str, Any], package: Package, folder: Path, data: Path) -> Engine:
    from epilstm.pipelines.local.engines import ContainerEngine, ProcessEngine, container_program
    from epilstm.pipelines.local.placement import refuse_cluster_only, secret_variables

    refuse_cluster_only(package)
    if options["engine"] == "process":
        return ProcessEngine()
    engine = ContainerEngine(
        container_program(options["engine_program"]),
        data,
        folder / "tasks",
        options["network"],
        secret_variables(package),
    )
    executors = package.spec["deploymentSpec"]["executors"].values()
    engine.check_images(each["container"]["image"] for each in executors if "container" in each)
    return engine


def _parameters(options: Mapping[str, Any], package: Package, data_root: str) -> dict[str, Any]:
    """Parameters of the run, checked as those that are submitted."""
    from epilstm.errors import ParamsError
    from epilstm.pipelines.compile.packages import parameters_of
    from epilstm.pipelines.compile.sent_values import check_run
    from epilstm.pipelines.submit.options import parameters_given

    if any(each.partition("=")[0] == "data_root" for each in options["assignments"]):
        raise ParamsError("-P data_root: a local run has its data in a folder of this machine; give --data-root")
    if "data_root" in parameters_of(package.spec):
        options = {**options, "assignments": (*options["assignments"], f"data_root={data_root}")}
    parameters = parameters_given(package.spec, options, package.digest)
    check_run(package.name, parameters, None, None)
    return parameters


def _print_end(content: Mapping[str, Any], folder: Path) -> None:
    """Print how the run ended, and where its models and pages are."""
    done = [task for task in content["tasks"] if task["state"] == "SUCCEEDED"]
    cached = sum(task["cached"] for task in done)
    click.echo(
        f"run {content['pipeline']} succeeded: {len(done)} tasks, {cached} of them done before; {folder}/run.json"
    )
    for task in done:
        for name, artifacts in task["outputs"]["artifacts"].items():
            for artifact in artifacts:
                if artifact["type"].get("schemaTitle") in ("system.Model", "system.HTML"):
                    click.echo(f"  {name}: {artifact['uri']}")
