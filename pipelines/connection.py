"""The connection to a Kubeflow Pipelines server: ``kfp.Client`` with bounded waits, retries and one-line errors."""

from __future__ import annotations

import contextlib
import io
import json
import random
import re
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import kfp
import kfp_server_api
import urllib3
from kfp.client.token_credentials_base import TokenCredentialsBase
from kfp_server_api.rest import RESTClientObject

from epilstm.console import log
from epilstm.errors import PipelineError
from epilstm.network import ca_path, proxy_for, trusting
from pipelines.credentials import Credentials

T = TypeVar("T")

#: Answers that may be different a moment later.
TRANSIENT_STATUS = frozenset({429, 500, 502, 503, 504})
#: What servers say when a pod, or the archive of its log, is not there; their status is 500 then.
LOG_GONE = re.compile(r"not ?found|NoSuchKey|no such (key|file)|does not exist|not.{0,20}archive", re.IGNORECASE)
#: Bytes that are kept of the end of a log, and seconds in which it must have been read.
LOG_TAIL, LOG_SECONDS = 1 << 18, 60.0
#: POSTs that mean the same when they are sent twice.
REPEATABLE_POST = re.compile(r":(terminate|enable|disable|archive|unarchive)$")


class ClusterError(PipelineError):
    """The server refused, or could not be asked."""


class NotFoundError(ClusterError):
    """What was asked for is not there."""


class LogGoneError(NotFoundError):
    """A pod's log is not there any more."""


class NoLogThereError(LogGoneError):
    """There is no log at an address; the server may have it at another."""


class PageError(ClusterError):
    """A page answers in place of an API."""


class AlreadyExistsError(ClusterError):
    """Something of that name is there."""


class UnansweredError(ClusterError):
    """No answer says whether the server did what it was asked; asking again may work, or do it twice."""


class TimedOutError(UnansweredError):
    """The server may be doing it still."""


class NeverSentError(UnansweredError):
    """The request did not reach the server, which can have done nothing."""


@dataclass(frozen=True)
class Patience:
    """How long to wait and how often to ask again.

    Parameters
    ----------
    attempts : int
        Requests at most, the first included.
    first_delay, longest_delay : float
        Seconds before the second request; doubled each time up to the longest.
    connect_timeout, read_timeout : float
        Seconds to wait for a connection and between two parts of an answer.
    """

    attempts: int = 5
    first_delay: float = 0.5
    longest_delay: float = 8.0
    connect_timeout: float = 10.0
    read_timeout: float = 30.0

    def delays(self) -> Iterator[float]:
        """Seconds to wait before each further attempt, spread so that clients do not come back together."""
        for attempt in range(self.attempts - 1):
            yield min(self.longest_delay, self.first_delay * 2**attempt) * random.uniform(0.75, 1.25)


@dataclass(frozen=True)
class Connection:
    """Which server, as whom.

    Parameters
    ----------
    host : str
        URL of the server, with the path under which the pipelines API is reached.
    namespace : str, optional
        For multi-user servers.
    credentials : Credentials
        Token or session.
    ssl_ca_cert : Path, optional
        Certificates (PEM) to trust: a file, or a folder of them.
    headers : mapping of str to str
        Further headers of each request, names in lower case.
    ui_host : str, optional
        URL of the user interface for links, where it differs from the host.
    patience : Patience
        Waits and retries.
    """

    host: str
    namespace: str | None = None
    credentials: Credentials = field(default_factory=Credentials)
    ssl_ca_cert: Path | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    ui_host: str | None = None
    patience: Patience = field(default_factory=Patience)

    def checked(self) -> Connection:
        """The connection, if it can be used.

        Raises
        ------
        PipelineError
            The host is no URL, or it holds a password, or two things prove who asks.
        ParamsError
            The certificates, or a proxy of the environment, cannot be used.
        """
        parts = urlsplit(self.host)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise PipelineError(f"--host {self.host}: expected a URL such as https://kubeflow.example.org/pipeline")
        if parts.username or parts.password:
            raise PipelineError("--host holds a user name or password; give a token or a session's cookies instead")
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

    def link(self, path: str) -> str:
        """Page of the user interface.

        Parameters
        ----------
        path : str
            As ``runs/details/ID``.
        """
        return f"{(self.ui_host or self.host).rstrip('/')}/#/{path}"


class _Token(TokenCredentialsBase):  # type: ignore[misc]
    def __init__(self, credentials: Credentials) -> None:
        self.credentials = credentials

    def refresh_api_key_hook(self, config: kfp_server_api.Configuration) -> None:
        """Put the present token into the client's configuration."""
        config.api_key["authorization"] = self.credentials.token()


