"""A tiny epigenome, what the steps make of it when run by hand, and an S3 server."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml

from support.made_once import made_once
from support.task.launcher import DATA, Launcher, succeed

#: Small, and with two classes in every fold.
PARAMS: dict[str, dict[str, Any]] = {
    "simulate": {
        "chromosomes": {"chr1": 400_000, "chr2": 200_000, "chr3": 200_000, "chr4": 200_000},
        "cell_types": 2,
        "assays": ["DNase", "H3K4me3"],
    },
    "ingest": {"assembly": "data/simulated/chrom.sizes", "workers": 1},
    "preprocess": {"workers": 1},
    "train": {"embedding_size": 2, "context_size": 0, "hidden_size": 4, "epochs": 1, "streams": 4, "threads": 1},
    "export": {},
    "embed": {"threads": 1},
    "evaluate": {"bootstrap": 10, "folds": {"count": 2}, "classifier": {"trees": 5}, "threads": 1},
    "report": {},
    "monitor": {},
}


def epilstm(folder: Path, *words: str) -> None:
    """Run a step as a person types it."""
    command = [sys.executable, "-m", "epilstm", *words]
    result = subprocess.run(
        command, cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a params file and the simulated data; not to be written to."""

    def make(folder: Path) -> None:
        (folder / "params.yaml").write_text(yaml.safe_dump(PARAMS))
        epilstm(folder, "simulate", "--params", "params.yaml", "--simulated", "data/simulated")

    return made_once(tmp_path_factory, "simulated-for-tasks", make)


