"""The commands in docs/serving.md do what it says."""

from __future__ import annotations

import re
import shlex

from epilstm.serving.client.command import client
from epilstm.serving.server.command import serve
from support.paths import PROJECT

PAGE = (PROJECT / "docs" / "serving.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", PAGE, re.MULTILINE | re.DOTALL)


def command_lines(name: str) -> list[list[str]]:
    """Command lines that begin with some words, continued lines joined."""
    text = "\n".join(blocks("sh")).replace("\\\n", " ")
    lines = (line.strip() for line in text.splitlines())
    return [shlex.split(line.removeprefix(name), comments=True) for line in lines if line.startswith(f"{name} ")]


def test_the_command_lines_are_those_of_the_commands():
    assert command_lines("epilstm serve")
    for words in command_lines("epilstm serve"):
        serve.make_context("serve", list(words))
    assert command_lines("epilstm client embed")
    for words in command_lines("epilstm client embed"):
        client.commands["embed"].make_context("embed", list(words))


def test_every_option_of_the_server_that_is_named_is_one():
    options = [option for command in (serve, client.commands["embed"]) for option in command.params]
    known = {name for option in options for name in (*option.opts, *option.secondary_opts)}
    elsewhere = {"--for", "--timeout", "--repo", "--encoder"}  # of kubectl, epilstm model and epilstm export
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", PAGE))
    assert named - known - elsewhere == set()