class _Client(kfp.Client):  # type: ignore[misc]
    def _load_context_setting_or_default(self) -> None:
        # Not from kfp's file: what another tool left behind does not decide as whom we talk to which namespace.
        self._context_setting: dict[str, str] = {"namespace": ""}


class _PatientRest(RESTClientObject):  # type: ignore[misc]
    """Sends the requests of ``kfp.Client``: with time-outs, again where that is safe, failing in one line."""

    def __init__(self, configuration: kfp_server_api.Configuration, connection: Connection) -> None:
        # Retries and redirects are ours to judge, not urllib3's.
        configuration.retries = False
        proxy = proxy_for(connection.host)
        if proxy is not None:
            configuration.proxy = proxy.url
            configuration.proxy_headers = urllib3.make_headers(proxy_basic_auth=proxy.credentials)
        super().__init__(configuration)
        if connection.ssl_ca_cert is not None:
            pool_options = self.pool_manager.connection_pool_kw
            pool_options.pop("ca_certs", None)
            pool_options["ssl_context"] = trusting(connection.ssl_ca_cert)
        self.connection = connection

    def request(self, method: str, url: str, **options: Any) -> Any:
        patience = self.connection.patience
        repeatable = method in {"GET", "DELETE"} or (method == "POST" and bool(REPEATABLE_POST.search(url)))
        options["_request_timeout"] = (patience.connect_timeout, patience.read_timeout)
        for delay in [*patience.delays(), None]:
            try:
                return self._send(method, url, options)
            except UnansweredError as error:
                refused = isinstance(error, NeverSentError)
                if delay is None or not (repeatable or refused):
                    raise
                log.debug(f"{error}; trying again in {delay:.1f} s")
                time.sleep(delay)
        raise AssertionError("the last attempt returns or raises")

    def _send(self, method: str, url: str, options: dict[str, Any]) -> Any:
        # The headers are changed in place by the sender: each attempt gets its own.
        headers = dict(options.get("headers") or {})
        try:
            response = super().request(method, url, **{**options, "headers": headers})
        except kfp_server_api.ApiException as error:
            raise self._error_for(error, _secrets(headers)) from None
        except urllib3.exceptions.HTTPError as error:
            raise self._unreachable(error) from None
        kind = response.getheader("content-type") or ""
        if response.data and "json" not in kind:
            raise PageError(
                f"{self.connection.host}: answers with a page ({kind or 'of no type'}), not as the pipelines API: "
                "check --host, and that the token or session is still good"
            )
        return response

    def log_tail(self, url: str, headers: Mapping[str, str]) -> str:
        """The end of a log, which servers give as a whole.

        Raises
        ------
        LogGoneError
            It is not there any more.
        ClusterError
            It may not or cannot be read.
        """
        patience = self.connection.patience
        for delay in [*patience.delays(), None]:
            try:
                return self._send_for_log(url, headers)
            except UnansweredError:
                if delay is None:
                    raise
                time.sleep(delay)
        raise AssertionError("the last attempt returns or raises")

    def _send_for_log(self, url: str, headers: Mapping[str, str]) -> str:
        patience, until = self.connection.patience, time.monotonic() + LOG_SECONDS
        waits = urllib3.Timeout(connect=patience.connect_timeout, read=patience.read_timeout)
        try:
            response = self.pool_manager.request(
                "GET", url, headers=dict(headers), timeout=waits, preload_content=False, redirect=False
            )
            try:
                if response.status != 200:
                    raise self._no_log(response, headers)
                if "html" in response.headers.get("content-type", ""):
                    raise PageError(f"{self.connection.host}: answers with a page, not with a log")
                tail = b""
                for block in response.stream(1 << 16):
                    tail = (tail + block)[-LOG_TAIL:]
                    if time.monotonic() > until:
                        raise ClusterError(f"{self.connection.host}: the log did not end within {LOG_SECONDS:g} s")
            finally:
                response.close()
        except urllib3.exceptions.HTTPError as error:
            raise self._unreachable(error) from None
        return tail.decode("utf-8", "replace")

    def _no_log(self, response: urllib3.BaseHTTPResponse, headers: Mapping[str, str]) -> ClusterError:
        error = kfp_server_api.ApiException(status=response.status, reason=response.reason)
        error.body, error.headers = response.read(LOG_TAIL).decode("utf-8", "replace"), response.headers
        refused = self._error_for(error, _secrets(headers))
        if response.status == 404:
            return NoLogThereError(str(refused))
        if response.status in {400, 500} and LOG_GONE.search(error.body):
            return LogGoneError(str(refused))
        # 500 is how servers refuse a log for good.
        return ClusterError(str(refused)) if response.status == 500 else refused

    def _error_for(self, error: kfp_server_api.ApiException, secrets: list[str]) -> ClusterError:
        host, status = self.connection.host, error.status
        if not status:
            return self._refused_certificate(str(error.reason))
        said = _redacted(_message(error.body) or str(error.reason or ""), secrets)
        tail = f": {said}" if said else ""
        if status == 401:
            return ClusterError(
                f"{host}: not authenticated (401){tail}; give a valid token with --token-file or KFP_TOKEN, "
                "or a session with --cookies-file"
            )
        if status == 403:
            where = f" in namespace {self.connection.namespace}" if self.connection.namespace else ""
            return ClusterError(f"{host}: not allowed{where} (403){tail}")
        if 300 <= status < 400:
            target = (error.headers or {}).get("Location", "elsewhere")
            return ClusterError(
                f"{host}: redirects to {target.partition('?')[0]} ({status}): check --host (http or "
                "https?), and that the token or session is still good"
            )
        if status == 404:
            return NotFoundError(f"{host}: not found (404){tail}")
        if status == 409:
            return AlreadyExistsError(f"{host}: exists already (409){tail}")
        kind = UnansweredError if status in TRANSIENT_STATUS else ClusterError
        return (TimedOutError if status == 504 else kind)(f"{host}: the server answers {status}{tail}")

    def _unreachable(self, error: urllib3.exceptions.HTTPError) -> ClusterError:
        host, exceptions = self.connection.host, urllib3.exceptions
        if isinstance(error, exceptions.NameResolutionError):
            return NeverSentError(f"{host}: no such host; check --host")
        if isinstance(error, exceptions.NewConnectionError):
            return NeverSentError(f"{host}: cannot be reached: connection refused; check --host, and that it is up")
        if isinstance(error, exceptions.ConnectTimeoutError):
            return NeverSentError(f"{host}: cannot be reached within {self.connection.patience.connect_timeout:g} s")
        if isinstance(error, exceptions.ReadTimeoutError):
            return TimedOutError(f"{host}: no answer within {self.connection.patience.read_timeout:g} s")
        if isinstance(error, exceptions.SSLError):
            return self._refused_certificate(str(error))
        hint = "; is it https://?" if host.startswith("http://") else ""
        return TimedOutError(f"{host}: the connection broke: {_first_line(str(error))}{hint}")

    def _refused_certificate(self, reason: str) -> ClusterError:
        host = self.connection.host
        if "WRONG_VERSION_NUMBER" in reason or "record layer" in reason:
            return ClusterError(f"{host}: does not speak TLS; is it http:// rather than https://?")
        found = re.search(r"certificate verify failed: ([^(\n]+)", reason)
        why = found.group(1).strip() if found else _first_line(reason.partition("\n")[2] or reason)
        return ClusterError(f"{host}: TLS refused: {why}; give the authority's certificate with --ssl-ca-cert")


