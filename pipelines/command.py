"""``epilstm pipeline``: compile the pipelines, run them on this machine or on a cluster.

Importing this module loads neither kfp nor kubernetes, so that ``--help`` answers at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from epilstm.errors import PipelineError
from epilstm.runtime.extras import missing_package

#: Subcommands: name -> (module:attribute, one line).
COMMANDS = {
    "compile": ("epilstm.pipelines.compile.command:compile_pipelines", "Write the compiled pipelines."),
    "local": ("epilstm.pipelines.local.command:local", "Run a compiled pipeline on this machine, without a cluster."),
    "upload": ("epilstm.pipelines.submit.commands:upload", "Register a compiled pipeline as a version."),
    "submit": ("epilstm.pipelines.submit.commands:submit", "Start a run."),
    "schedule": ("epilstm.pipelines.submit.schedule_command:schedule", "Run a registered version again and again."),
    "status": ("epilstm.pipelines.submit.commands:status", "Show a run and its steps."),
    "runs": ("epilstm.pipelines.submit.commands:runs_command", "List the latest runs."),
    "terminate": ("epilstm.pipelines.submit.commands:terminate", "End a run."),
    "retrain-on-alert": (
        "epilstm.pipelines.submit.retrain_on_alert_command:retrain_on_alert",
        "Start a run when an alert requests it.",
    ),
}

#: Top-level modules that the ``pipeline`` extra installs.
EXTRA_MODULES = {"kfp", "kfp_server_api", "kubernetes"}


class PipelineGroup(click.Group):
    """Subcommands that are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Subcommands in the order of use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import one subcommand."""
        if name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List subcommands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run a subcommand; without the extra it needs, say how to install it."""
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in EXTRA_MODULES:
                raise
            raise PipelineError(f"epilstm pipeline: {missing_package(error.name, 'pipeline')}") from error


@click.group(cls=PipelineGroup, short_help="Compile the Kubeflow pipelines, and run them here or on a cluster.")
def pipeline() -> None:
    """Compile the Kubeflow pipelines, and run them on this machine or on a cluster."""
