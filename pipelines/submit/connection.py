"""The connection to a Kubeflow Pipelines server: its address, how to authenticate, and checks of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from epilstm.errors import PipelineError
from epilstm.pipelines.submit.credentials import Credentials
from epilstm.runtime.network import ca_path, proxy_for


@dataclass(frozen=True)
class Connection:
    """Address of a server, and how to authenticate.

    Parameters
    ----------
    host : str
        URL of the server, with the path under which the pipelines API is reached.
    namespace : str, optional
        For multi-user servers.
    ssl_ca_cert : Path, optional
        Certificates (PEM) to trust: a file, or a folder of them.
    headers : mapping of str to str
        Further headers of each request, names in lower case.
    ui_host : str, optional
        URL of the user interface for links, where it differs from the host.
    timeout : float
        Longest wait for an answer, in seconds.
    """

    host: str
    namespace: str | None = None
    credentials: Credentials = field(default_factory=Credentials)
    ssl_ca_cert: Path | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    ui_host: str | None = None
    timeout: float = 30.0

    def checked(self) -> Connection:
        """The connection with its certificates, if it is usable.

        Raises
        ------
        PipelineError
            The host is no URL or contains a password, or a token and a header both authenticate.
        ParamsError
            The certificates, or a proxy of the environment, are unusable.
        """
        parts = urlsplit(self.host)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise PipelineError(f"--host {self.host}: expected a URL such as https://kubeflow.example.org/pipeline")
        if parts.username or parts.password:
            raise PipelineError("--host contains a user name or password; give a token or a session's cookies instead")
        try:
            _ = parts.port
        except ValueError:
            raise PipelineError(f"--host {self.host}: the port is no number from 0 to 65535") from None
        if "authorization" in self.headers and self.credentials.token():
            raise PipelineError("--header Authorization and a token: give one of them")
        proxy_for(self.host)
        if self.ssl_ca_cert is not None or parts.scheme == "https":
            return replace(self, ssl_ca_cert=ca_path(self.ssl_ca_cert, "--ssl-ca-cert"))
        return self

    @property
    def in_the_clear(self) -> bool:
        """Whether requests leave this machine or cluster unencrypted."""
        name = urlsplit(self.host).hostname or ""
        near = name in {"localhost", "127.0.0.1", "::1"} or name.endswith((".svc", ".svc.cluster.local"))
        return self.host.startswith("http://") and not near

    def link(self, path: str) -> str:
        """Address of a page of the user interface, such as ``runs/details/ID``."""
        return f"{(self.ui_host or self.host).rstrip('/')}/#/{path}"
