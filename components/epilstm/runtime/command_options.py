"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click


def verbosity_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``-v`` and ``-q``."""
    command = click.option("-q", "--quiet", is_flag=True, help="Warnings and errors only.")(command)
    return click.option("-v", "--verbose", is_flag=True, help="Debug messages too.")(command)


def overwrite_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--overwrite``, of commands that write what their user names; see `epilstm.files.outputs.require_free`."""
    return click.option("--overwrite", is_flag=True, help="Replace an output that is there already.")(command)
