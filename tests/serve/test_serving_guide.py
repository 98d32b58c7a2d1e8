"""What docs/serving.md tells a newcomer to type does what it says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from epilstm.files.outputs import ENCODER
from epilstm.serving.client.command import client
from epilstm.serving.server.command import serve
from export.small_model import SCALER, TRACKS
from serve.server_process import embedding_of

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "serving.md").read_text()


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


@pytest.mark.integration
def test_the_lines_of_python_ask_the_server(server, encoder_folder):
    [program] = blocks("python")
    found: dict[str, object] = {}
    exec(program.replace("localhost:8080", f"localhost:{server.http_port}"), found)
    assert found["tracks"] == SCALER.tracks
    expected = embedding_of(encoder_folder / ENCODER, np.zeros((1, 100, TRACKS), np.float32))
    np.testing.assert_allclose(found["embedding"], expected, rtol=0, atol=2e-5)
