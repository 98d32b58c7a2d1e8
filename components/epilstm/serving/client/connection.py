"""A served model over the Open Inference Protocol v2, whichever form of it: what it is, its calls, and patience."""

from __future__ import annotations

import math
import random
import re
import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from epilstm.console import log
from epilstm.errors import EpilstmError, ParamsError
from epilstm.runtime.extras import missing_package
from epilstm.runtime.network import ca_path

#: The only datatype of encoders: name in the protocol, and in binary contents.
DATATYPE, DTYPE = "FP32", np.dtype("<f4")

#: Seconds before a second attempt where the server names none, and at most; each waits twice as long as the one before.
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0

Tensors = Mapping[str, NDArray[np.float32]]
Parameters = Mapping[str, str]
Value = TypeVar("Value")


class ServerRefused(EpilstmError):
    """The server cannot be reached, or does not answer as asked."""


class NotFound(ServerRefused):
    """The server has no such model or version."""


class TryLater(Exception):
    """The same request may be answered later.

    Parameters
    ----------
    seconds : float, optional
        After which, where the server says so.
    """

    def __init__(self, message: str, seconds: float | None = None) -> None:
        super().__init__(message)
        self.seconds = seconds


@dataclass(frozen=True)
class ServedModel:
    """What a server says of a model.

    Parameters
    ----------
    tracks : tuple of str
        In the order of the signal's last axis; empty where the server does not say.
    outputs, inputs : mapping of str to tuple of int
        Shapes by name; -1 is a free axis.
    """

    name: str
    version: str
    tracks: tuple[str, ...]
    properties: Mapping[str, str]
    inputs: Mapping[str, tuple[int, ...]]
    outputs: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Address:
    """Where a server is.

    Parameters
    ----------
    scheme : str
        http, https, grpc or grpcs.
    path : str
        Before ``/v2``; REST only.
    """

    scheme: str
    host: str
    port: int | None
    path: str

    @classmethod
    def parse(cls, url: str) -> Address:
        """Read a URL.

        Raises
        ------
        ParamsError
            It is not one that a server can be asked at.
        """
        example = "give one such as http://localhost:8080 or grpc://localhost:8081"
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ParamsError(f"--url: not a URL ({error}); {example}") from error
        if parts.username or parts.password:
            raise ParamsError("--url: holds a name or password; give the token in a file (--token-file)")
        if parts.scheme not in ("http", "https", "grpc", "grpcs") or not parts.hostname:
            raise ParamsError(f"--url {url}: not the URL of a server; {example}")
        if parts.query or parts.fragment or (parts.scheme.startswith("grpc") and parts.path.strip("/")):
            raise ParamsError(f"--url {url}: has more than scheme, host and port; {example}")
        if parts.scheme.startswith("grpc") and port is None:
            raise ParamsError(f"--url {url}: has no port; {example}")
        return cls(parts.scheme, parts.hostname, port, parts.path.rstrip("/"))

    @property
    def encrypted(self) -> bool:
        """Whether TLS is spoken."""
        return self.scheme in ("https", "grpcs")

    @property
    def netloc(self) -> str:
        """``host:port``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.netloc}{self.path}"


@dataclass(frozen=True)
class Access:
    """How a server is spoken to.

    Parameters
    ----------
    token : str, optional
        Bearer token.
    ca_file : Path, optional
        Certificates (PEM) to trust in place of the system's: a file, or a folder of them.
    timeout : float
        Seconds for one attempt.
    patience : float
        Seconds for all attempts at one request.
    headers : mapping of str to str
        Further headers of each request, names in lower case; ``host`` is the name that a gateway routes by.
    """

    address: Address
    token: str | None = None
    ca_file: Path | None = None
    timeout: float = 60.0
    patience: float = 300.0
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Connection(ABC):
    """A server; may be used from several threads."""

    access: Access
    _run: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    _numbers: Any = field(default_factory=lambda: count(1))
    _given_up: threading.Event = field(default_factory=threading.Event)

    @abstractmethod
    def _describe(self, model: str, request_id: str) -> ServedModel: ...

    @abstractmethod
    def _infer(
        self, model: ServedModel, inputs: Tensors, parameters: Parameters, request_id: str
    ) -> dict[str, NDArray[np.float32]]: ...

    @abstractmethod
    def close(self) -> None:
        """Close it."""

    def give_up(self) -> None:
        """No request is tried again from now on."""
        self._given_up.set()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def describe(self, model: str) -> ServedModel:
        """What the server says of a model.

        Raises
        ------
        NotFound
            It has no such model.
        ServerRefused
            It cannot be reached or does not answer.
        """
        return self._patiently(lambda request_id: self._describe(model, request_id))

    def infer(
        self, model: ServedModel, inputs: Tensors, parameters: Parameters | None = None
    ) -> dict[str, NDArray[np.float32]]:
        """Outputs by name, of that version of the model.

        Parameters
        ----------
        inputs : mapping of str to array
        parameters : mapping of str to str, optional
            Of the request.

        Raises
        ------
        ServerRefused
            It cannot be reached, refuses the request, or gives what is not an answer to it.
        """
        try:
            outputs = self._patiently(lambda request_id: self._infer(model, inputs, parameters or {}, request_id))
        except NotFound as error:
            raise ServerRefused(
                f"{self.access.address}: version {model.version} of model {model.name} is gone, the server has another "
                "one now; run it again, so that all is embedded by one"
            ) from error
        for name, shape in model.outputs.items():
            found = outputs.get(name)
            if found is None or len(found.shape) != len(shape):
                raise ServerRefused(f"{self.access.address}: the answer has no usable output {name}")
        return outputs

    def _patiently(self, attempt: Callable[[str], Value]) -> Value:
        """Make attempts at a request, one id for all of them, until it is answered or refused for good."""
        request_id = f"{self._run}-{next(self._numbers)}"
        until = time.monotonic() + self.access.patience
        wait = FIRST_WAIT
        while True:
            try:
                return attempt(request_id)
            except TryLater as problem:
                pause = pause_before_retry(problem.seconds, wait, random.random())
                if time.monotonic() + pause > until:
                    raise ServerRefused(
                        f"{self.access.address}: {problem}; given up after {self.access.patience:g} s (--patience-s), "
                        f"request id {request_id}"
                    ) from problem
                log.debug(f"request {request_id}: {problem}; trying again in {pause:.1f} s")
                if self._given_up.wait(pause):
                    raise ServerRefused(f"{self.access.address}: request {request_id} was given up") from problem
                wait = min(2 * wait, LONGEST_WAIT)


def pause_before_retry(asked: float | None, wait: float, chance: float) -> float:
    """Seconds until the next attempt: no less than the server asks for, or between half of `wait` and all of it.

    `chance`, from 0 to 1, keeps clients that were refused together from coming back together.
    """
    return wait * (1 + chance) / 2 if asked is None else asked + chance


def connect(access: Access) -> Connection:
    """Make ready to speak to a server; nothing is sent yet.

    Raises
    ------
    ParamsError
        The package for it is missing, the CA file or a proxy variable is unusable, or a token is given twice.
    """
    grpc = access.address.scheme.startswith("grpc")
    if access.ca_file is not None and not access.address.encrypted:
        raise ParamsError(f"--ca-file needs {'grpcs' if grpc else 'https'}://; {access.address} is not encrypted")
    if access.token is not None and "authorization" in access.headers:
        raise ParamsError("--header Authorization and --token-file: give one of them")
    if access.address.encrypted:
        access = replace(access, ca_file=ca_path(access.ca_file, "--ca-file"))
    if access.token is not None and not access.address.encrypted and not _is_here(access.address.host):
        log.warning(f"the token goes to {access.address} unencrypted; use {'grpcs' if grpc else 'https'}://")
    try:
        if grpc:
            from epilstm.serving.client.grpc_connection import GrpcConnection

            return GrpcConnection(access)
        from epilstm.serving.client.rest_connection import RestConnection

        return RestConnection(access)
    except ImportError as error:
        raise ParamsError(missing_package(error.name, "client")) from error


def _is_here(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def tensor_of(name: str, shape: list[int], contents: memoryview | bytes) -> NDArray[np.float32]:
    """A tensor in binary form.

    Raises
    ------
    ServerRefused
        There are not as many bytes as the shape takes.
    """
    if any(length < 0 for length in shape) or math.prod(shape) * DTYPE.itemsize != len(contents):
        raise ServerRefused(f"the answer's output {name} has {len(contents)} bytes, not those of shape {shape}")
    return np.frombuffer(contents, DTYPE).reshape(shape)


def seconds_of(text: str | None) -> float | None:
    """Value of a ``Retry-After`` in seconds; its form as a date is not read."""
    return float(text) if text is not None and re.fullmatch(r"[0-9]{1,6}", text.strip()) else None
