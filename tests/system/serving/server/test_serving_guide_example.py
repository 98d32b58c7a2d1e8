"""The lines of Python in the serving guide, against a server."""

from __future__ import annotations

import re

import numpy as np

from epilstm.files.outputs import ENCODER
from support.export.small_model import SCALER, TRACKS
from support.paths import PROJECT
from support.serve.server_process import embedding_of

PAGE = (PROJECT / "docs" / "serving.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_lines_of_python_ask_the_server(server, encoder_folder):
    [program] = blocks("python")
    found: dict[str, object] = {}
    exec(program.replace("localhost:8080", f"localhost:{server.http_port}"), found)
    assert found["tracks"] == SCALER.tracks
    expected = embedding_of(encoder_folder / ENCODER, np.zeros((1, 100, TRACKS), np.float32))
    np.testing.assert_allclose(found["embedding"], expected, rtol=0, atol=2e-5)
