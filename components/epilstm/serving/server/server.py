"""The server as a process: what it listens on, and how it starts and ends."""

from __future__ import annotations

import asyncio
import resource
import signal
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from epilstm.console import log
from epilstm.errors import EpilstmError
from epilstm.serving.server.access_log import AccessLog
from epilstm.serving.server.asgi import HttpLimits
from epilstm.serving.server.batching import BatchingLimits
from epilstm.serving.server.credentials import Credentials
from epilstm.serving.server.grpc_server import GrpcServer
from epilstm.serving.server.http_server import HttpServer
from epilstm.serving.server.providers import Wanted
from epilstm.serving.server.regions import RegionStore
from epilstm.serving.server.registry import RegistrySource
from epilstm.serving.server.repository import Repository
from epilstm.serving.server.rest import RestApplication
from epilstm.serving.server.service import InferenceService, RequestLimits

#: File descriptors that are not connections.
OTHER_DESCRIPTORS = 64


class ServeError(EpilstmError):
    """The server cannot start."""


@dataclass(frozen=True)
class Settings:
    """Everything that can be set.

    Parameters
    ----------
    model : Path
        Encoder folder or file.
    embeddings : Path, optional
        Dataset to look regions up in.
    http_port, grpc_port : int
        0 takes a free one.
    tls : tuple of Path, optional
        Certificate chain and key, PEM.
    token_file : Path, optional
        Holds the bearer token.
    registry : RegistrySource, optional
        What brings the model to where it is served from.
    provider, allow_cpu_fallback
        As for `epilstm.serving.server.providers.choose_provider`.
    watch_seconds : float
        Between looks for a new model; 0 never looks.
    linger_seconds : float
        For which requests are still taken after SIGTERM.
    """

    model: Path
    batching: BatchingLimits
    requests: RequestLimits = field(default_factory=RequestLimits)
    http: HttpLimits = field(default_factory=HttpLimits)
    embeddings: Path | None = None
    host: str = "127.0.0.1"
    http_port: int = 8080
    grpc_port: int = 8081
    tls: tuple[Path, Path] | None = None
    token_file: Path | None = None
    registry: RegistrySource | None = None
    provider: Wanted = "auto"
    allow_cpu_fallback: bool = False
    watch_seconds: float = 0.0
    linger_seconds: float = 1.0
    access_log: bool = True


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then answer what has begun and return; a second signal returns at once.

    Raises
    ------
    EpilstmError
        The model, the embeddings or the certificate cannot be used, or a port is taken.
    """
    loop = asyncio.get_running_loop()
    stopping, stop_now = asyncio.Event(), asyncio.Event()

    def stop() -> None:
        (stop_now if stopping.is_set() else stopping).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    server = Server(settings)
    starting, stopped = asyncio.create_task(server.start()), asyncio.create_task(stopping.wait())
    await asyncio.wait([starting, stopped], return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        log.info("ended before it was ready")
        return
    starting.result()
    await stopped
    log.info("shutting down")
    ending = [asyncio.create_task(server.stop()), asyncio.create_task(stop_now.wait())]
    done, _ = await asyncio.wait(ending, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
    log.info("ended")


class Server:
    """The parts of the server, put together."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.access_log = AccessLog() if settings.access_log else None
        self.credentials = Credentials(settings.token_file, settings.tls)
        repository = Repository(settings.model, settings.provider, settings.allow_cpu_fallback)
        self.service = InferenceService(
            repository, settings.batching, settings.requests, self.credentials, self.access_log
        )
        regions = None if settings.embeddings is None else RegionStore(settings.embeddings)
        limits = _within_descriptors(settings.http)
        self.http = HttpServer(RestApplication(self.service, regions), limits)
        self.grpc = GrpcServer(self.service, settings.http)
        metrics = self.service.metrics
        metrics.connections.set_function(lambda: self.http.open_connections)
        metrics.in_flight.labels("rest").set_function(lambda: self.http.in_flight)
        metrics.in_flight.labels("grpc").set_function(lambda: self.grpc.in_flight)
        self.http_port = self.grpc_port = 0
        self._following: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Listen, load the model, and be ready.

        Raises
        ------
        EpilstmError
        """
        settings, service = self.settings, self.service
        if self.access_log is not None:
            self.access_log.start()
        service.start()
        # Listening comes first: liveness is answered while a model loads, and a taken port is reported at once.
        self.http_port = await self._listen("--http-port", settings.http_port, self._start_http)
        self.grpc_port = await self._listen("--grpc-port", settings.grpc_port, self._start_grpc)
        if settings.registry is not None:
            await settings.registry.fetch_first()
        generation = await asyncio.to_thread(service.repository.load)
        if settings.registry is not None and settings.registry.seconds:
            self._follow(settings.registry.follow(service.repository.look))
        elif settings.watch_seconds:
            self._follow(service.repository.watch(settings.watch_seconds))
        if settings.tls is not None or settings.token_file is not None:
            self._follow(self.credentials.follow())
        log.info(
            f"ready: {', '.join(generation.encoders)} version {generation.version} on http {self.http_port}, "
            f"grpc {self.grpc_port}",
            extra={
                "fields": {
                    "http_port": self.http_port,
                    "grpc_port": self.grpc_port,
                    "version": generation.version,
                    "provider": generation.provider,
                    "tracks": len(generation.tracks),
                    "workers": settings.batching.workers,
                }
            },
        )

    async def stop(self) -> None:
        """Answer what has begun, then end."""
        settings, service = self.settings, self.service
        service.draining = True
        for task in self._following:
            task.cancel()
        patience = settings.requests.seconds
        linger = settings.linger_seconds
        await asyncio.gather(self.http.stop(linger, patience), self.grpc.stop(linger, patience))
        await asyncio.to_thread(service.batcher.stop)
        if self.access_log is not None:
            await asyncio.to_thread(self.access_log.stop)

    def _follow(self, looking: Coroutine[Any, Any, None]) -> None:
        self._following.append(asyncio.create_task(looking))

    async def _start_http(self, port: int) -> int:
        return await self.http.start(self.settings.host, port, self.credentials.context)

    async def _start_grpc(self, port: int) -> int:
        return await self.grpc.start(self.settings.host, port)

    async def _listen(self, option: str, port: int, start: Callable[[int], Awaitable[int]]) -> int:
        try:
            return await start(port)
        except (OSError, OverflowError) as error:
            raise ServeError(
                f"{option} {port}: cannot listen on {self.settings.host}: {error}; is another server running there? "
                "Choose another port (0 takes a free one) or another --host"
            ) from error


def _within_descriptors(limits: HttpLimits) -> HttpLimits:
    """No more connections than the process may have files open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = limits.connections + OTHER_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return replace(limits, connections=max(1, min(limits.connections, soft - OTHER_DESCRIPTORS)))
    return limits
