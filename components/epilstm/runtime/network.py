"""How clients reach servers: proxies and certificates from the usual environment variables, headers for gateways."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment

from epilstm.errors import ParamsError

#: Variables that name a file or folder of certificates to trust; the first that is set counts.
CA_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_DIR")

#: Headers that the client itself sets.
OWN_HEADERS = frozenset({
    "connection", "content-encoding", "content-length", "content-type", "te", "transfer-encoding", "x-request-id",
})  # fmt: skip

#: Names and values of headers, RFC 9110 section 5.
HEADER = re.compile(
    r"(?P<name>[A-Za-z0-9!#$%&'*+.^_`|~-]+):[ \t]*(?P<value>[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)[ \t]*"
)


@dataclass(frozen=True)
class Proxy:
    """A proxy that requests go through.

    Parameters
    ----------
    url : str
        Without credentials.
    """

    url: str
    user: str | None = None
    password: str | None = None

    @property
    def credentials(self) -> str | None:
        """``user:password``."""
        return None if self.user is None else f"{self.user}:{self.password or ''}"


def proxy_for(url: str) -> Proxy | None:
    """The proxy for a URL: ``HTTPS_PROXY``, ``HTTP_PROXY`` or ``ALL_PROXY``, unless ``NO_PROXY`` names the host.

    Both cases of the names are read, lower case first. ``grpc://`` and ``grpcs://`` are taken for http and https.

    Raises
    ------
    ParamsError
        The variable holds no URL of an HTTP proxy.
    """
    parts = urlsplit(url)
    scheme = {"grpc": "http", "grpcs": "https"}.get(parts.scheme, parts.scheme)
    proxies = getproxies_environment()
    host = parts.hostname or ""
    port = parts.port or (443 if scheme == "https" else 80)
    if not host or _bypassed(host, port, proxies.get("no", "")):
        return None
    name = scheme if proxies.get(scheme) else "all"
    given = proxies.get(name)
    if not given:
        return None
    try:
        proxy = urlsplit(given if "://" in given else f"http://{given}")
        proxy_port = proxy.port
    except ValueError as error:
        raise ParamsError(f"{name.upper()}_PROXY: not the URL of a proxy ({error})") from error
    if proxy.scheme not in ("http", "https") or not proxy.hostname:
        raise ParamsError(f"{name.upper()}_PROXY: {proxy.scheme}:// is not supported; give http://host:port")
    netloc = f"[{proxy.hostname}]" if ":" in proxy.hostname else proxy.hostname
    address = f"{proxy.scheme}://{netloc}:{proxy_port or (443 if proxy.scheme == 'https' else 80)}"
    user = None if proxy.username is None else unquote(proxy.username)
    return Proxy(address, user, None if proxy.password is None else unquote(proxy.password))


def _bypassed(host: str, port: int | None, excluded: str) -> bool:
    """Whether ``NO_PROXY`` names a host: a name, with those below it, an address, a network, or ``*``."""
    return any(_names(entry.strip().lower(), host.lower(), port) for entry in excluded.split(","))


def _names(entry: str, host: str, port: int | None) -> bool:
    if entry == "*":
        return True
    try:
        return ip_address(host) in ip_network(entry, strict=False)
    except ValueError:  # one of them is a name
        pass
    name, _, wanted = entry.partition(":") if entry.count(":") == 1 else (entry, "", "")
    name = name.lstrip(".")
    return bool(name) and wanted in ("", str(port)) and (host == name or host.endswith(f".{name}"))


def ca_path(given: Path | None, option: str) -> Path | None:
    """Certificates to trust: those given, else those that a variable of `CA_VARIABLES` names, else None.

    Parameters
    ----------
    option : str
        Its name on the command line, for messages.

    Raises
    ------
    ParamsError
        There is no such file, or it holds no certificates.
    """
    source, path = option, given
    if path is None:
        source, path = next(
            ((name, Path(os.environ[name])) for name in CA_VARIABLES if os.environ.get(name)), (option, None)
        )
    if path is not None:
        try:
            trusting(path)
        except ssl.SSLError as error:
            raise ParamsError(f"{source} {path}: holds no certificates (PEM): {error}") from error
        except OSError as error:
            raise ParamsError(f"{source} {path}: {error.strerror}; name a file of certificates (PEM)") from error
    return path


def trusting(path: Path | None) -> ssl.SSLContext:
    """A TLS context that trusts the certificates of a file or folder; without one, the system's.

    Raises
    ------
    OSError
        It cannot be read, or is no PEM (`ssl.SSLError`).
    """
    if path is None:
        return ssl.create_default_context()
    if path.is_dir():
        return ssl.create_default_context(capath=str(path))
    return ssl.create_default_context(cafile=str(path))


def parse_headers(lines: Iterable[str]) -> dict[str, str]:
    """Headers given as ``Name: value``, names in lower case.

    Raises
    ------
    ParamsError
        Not of that form, given twice, or one that the client sets itself. Values may be secret: none is quoted.
    """
    headers: dict[str, str] = {}
    for line in lines:
        found = HEADER.fullmatch(line)
        if found is None:
            raise ParamsError(f"--header {line.partition(':')[0]!r}: not a header; write it as 'Name: value'")
        name = found["name"].lower()
        if name in OWN_HEADERS:
            raise ParamsError(f"--header {found['name']}: the client sets it itself; leave it out")
        if name in headers:
            raise ParamsError(f"--header {found['name']}: given twice; give one")
        headers[name] = found["value"]
    return headers
