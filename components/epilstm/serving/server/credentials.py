"""Token and certificate, read again when their files change: a rotated secret needs no restart."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import grpc

from epilstm.console import log
from epilstm.errors import EpilstmError, ParamsError
from epilstm.serving.protocol.bearer import read_token

#: Seconds between looks at the files.
LOOK_SECONDS = 5.0


class Credentials:
    """What clients are asked for, and what the server shows them.

    Parameters
    ----------
    token_file : Path, optional
        Holds the bearer token that requests must carry.
    tls : tuple of Path, optional
        Certificate chain and key, PEM.

    Attributes
    ----------
    authorization : bytes or None
        ``Authorization`` that requests must carry.
    context : ssl.SSLContext or None
        For REST; new connections are given the certificate that it then holds.

    Raises
    ------
    ParamsError
        A file cannot be used.
    """

    def __init__(self, token_file: Path | None = None, tls: tuple[Path, Path] | None = None) -> None:
        self.token_file, self.tls = token_file, tls
        self.authorization = None if token_file is None else _authorization(token_file)
        self.context = None if tls is None else tls_context(*tls)
        self._logged = ""

    def for_grpc(self) -> Any:
        """Make gRPC's credentials: the files are read anew for a connection, and what cannot be used is passed over."""
        assert self.tls is not None
        return grpc.dynamic_ssl_server_credentials(_configuration(*self.tls), self._current_configuration)

    def _current_configuration(self) -> Any:
        assert self.tls is not None
        try:
            tls_context(*self.tls)
            return _configuration(*self.tls)
        except (EpilstmError, OSError):
            return None  # the one before stays; `refresh` logs why

    def refresh(self) -> None:
        """Take over what the files hold now; what cannot be used is logged once, and the old is kept."""
        problem = ""
        try:
            if self.token_file is not None:
                self.authorization = _authorization(self.token_file)
            if self.tls is not None and self.context is not None:
                tls_context(*self.tls)  # a certificate without its key would leave the context with neither
                self.context.load_cert_chain(*self.tls)
        except (EpilstmError, OSError) as error:
            problem = str(error)
        if problem and problem != self._logged:
            log.error(f"the old token and certificate stay: {problem}")
        self._logged = problem

    async def follow(self) -> None:
        """Refresh every so often; never returns."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await asyncio.to_thread(self.refresh)


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS with a certificate.

    Raises
    ------
    ParamsError
        It cannot be used.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:  # SSLError is one
        raise ParamsError(f"--tls-cert {certificate}, --tls-key {key}: cannot be used: {error}") from error
    return context


def _authorization(file: Path) -> bytes:
    return f"Bearer {read_token(file)}".encode()


def _configuration(certificate: Path, key: Path) -> Any:
    return grpc.ssl_server_certificate_configuration([(key.read_bytes(), certificate.read_bytes())])