@pytest.fixture(scope="session")
def by_hand(simulated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what every step makes of that data when run by hand, without parts."""

    def make(folder: Path) -> None:
        (folder / "data").symlink_to(simulated / "data")
        (folder / "params.yaml").write_text(yaml.safe_dump(PARAMS))
        data = "data/simulated"
        for line in (
            f"ingest --samplesheet {data}/samplesheet.csv --regions {data}/regions.bed --signal signal",
            "preprocess --signal signal --matrix matrix",
            "train --matrix matrix --model model --history history.csv",
            "export --model model --encoder encoder",
            "embed --matrix matrix --encoder encoder --embeddings embeddings",
            "evaluate --matrix matrix --model model --embeddings embeddings "
            f"--tasks {data}/tasks.yaml --labels {data}/labels --evaluation evaluation",
            "report --matrix matrix --model model --history history.csv --embeddings embeddings "
            "--evaluation evaluation --report report.html",
        ):
            step, *words = line.split()
            epilstm(folder, step, "--params", "params.yaml", *words)

    return made_once(tmp_path_factory, "steps-by-hand", make)


def lay_out_volume(folder: Path, simulated: Path) -> Launcher:
    """Tasks over a data root on a volume that holds the simulated data."""
    root = folder / "volume"
    (root / "data").mkdir(parents=True)
    (root / "data" / "simulated").symlink_to(simulated / "data" / "simulated")
    return Launcher(str(root), folder / "tasks", PARAMS)


@pytest.fixture
def metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder that runs of steps leave their metrics in."""
    folder = tmp_path / "textfiles"
    folder.mkdir()
    monkeypatch.setenv("EPILSTM_TEXTFILE_DIR", str(folder))
    monkeypatch.delenv("EPILSTM_PIPELINE", raising=False)
    return folder


@pytest.fixture
def volume(tmp_path: Path, simulated: Path) -> Launcher:
    """Tasks over a data root on a volume that holds the simulated data, and nothing else."""
    return lay_out_volume(tmp_path, simulated)


@pytest.fixture(scope="session")
def kept(simulated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Datasets that tasks have left on such a volume, a signal and its matrix; to be copied."""

    def make(folder: Path) -> None:
        tasks = lay_out_volume(folder, simulated)
        ingested = succeed(tasks.run("ingest", DATA)).parameters["signal"]
        succeed(tasks.run("preprocess", {"signal": ingested}))

    return made_once(tmp_path_factory, "datasets-of-tasks", make) / "volume" / "datasets"


@pytest.fixture
def ingested(volume: Launcher, kept: Path) -> str:
    """URI of the signal, which a task has left on the volume."""
    return _left_on(volume, kept, "signal")


@pytest.fixture
def matrix(volume: Launcher, kept: Path) -> str:
    """URI of the matrix, which a task has left on the volume."""
    return _left_on(volume, kept, "matrix")


def dataset_in(folder: Path) -> Path:
    """The one dataset that tasks have kept in a folder, beside the files about it."""
    (dataset,) = (path for path in folder.iterdir() if path.is_dir())
    return dataset


def _left_on(volume: Launcher, kept: Path, name: str) -> str:
    there = Path(volume.data_root) / "datasets" / name
    shutil.copytree(kept / name, there)
    return str(dataset_in(there))


class S3Server:
    """A real S3 server on the loopback, which can be made to refuse.

    `refuse` maps a request's method and path to an S3 error (status and code), or to None; `refuse_headers` does so
    with the names of its headers and its query, as some stores do; `requests` holds the requests so far.
    """

    def __init__(self) -> None:
        from moto.server import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import make_server

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self.moto = DomainDispatcherApplication(create_backend_app)
        self.server = make_server("127.0.0.1", 0, self, threaded=True)
        self.refuse: Callable[[str, str], tuple[str, str] | None] = lambda method, path: None
        self.refuse_headers: Callable[[set[str], str], tuple[str, str] | None] = lambda names, query: None
        self.requests: list[tuple[str, str]] = []
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        request = (environ["REQUEST_METHOD"], environ["PATH_INFO"])
        self.requests.append(request)
        names = {name.removeprefix("HTTP_").replace("_", "-").lower() for name in environ if name.startswith("HTTP_")}
        refused = self.refuse(*request) or self.refuse_headers(names, environ.get("QUERY_STRING", ""))
        if refused is None:
            return self.moto(environ, start_response)
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        status, code = refused
        start_response(status, [("Content-Type", "application/xml")])
        return [f"<Error><Code>{code}</Code><Message>refused</Message></Error>".encode()]

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.server.port}",
            "AWS_ACCESS_KEY_ID": "an-access-key",
            "AWS_SECRET_ACCESS_KEY": "a-secret-key",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }


@dataclass
class Bucket:
    """A bucket that holds the simulated data, the server that it is on, and its files as fsspec sees them."""

    uri: str
    server: S3Server
    files: Any

    def names(self, under: str = "") -> list[str]:
        """Names of all files, relative to the bucket."""
        start = self.uri.removeprefix("s3://") + "/"
        return sorted(name.removeprefix(start) for name in self.files.find(start + under))


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    server = S3Server()
    yield server
    server.server.shutdown()


@pytest.fixture
def bucket(s3_server: S3Server, simulated: Path, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """A new bucket; this process may read it too."""
    import fsspec

    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    s3_server.refuse = lambda method, path: None
    s3_server.refuse_headers = lambda names, query: None
    files = fsspec.filesystem("s3", skip_instance_cache=True, use_listings_cache=False)
    name = f"bucket-{uuid4()}"
    files.mkdir(name)
    files.put(str(simulated / "data" / "simulated"), f"{name}/data/simulated", recursive=True)
    return Bucket(f"s3://{name}", s3_server, files)


@pytest.fixture
def in_bucket(bucket: Bucket, tmp_path: Path) -> Launcher:
    """Tasks over a data root in a bucket that holds the simulated data; their scratch folders are under `tmp_path`."""
    (tmp_path / "scratch").mkdir()
    environment = {**bucket.server.environment, "TMPDIR": str(tmp_path / "scratch")}
    return Launcher(f"{bucket.uri}", tmp_path / "tasks", PARAMS, environment)
