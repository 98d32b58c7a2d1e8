"""What `epilstm serve` is given on the command line, checked and turned into the server's settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from epilstm.errors import ParamsError
from epilstm.runtime.cores import available_cores

if TYPE_CHECKING:  # the command line is read without onnxruntime, which the server loads
    from epilstm.serving.server.providers import Wanted
    from epilstm.serving.server.server import Settings

MEGABYTE = 1 << 20


@dataclass(frozen=True)
class ServeOptions:
    """One field for each option, with the option's name; the help of the option says what it means.

    Raises
    ------
    ParamsError
        Options that need each other, or exclude each other, are not given so.
    """

    model: Path | None
    registry: str | None
    stage: str
    rollout: Path | None
    canary: bool
    embeddings: Path | None
    host: str
    http_port: int
    grpc_port: int
    tls_cert: Path | None
    tls_key: Path | None
    token_file: Path | None
    provider: Wanted
    allow_cpu_fallback: bool
    threads: int
    max_batch: int
    max_delay_ms: float
    queue: int
    timeout_s: float
    max_body_mb: int
    max_pending_mb: int
    max_bins: int
    max_connections: int
    watch: float
    linger_s: float
    access_log: bool

    def __post_init__(self) -> None:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ParamsError("--tls-cert and --tls-key go together; give both or neither")
        if self.model is None and self.registry is None:
            raise ParamsError("give --model PATH or --registry REPO")
        if self.registry is None and (self.rollout is not None or self.canary):
            raise ParamsError("--rollout and --canary need --registry REPO, where the versions are")
        if self.canary and self.rollout is None:
            raise ParamsError("--canary needs --rollout FILE, which names it")

    def settings(self, model: Path) -> Settings:
        """Settings of the server.

        Parameters
        ----------
        model : Path
            Encoder folder or file that is served.
        """
        from epilstm.serving.server.asgi import HttpLimits
        from epilstm.serving.server.batching import BatchingLimits
        from epilstm.serving.server.registry import RegistrySource, require_registry
        from epilstm.serving.server.server import Settings
        from epilstm.serving.server.service import RequestLimits

        source = None
        if self.registry is not None:
            require_registry()
            source = RegistrySource(self.registry, self.stage, model, self.watch, self.rollout, self.canary)
        workers = self.threads or available_cores()
        return Settings(
            model=model,
            registry=source,
            embeddings=self.embeddings,
            host=self.host,
            http_port=self.http_port,
            grpc_port=self.grpc_port,
            tls=None if self.tls_cert is None or self.tls_key is None else (self.tls_cert, self.tls_key),
            token_file=self.token_file,
            provider=self.provider,
            allow_cpu_fallback=self.allow_cpu_fallback,
            batching=BatchingLimits(workers, self.queue, self.max_batch, self.max_delay_ms / 1000),
            requests=RequestLimits(self.timeout_s, self.max_bins),
            http=HttpLimits(
                max_body=self.max_body_mb * MEGABYTE,
                body_budget=max(self.max_pending_mb, self.max_body_mb) * MEGABYTE,
                connections=self.max_connections,
                body_seconds=self.timeout_s,
                write_seconds=self.timeout_s,
            ),
            watch_seconds=self.watch,
            linger_seconds=self.linger_s,
            access_log=self.access_log,
        )
