"""Command lines that the documentation prints are taken by the commands."""

from __future__ import annotations

import re
import shlex

import click
import pytest

from epilstm import cli
from support.paths import PROJECT

PAGES = (*PROJECT.glob("*.md"), *sorted((PROJECT / "docs").rglob("*.md")))


def command_lines(text: str) -> list[str]:
    """Lines of a page's shell blocks that begin with ``epilstm``, continued lines joined."""
    found = []
    for language, block in re.findall(r"^ *```(\w*)\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL):
        if language not in ("", "sh", "bash"):
            continue
        lines = block.replace("\\\n", " ").splitlines()
        parts = [part.strip() for line in lines for part in line.partition("  #")[0].split("&&")]
        found += [part.rstrip("& ") for part in parts if part.startswith("epilstm ") and "..." not in part]
    return found


LINES = sorted({line for page in PAGES for line in command_lines(page.read_text(encoding="utf-8"))})


def parse(words: list[str]) -> None:
    """Parse as the command line would, without running anything or asking for files."""
    command: click.Command = cli.cli
    context = None
    while isinstance(command, click.Group):
        context = click.Context(command, parent=context, info_name=command.name)
        found = command.get_command(context, words[0])
        assert found is not None, words[0]
        command, words = found, words[1:]
    try:
        command.make_context(command.name, list(words), parent=context)
    except click.BadParameter as error:
        if "does not exist" not in error.message:
            raise


@pytest.mark.parametrize("line", LINES)
def test_a_printed_command_is_one(line):
    parse(shlex.split(line.replace("[--fail-on-drift]", "--fail-on-drift"), comments=True)[1:])


def test_an_option_that_is_none_is_found():
    with pytest.raises(click.NoSuchOption):
        parse(["embed", "--no-such-option"])


def test_there_are_lines_of_every_door():
    commands = {line.split()[1] for line in LINES}
    assert {"run", "init", "samplesheet", "segment", "plot", "export-tracks", "study", "serve", "monitor", "pipeline",
            "model"} <= commands  # fmt: skip
