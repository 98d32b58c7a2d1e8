"""``epilstm serve --registry``: the champion is served, and the next one without a restart."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from epilstm.files.outputs import fingerprint
from epilstm.registry.publication import promote, register
from epilstm.registry.repository import Repository
from support.registry.finished_project import Place, another_encoder, environment
from support.watching import wait_until


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[Path]:
    """A server; where its log lies."""
    log = folder / "server.log"
    ports = ("--http-port=0", "--grpc-port=0", "--linger-s=0", "--no-access-log")
    with open(log, "w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "epilstm", "serve", *ports, *options], stderr=errors, env=environment()
        )
    try:
        yield log
        process.terminate()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait(60)


def messages(log: Path) -> str:
    return " ".join(json.loads(line)["message"] for line in log.read_text().splitlines() if line.startswith("{"))


def test_the_champion_is_served_and_then_the_next_one(place: Place, repository: Repository):
    register(repository)
    promote(repository, "challenger", force="the first")
    first = fingerprint(place.root / "models/encoder")[:12]
    with serving(place.folder, "--registry", str(place.origin), "--watch=1") as log:
        wait_until(lambda: f"version {first} on http" in messages(log))
        another_encoder(place.root, 2)
        register(repository)
        promote(repository, "challenger", force="the second")
        second = fingerprint(place.root / "models/encoder")[:12]
        wait_until(lambda: f"version {second} is served" in messages(log))


def test_without_a_champion_it_does_not_start(place: Place, repository: Repository):
    command = [sys.executable, "-m", "epilstm", "serve", "--registry", str(place.origin), "--http-port=0"]
    done = subprocess.run([*command, "--grpc-port=0"], capture_output=True, text=True, timeout=120, env=environment())
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: --registry: encoder: no version is champion")