def _secrets(headers: Mapping[str, str]) -> list[str]:
    """What a request proved itself with; servers quote it in their refusals."""
    found = [headers.get("authorization", "").removeprefix("Bearer ")]
    found += [cookie.partition("=")[2] for cookie in headers.get("Cookie", "").split("; ")]
    return [secret for secret in found if secret]


def _redacted(text: str, secrets: list[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "***")
    return text


def _message(body: str | bytes | None) -> str:
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body or ""
    try:
        content = json.loads(text)
    except ValueError:
        return "" if text.lstrip().startswith("<") else _first_line(text)
    if not isinstance(content, dict):
        return _first_line(text)
    # Uploads and logs answer with error_message and error_details (with a stack trace), all else with message.
    said = _first_line(str(content.get("message") or content.get("error_message") or content.get("error") or ""))
    cause = _first_line(str(content.get("error_details") or "")).removesuffix(" ...")
    return said if cause in said else f"{said}: {cause}".removeprefix(": ")


def _first_line(text: str, longest: int = 300) -> str:
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= longest else f"{line[:longest]}..."


class Cluster:
    """A server that has answered.

    Parameters
    ----------
    connection : Connection
        Which, as whom.

    Raises
    ------
    PipelineError
        It cannot be reached, refuses, is no pipelines API, or needs a namespace.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection.checked()
        credentials = connection.credentials
        token = credentials.token()
        if token and connection.host.startswith("http://") and not _is_near(connection.host):
            log.warning(f"{connection.host}: the token travels unencrypted; use https://")
        with quiet():
            self.client = _Client(
                host=connection.host,
                # Any but the default keeps the constructor from asking the server, without our time-outs.
                namespace=connection.namespace or "-",
                credentials=_Token(credentials) if token else None,
                cookies=credentials.cookies(connection.host),
            )
        api = self.client._run_api.api_client
        for name, value in connection.headers.items():
            api.set_default_header(name, value)
        api.rest_client = _PatientRest(api.configuration, self.connection)
        self.multi_user = bool(self.client.get_kfp_healthz().multi_user)
        if self.multi_user and not connection.namespace:
            raise ClusterError(f"{connection.host}: serves many users; give yours with --namespace or KFP_NAMESPACE")
        if connection.namespace and not self.multi_user:
            log.debug(f"{connection.host}: serves one user; namespace {connection.namespace} is not used")
        #: Namespace to name in requests.
        self.namespace = connection.namespace if self.multi_user else None
        self.client._context_setting["namespace"] = self.namespace or ""

    def pod_log(self, run_id: str, pod: str) -> str:
        """The end of the log of a pod of a run.

        Raises
        ------
        LogGoneError
            The pod is gone, and the cluster archives no logs.
        ClusterError
            It may not or cannot be read.
        """
        api = self.client._run_api.api_client
        headers = {**api.default_headers, **({"Cookie": api.cookie} if api.cookie else {})}
        api.update_params_for_auth(headers, [], ["Bearer"])
        # Beside the API that `kfp.Client` knows, and without a namespace: the server takes it from the run.
        path = f"/apis/v1alpha1/runs/{quote(run_id, safe='')}/nodes/{quote(pod, safe='')}/log"
        # The user interface, behind which a full Kubeflow has the API, has a path of its own for it.
        query = {"podname": pod, "runid": run_id, "podnamespace": self.namespace or ""}
        of_ui = f"/k8s/pod/logs?{urlencode({key: value for key, value in query.items() if value})}"
        refused: ClusterError | None = None
        for address in (path, of_ui):
            try:
                return str(api.rest_client.log_tail(f"{api.configuration.host}{address}", headers))
            except (NoLogThereError, PageError) as error:
                refused = error if refused is None or isinstance(error, NoLogThereError) else refused
        raise refused or LogGoneError(f"{self.connection.host}: no log of {pod}")

    def list_all(self, listing: Callable[..., Any], items: str, **options: Any) -> list[Any]:
        """Items of every page of a listing.

        Parameters
        ----------
        listing : callable
            List method of ``kfp.Client``.
        items : str
            Attribute of its answer that holds them.
        """
        found: list[Any] = []
        token = ""
        while True:
            page = listing(page_token=token, page_size=100, **options)
            found += getattr(page, items) or []
            token = page.next_page_token
            if not token:
                return found

    def find_named(self, listing: Callable[..., Any], items: str, name: str, **options: Any) -> list[Any]:
        """Items of a listing that have a display name, to the letter.

        Parameters
        ----------
        listing : callable
            List method of ``kfp.Client``.
        items : str
            Attribute of its answer that holds them.
        name : str
            Any text.
        """
        found = self.list_all(listing, items, filter=_named(name), **options)
        # Databases compare names without regard to case and to blanks at their end.
        return [item for item in found if item.display_name == name]

    def create_once(self, create: Callable[[], T], find: Callable[[], T | None]) -> tuple[T, bool]:
        """Create something of which there may be only one.

        When the server's answer does not say whether it did, what is there is looked up before asking again.

        Parameters
        ----------
        create : callable
            Sends the request.
        find : callable
            Looks up what it would have made; None if that is not there.

        Returns
        -------
        tuple
            What is there, and whether this call made it, as far as is known.

        Raises
        ------
        UnansweredError
            Nothing was found, and asking again did not help or might have done it twice.
        """
        patience = self.connection.patience
        for delay in [*patience.delays(), None]:
            try:
                return create(), True
            except AlreadyExistsError:
                found = find()
                if found is None:
                    raise
                return found, False
            except NeverSentError:
                raise
            except TimedOutError:
                # It may still be at it: look again, and do not ask again.
                for pause in patience.delays():
                    time.sleep(pause)
                    found = find()
                    if found is not None:
                        return found, True
                raise
            except UnansweredError:
                time.sleep(delay or 0.0)
                found = find()
                if found is not None:
                    return found, True
                if delay is None:
                    raise
        raise AssertionError("the last attempt returns or raises")


def _named(name: str) -> str:
    """Filter of list methods for a display name, encoded for a URL.

    The server decodes the query parameter, and what was in it once more: `kfp.Client` encodes for the first time only.
    """
    predicate = {"operation": "EQUALS", "key": "display_name", "stringValue": name}
    return quote(json.dumps({"predicates": [predicate]}), safe="")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep ``kfp.Client`` from printing and warning."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _is_near(host: str) -> bool:
    name = urlsplit(host).hostname or ""
    return name in {"localhost", "127.0.0.1", "::1"} or name.endswith((".svc", ".svc.cluster.local"))
