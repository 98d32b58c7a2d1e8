"""``epilstm serve``: the command line of the server."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import click

from epilstm.errors import ParamsError
from epilstm.runtime.extras import missing_package

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
@click.option("--rollout", type=PATH, metavar="FILE", help="Roll-out file that says which version of the registry.")
@click.option("--canary", is_flag=True, help="Serve the roll-out file's canary, where there is one.")
@click.option("--embeddings", type=PATH, metavar="FOLDER", help="Also look up regions in this embeddings dataset.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 is every one.")
@click.option("--http-port", type=PORT, default=8080, show_default=True, help="REST and metrics; 0 takes a free port.")
@click.option("--grpc-port", type=PORT, default=8081, show_default=True, help="gRPC; 0 takes a free port.")
@click.option("--tls-cert", type=PATH, metavar="FILE", help="Certificate chain (PEM): speak TLS on both ports.")
@click.option("--tls-key", type=PATH, metavar="FILE", help="Its key (PEM).")
@click.option("--token-file", type=PATH, metavar="FILE", help="Answer only requests with this bearer token.")
@click.option(
    "--provider",
    type=click.Choice(["auto", "cpu", "cuda", "tensorrt"]),
    default="auto",
    show_default=True,
    help="Where the encoder runs; auto takes CUDA where it is.",
)
@click.option("--allow-cpu-fallback", is_flag=True, help="Take the CPU where the provider cannot be had.")
@click.option(
    "--threads", type=click.IntRange(min=0), default=0, help="Calls of the encoder at a time; 0 takes one per core."
)
@click.option("--max-batch", type=click.IntRange(min=1), default=64, show_default=True, help="Sequences per call.")
@click.option(
    "--max-delay-ms", type=SECONDS, default=0.0, show_default=True, help="Wait for further sequences before a call."
)
@click.option(
    "--queue", type=click.IntRange(min=1), default=64, show_default=True, help="Requests that may wait; more get 429."
)
@click.option(
    "--timeout-s", type=click.FloatRange(min=0.1), default=30.0, show_default=True, help="For a body, for an answer."
)
@click.option("--max-body-mb", type=click.IntRange(1, 1024), default=64, show_default=True, help="Of one request.")
@click.option(
    "--max-pending-mb", type=click.IntRange(min=1), default=512, show_default=True, help="Of all requests at a time."
)
@click.option("--max-bins", type=click.IntRange(min=1), default=100_000, show_default=True, help="Of one request.")
@click.option(
    "--max-connections", type=click.IntRange(min=1), default=1000, show_default=True, help="HTTP connections."
)
@click.option("--watch", type=SECONDS, default=0.0, help="Seconds between looks for a new model; 0 never looks.")
@click.option(
    "--linger-s", type=SECONDS, default=1.0, show_default=True, help="Take requests for so long after SIGTERM."
)
@click.option("--access-log/--no-access-log", default=True, help="One JSON line per request on standard output.")
@click.option("-v", "--verbose", is_flag=True, help="Debug messages too.")
@click.option("-q", "--quiet", is_flag=True, help="Warnings and errors only.")
def serve(
    model: Path | None,
    registry: str | None,
    stage: str,
    rollout: Path | None,
    canary: bool,
    embeddings: Path | None,
    host: str,
    http_port: int,
    grpc_port: int,
    tls_cert: Path | None,
    tls_key: Path | None,
    token_file: Path | None,
    provider: str,
    allow_cpu_fallback: bool,
    threads: int,
    max_batch: int,
    max_delay_ms: float,
    queue: int,
    timeout_s: float,
    max_body_mb: int,
    max_pending_mb: int,
    max_bins: int,
    max_connections: int,
    watch: float,
    linger_s: float,
    access_log: bool,
    verbose: bool,
    quiet: bool,
) -> None:
    """Serve an encoder over the Open Inference Protocol v2, REST and gRPC.

    Models: 'encoder' (raw signal to embedding) and, for encoders of one direction, 'encoder_stateful' (the same with
    the state in and out). Metrics are at /metrics, health at /v2/health/live and /v2/health/ready. SIGTERM ends it
    once every request that has begun is answered.
    """
    if (tls_cert is None) != (tls_key is None):
        raise ParamsError("--tls-cert and --tls-key go together; give both or neither")
    if model is None and registry is None:
        raise ParamsError("give --model PATH or --registry REPO")
    if registry is None and (rollout is not None or canary):
        raise ParamsError("--rollout and --canary need --registry REPO, where the versions are")
    if canary and rollout is None:
        raise ParamsError("--canary needs --rollout FILE, which names it")

    import asyncio
    import tempfile

    from epilstm import console
    from epilstm.runtime.cores import available_cores

    console.set_up("serve", int(verbose) - int(quiet))
    try:
        from epilstm.serving.server.batching import BatchingLimits
        from epilstm.serving.server.http_server import HttpLimits
        from epilstm.serving.server.registry import RegistrySource, require_registry
        from epilstm.serving.server.server import Settings
        from epilstm.serving.server.server import serve as run
        from epilstm.serving.server.service import RequestLimits
    except ImportError as error:
        raise ParamsError(missing_package(error.name, "serve", "cpu")) from error

    scratch = None
    if model is None:
        scratch = tempfile.TemporaryDirectory(prefix="epilstm-serve-")
        model = Path(scratch.name) / "encoder"
    source = None
    if registry is not None:
        require_registry()
        source = RegistrySource(registry, stage, model, watch, rollout, canary)
    settings = Settings(
        model=model,
        registry=source,
        embeddings=embeddings,
        host=host,
        http_port=http_port,
        grpc_port=grpc_port,
        tls=None if tls_cert is None or tls_key is None else (tls_cert, tls_key),
        token_file=token_file,
        provider=provider,  # type: ignore[arg-type]
        allow_cpu_fallback=allow_cpu_fallback,
        batching=BatchingLimits(threads or available_cores(), queue, max_batch, max_delay_ms / 1000),
        requests=RequestLimits(timeout_s, max_bins),
        http=HttpLimits(
            max_body=max_body_mb << 20,
            body_budget=max(max_pending_mb, max_body_mb) << 20,
            connections=max_connections,
            body_seconds=timeout_s,
            write_seconds=timeout_s,
        ),
        watch_seconds=watch,
        linger_seconds=linger_s,
        access_log=access_log,
    )
    with scratch or nullcontext():
        asyncio.run(run(settings))
