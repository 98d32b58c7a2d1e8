"""The same with the DVC remote on S3."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from epilstm.errors import RegistryError
from epilstm.files.outputs import fingerprint
from epilstm.registry.fetching import fetch
from epilstm.registry.publication import register
from epilstm.registry.repository import Repository
from support.free_ports import free_port
from support.registry.finished_project import Place, lay_out, run


class Server:
    """A moto server that can be stopped and started at one address."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{self.url}/moto-api/").close()
                break
            except OSError:
                time.sleep(0.1)
        import boto3

        boto3.client(
            "s3", endpoint_url=self.url, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
        ).create_bucket(Bucket="epigenome")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


@pytest.fixture
def server() -> Iterator[Server]:
    started = Server()
    yield started
    started.stop()


def test_registering_to_s3_that_is_away_shows_nothing_and_completes_when_it_is_back(
    template: Path, tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
):
    for name, value in {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_MAX_ATTEMPTS": "1"}.items():
        monkeypatch.setenv(name, value)
    place: Place = lay_out(template, tmp_path, "s3://epigenome/models")
    run(place.root, "dvc", "remote", "modify", "storage", "endpointurl", server.url)
    run(place.root, "git", "commit", "-qam", "Name the endpoint")
    run(place.root, "git", "push", "-q", "origin", "main")
    repository = Repository(place.root)
    before = place.origin_refs()
    server.stop()
    with pytest.raises(RegistryError, match=r"DVC remote s3://epigenome/models: .*nothing was registered"):
        register(repository)
    assert place.origin_refs() == before
    server.start()
    assert register(repository).version.name == "v1.0.0"
    fetch(str(place.origin), "latest", tmp_path / "served")
    assert fingerprint(tmp_path / "served") == fingerprint(place.root / "models/encoder")
    assert "AWS_SECRET" not in (place.root / "registry/encoder/provenance.json").read_text()
