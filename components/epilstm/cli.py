"""The command line: one command per step, built from the step table, and what serves the steps.

Importing this module loads no scientific library, so that ``--help`` and completion answer at once.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from epilstm import __version__
from epilstm.errors import EpilstmError, error_line
from epilstm.files.disk import is_disk_full, system_error_line
from epilstm.runtime.command_options import verbosity_options
from epilstm.runtime.step_table import STEPS, Step


@dataclass(frozen=True)
class OtherCommand:
    """A command that is not a step.

    Parameters
    ----------
    target : str
        ``module:attribute``.
    summary : str
        One line.
    """

    target: str
    summary: str


#: Commands that are not steps, under the headings of the help.
ANALYSE = {
    "run": OtherCommand("epilstm.project.run_command:run", "From a samplesheet of bigWigs to embeddings and a report."),
    "init": OtherCommand("epilstm.project.init_command:init", "Write a project for your own data into a folder."),
    "samplesheet": OtherCommand("epilstm.tracks.samplesheet_command:samplesheet", "Write or check a samplesheet."),
    "data": OtherCommand("epilstm.store.data_command:data", "Import tracks, with where they came from."),
    "segment": OtherCommand(
        "epilstm.outputs.segmentation.command:segment", "Cluster embeddings into a segmentation of the genome."
    ),
    "similar": OtherCommand(
        "epilstm.outputs.similarity.command:similar", "Find the regions that are most like a region."
    ),
    "export-tracks": OtherCommand(
        "epilstm.outputs.browser_tracks.command:export_tracks", "Write embeddings or tracks for browsers and analysis."
    ),
    "impute": OtherCommand(
        "epilstm.outputs.imputation.command:impute", "Impute assays of a cell type that training never saw."
    ),
    "plot": OtherCommand("epilstm.outputs.plot.command:plot", "Draw one figure as PNG, SVG or PDF."),
    "client": OtherCommand(
        "epilstm.serving.client.command:client", "Get embeddings of your own bigWigs from a server."
    ),
    "import-checkpoint": OtherCommand(
        "epilstm.outputs.checkpoint_import.command:import_checkpoint", "Import the weights published with Epi-LSTM."
    ),
}
PIPELINE = {
    "params": OtherCommand(
        "epilstm.runtime.params_command:params", "Show every parameter with its default and meaning."
    ),
    "study": OtherCommand("epilstm.study.command:study", "Run variants of the pipeline, and compare them."),
    "fingerprint": OtherCommand(
        "epilstm.runtime.fingerprint_command:fingerprint", "Write the fingerprint of each step's code and params."
    ),
}
OPERATE = {
    "serve": OtherCommand("epilstm.serving.server.command:serve", "Serve an encoder over REST and gRPC."),
    "model": OtherCommand("epilstm.registry.command:model", "Register, promote, fetch and trace models."),
    "retrain": OtherCommand(
        "epilstm.registry.retrain_command:retrain",
        "Refresh the data, run the pipeline and the gate, register, roll out.",
    ),
    "task": OtherCommand("epilstm.pipelines.task.command:task", "Run a step as a task of a Kubeflow pipeline."),
}
OTHER_COMMANDS = {**ANALYSE, **PIPELINE, **OPERATE}


#: Entry points by which other packages add commands; what they load must be as light as this module.
COMMANDS_GROUP = "epilstm.commands"


def added_commands() -> dict[str, click.Command]:
    """Commands that other installed packages add, by name."""
    from importlib.metadata import entry_points

    return {point.name: point.load() for point in entry_points(group=COMMANDS_GROUP)}


class StepGroup(click.Group):
    """Commands that are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Commands in the order of the help; the steps in the order data flows."""
        return [name for names in _by_heading().values() for name in names]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Build or import one command."""
        if name in STEPS:
            return step_command(STEPS[name])
        if name in OTHER_COMMANDS:
            from importlib import import_module

            module, _, attribute = OTHER_COMMANDS[name].target.partition(":")
            command: click.Command = getattr(import_module(module), attribute)
            return command
        return added_commands().get(name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List commands without importing them."""
        summaries = {
            **{name: command.get_short_help_str(100) for name, command in added_commands().items()},
            **{name: command.summary for name, command in OTHER_COMMANDS.items()},
            **{name: step.summary for name, step in STEPS.items()},
        }
        widest = max(map(len, summaries))
        for heading, names in _by_heading().items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(widest), summaries[name]) for name in names])


def _by_heading() -> dict[str, list[str]]:
    """Names of all commands, by the heading of the help that lists them."""
    added = [name for name in added_commands() if name not in OTHER_COMMANDS and name not in STEPS]
    return {"Analyse": [*ANALYSE], "Pipeline": [*STEPS, *PIPELINE], "Operate": [*OPERATE, *added]}


@click.group(cls=StepGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="epilstm")
def cli() -> None:
    """Compact vectors for every 25-bp bin of the genome, from epigenomic signal tracks.

    Each step reads its section of a params file and named inputs, and writes named outputs whole or not at all, with
    a record beside each. Exit codes: 0 done, 1 failed, 2 bad usage.

    Shell completion: eval "$(_EPILSTM_COMPLETE=bash_source epilstm)" (or zsh_source, fish_source).
    """


class StepCommand(click.Command):
    """A step; its help ends with its parameters and their defaults."""

    def __init__(self, step: Step, **attributes: Any) -> None:
        super().__init__(step.name, **attributes)
        self.step = step

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the params section."""
        from epilstm.params import SECTIONS
        from epilstm.runtime.params_command import rows_of

        with formatter.section(f"Parameters (section '{self.step.name}' of the params file)"):
            formatter.write_dl(rows_of(SECTIONS[self.step.name]))


def step_command(step: Step) -> click.Command:
    """The command of a step.

    Parameters
    ----------
    step : Step
        From the step table.
    """

    def callback(
        params: Path | None, verbose: bool, quiet: bool, metrics_port: int | None = None, **options: Any
    ) -> None:
        from epilstm import console
        from epilstm.runtime import runner
        from epilstm.runtime.telemetry import live

        console.set_up(step.name, int(verbose) - int(quiet))
        ports = (*step.inputs, *step.outputs, *step.work)
        paths = {port.name: options[port.name] for port in ports if options[port.name] is not None}
        flags = frozenset(name for name, _ in step.flags if options[name.replace("-", "_")])
        part = options.get("part")
        with live.served(metrics_port, step.name, part):
            runner.log_done(step, runner.run_step(step, params, paths, flags, part))

    path = click.Path(path_type=Path)
    options: list[click.Parameter] = [
        click.Option(["--params"], type=path, metavar="FILE", help="Params file (YAML); without it, every default.")
    ]
    for role, ports in (("", step.inputs), ("Output: ", step.outputs), ("Work folder: ", step.work)):
        for port in ports:
            sometimes = step.part is not None and ports is step.outputs and not port.optional
            options.append(
                click.Option(
                    [f"--{port.name}"],
                    type=path,
                    metavar="PATH",
                    required=not port.optional and not sometimes,
                    help=f"{role}{port.help}{' (required without --part)' if sometimes else ''}.",
                )
            )
    if step.part is not None:
        text = f"{step.part[0].upper()}{step.part[1:]}; no output is written."
        options.append(click.Option(["--part"], metavar="PART", help=text))
    for name, text in step.flags:
        options.append(click.Option([f"--{name}"], is_flag=True, help=f"{text[0].upper()}{text[1:]}."))
    options.append(
        click.Option(
            ["--metrics-port"],
            type=click.IntRange(0, 65535),
            envvar="EPILSTM_METRICS_PORT",
            show_envvar=True,
            metavar="PORT",
            help="Serve Prometheus metrics at /metrics of this port while it runs; 0 takes a free one.",
        )
    )
    command = StepCommand(step, callback=callback, params=options, help=step.summary)
    verbosity_options(command)
    return command


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; a user's error is one line on standard error and an exit code.

    Parameters
    ----------
    arguments : list of str, optional
        Without the program's name; those of the process if not given.
    """
    try:
        with _terminated_like_interrupted():
            cli.main(arguments, prog_name="epilstm", standalone_mode=False)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.Abort:
        click.echo("error: interrupted", err=True)
        sys.exit(130)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.ClickException as error:
        if isinstance(error, click.UsageError) and error.ctx is not None:
            click.echo(f"error: {error.format_message()} (see {error.ctx.command_path} --help)", err=True)
        else:
            click.echo(f"error: {error.format_message()}", err=True)
        sys.exit(error.exit_code)
    except EpilstmError as error:
        click.echo(error_line(error), err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(141)
    except OSError as error:
        click.echo(f"error: {system_error_line(error)}", err=True)
        sys.exit(1)
    except Exception as error:
        if not is_disk_full(error):
            raise
        click.echo("error: no space left on the disk; free some space and run it again", err=True)
        sys.exit(1)


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """SIGTERM ends a command as Ctrl-C does, so that it cleans up; commands with handlers of their own set them."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
