"""``epilstm serve``: the command line of the server."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from epilstm import console
from epilstm.errors import ParamsError
from epilstm.runtime.extras import missing_package
from epilstm.serving.server.options import ServeOptions

PATH = click.Path(path_type=Path)
PORT = click.IntRange(0, 65535)
SECONDS = click.FloatRange(min=0)


@click.command(short_help="Serve an encoder over REST and gRPC.")
@click.option(
    "--model",
    type=PATH,
    metavar="PATH",
    help="Encoder folder or .onnx file that 'epilstm export' wrote; with --registry, the folder to keep it in.",
)
@click.option("--registry", metavar="REPO", help="Serve the encoder of this registry: a git repository or its URL.")
@click.option("--stage", default="champion", show_default=True, help="Stage or version in the registry to serve.")
@click.option("--rollout", type=PATH, metavar="FILE", help="Roll-out file that names the version in the registry.")
@click.option("--canary", is_flag=True, help="Serve the roll-out file's canary, where there is one.")
@click.option("--embeddings", type=PATH, metavar="FOLDER", help="Also serve regions of this embeddings dataset.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 is every one.")
@click.option("--http-port", type=PORT, default=8080, show_default=True, help="REST and metrics; 0 takes a free port.")
@click.option("--grpc-port", type=PORT, default=8081, show_default=True, help="gRPC; 0 takes a free port.")
@click.option("--tls-cert", type=PATH, metavar="FILE", help="Certificate chain (PEM): speak TLS on both ports.")
@click.option("--tls-key", type=PATH, metavar="FILE", help="Its key (PEM).")
@click.option(
    "--token-file", type=PATH, metavar="FILE", help="Answer only requests with the bearer token in this file."
)
@click.option(
    "--provider",
    type=click.Choice(["auto", "cpu", "cuda", "tensorrt"]),
    default="auto",
    show_default=True,
    help="Where the encoder runs; auto takes CUDA if it is available.",
)
@click.option("--allow-cpu-fallback", is_flag=True, help="Use the CPU if the provider is unavailable.")
@click.option(
    "--threads", type=click.IntRange(min=0), default=0, help="Calls of the encoder at a time; 0 is one per core."
)
@click.option("--max-batch", type=click.IntRange(min=1), default=64, show_default=True, help="Sequences per call.")
@click.option(
    "--max-delay-ms",
    type=SECONDS,
    default=0.0,
    show_default=True,
    help="Longest wait for further sequences before a call.",
)
@click.option(
    "--queue",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    help="Requests that may wait; more are answered with 429.",
)
@click.option(
    "--timeout-s",
    type=click.FloatRange(min=0.1),
    default=30.0,
    show_default=True,
    help="Time limit of a body and of an answer.",
)
@click.option(
    "--max-body-mb", type=click.IntRange(1, 1024), default=64, show_default=True, help="Largest body of a request."
)
@click.option(
    "--max-pending-mb",
    type=click.IntRange(min=1),
    default=512,
    show_default=True,
    help="Largest sum of all bodies in memory.",
)
@click.option(
    "--max-bins", type=click.IntRange(min=1), default=100_000, show_default=True, help="Most bins of a request."
)
@click.option(
    "--max-connections", type=click.IntRange(min=1), default=1000, show_default=True, help="HTTP connections at a time."
)
@click.option("--watch", type=SECONDS, default=0.0, help="Seconds between checks for a new model; 0 never checks.")
@click.option(
    "--linger-s",
    type=SECONDS,
    default=1.0,
    show_default=True,
    help="Seconds for which requests are accepted after SIGTERM.",
)
@click.option("--access-log/--no-access-log", default=True, help="One JSON line per request on standard output.")
@click.option("-v", "--verbose", is_flag=True, help="Debug messages too.")
@click.option("-q", "--quiet", is_flag=True, help="Warnings and errors only.")
def serve(verbose: bool, quiet: bool, **options: Any) -> None:
    """Serve an encoder over the Open Inference Protocol v2, REST and gRPC.

    Models: 'encoder' (raw signal to embedding) and, for encoders of one direction, 'encoder_stateful' (the same with
    the state in and out). Metrics are at /metrics, health at /v2/health/live and /v2/health/ready. SIGTERM ends it once
    every request that has begun is answered.
    """
    given = ServeOptions(**options)
    console.set_up("serve", int(verbose) - int(quiet))
    try:
        import uvloop

        from epilstm.serving.server.server import serve as run
    except ImportError as error:
        raise ParamsError(missing_package(error.name, "serve", "cpu")) from error

    with _served_folder(given.model) as model:
        uvloop.run(run(given.settings(model)))


@contextmanager
def _served_folder(model: Path | None) -> Iterator[Path]:
    """The folder that is served: the one given, or one that is removed at the end."""
    if model is not None:
        yield model
        return
    with tempfile.TemporaryDirectory(prefix="epilstm-serve-") as scratch:
        yield Path(scratch) / "encoder"
