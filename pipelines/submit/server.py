"""A Kubeflow Pipelines server: ``kfp.Client`` with time-outs, retries, and errors of one line."""

from __future__ import annotations

import contextlib
import io
import json
import re
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import kfp
import kfp_server_api
import urllib3
from kfp.client.token_credentials_base import TokenCredentialsBase
from kfp_server_api.rest import RESTClientObject
from urllib3 import exceptions

from epilstm.console import log
from epilstm.errors import PipelineError
from epilstm.pipelines.submit.connection import Connection
from epilstm.pipelines.submit.credentials import Credentials
from epilstm.runtime.network import proxy_for, trusting

T = TypeVar("T")

#: Answers that may be different a moment later.
TRANSIENT_STATUS = frozenset({429, 500, 502, 503, 504})
#: Seconds to wait before each further attempt, and for a connection.
DELAYS, CONNECT_TIMEOUT = (0.5, 1.0, 2.0, 4.0), 10.0
#: What servers answer, with status 400 or 500, if a pod or the archive of its log does not exist.
LOG_GONE = re.compile(r"not ?found|NoSuchKey|no such (key|file)|does not exist|not.{0,20}archive", re.IGNORECASE)
#: Bytes that are kept of the end of a log, and seconds in which it must have been read.
LOG_TAIL, LOG_SECONDS = 1 << 18, 60.0


class ServerError(PipelineError):
    """The server refused, or did not answer."""


class NotFoundError(ServerError):
    """There is no such thing on the server."""


class AlreadyExistsError(ServerError):
    """The server has something of that name."""


class PageError(ServerError):
    """The answer is a web page, not one of the API."""


class UnansweredError(ServerError):
    """No answer confirms the request; sent again it may succeed, or be carried out twice."""


class TimedOutError(UnansweredError):
    """The server may still be carrying it out."""


class NotSentError(UnansweredError):
    """The request did not reach the server."""


class Server:
    """A server that has answered.

    Parameters
    ----------
    connection : Connection
        Its address, and how to authenticate.

    Raises
    ------
    PipelineError
        It is unreachable, refuses, is no pipelines API, or needs a namespace.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection.checked()
        credentials = connection.credentials
        token = credentials.token()
        if token and connection.in_the_clear:
            log.warning(f"{connection.host}: the token travels unencrypted; use https://")
        with quiet():
            self.client = _Client(
                host=connection.host,
                # Any but the default keeps the constructor from asking the server, without our time-outs.
                namespace=connection.namespace or "-",
                credentials=_Token(credentials) if token else None,
                cookies=credentials.cookies(connection.host),
            )
        self._api = self.client._run_api.api_client
        for name, value in connection.headers.items():
            self._api.set_default_header(name, value)
        self._api.rest_client = _Rest(self._api.configuration, self.connection)
        multi_user = bool(self.client.get_kfp_healthz().multi_user)
        if multi_user and not connection.namespace:
            raise ServerError(f"{connection.host}: serves many users; give yours with --namespace or KFP_NAMESPACE")
        if connection.namespace and not multi_user:
            log.debug(f"{connection.host}: serves one user; namespace {connection.namespace} is not used")
        #: Namespace to name in requests.
        self.namespace = connection.namespace if multi_user else None
        self.client._context_setting["namespace"] = self.namespace or ""

    def listed(self, listing: Callable[..., Any], items: str, **options: Any) -> Iterator[Any]:
        """Items of every page of a list method of ``kfp.Client``, whose answer has them as attribute `items`."""
        token = ""
        while True:
            page = listing(page_token=token, page_size=100, **options)
            yield from getattr(page, items) or []
            token = page.next_page_token
            if not token:
                return

    def named(self, listing: Callable[..., Any], items: str, name: str, **options: Any) -> list[Any]:
        """Items of `listed` that have exactly a display name."""
        predicate = {"operation": "EQUALS", "key": "display_name", "stringValue": name}
        # The server decodes the query parameter, and then the filter once more: `kfp.Client` encodes it only once.
        encoded = quote(json.dumps({"predicates": [predicate]}), safe="")
        found = self.listed(listing, items, filter=encoded, **options)
        # Databases compare names without regard to case and to blanks at their end.
        return [item for item in found if item.display_name == name]

    def once(self, send: Callable[[], T], find: Callable[[], T | None]) -> tuple[T, bool]:
        """Have something done once, though the answer may be lost.

        Parameters
        ----------
        send : callable
            Sends the request.
        find : callable
            Looks up what the request would have made or changed; None if it has not. Called if no answer says whether
            the request was carried out, and before it is sent again.

        Returns
        -------
        tuple
            What there is, and whether this call made it, as far as is known.

        Raises
        ------
        UnansweredError
            Nothing was found, and the request failed again or might be carried out twice.
        """
        for delay in [*DELAYS, None]:
            try:
                return send(), True
            except AlreadyExistsError:
                found = find()
                if found is None:
                    raise
                return found, False
            except NotSentError:
                raise
            except UnansweredError as error:
                timed_out = isinstance(error, TimedOutError)
                for pause in DELAYS if timed_out else [delay or 0.0]:
                    time.sleep(pause)
                    found = find()
                    if found is not None:
                        return found, True
                if timed_out or delay is None:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def pod_log(self, run_id: str, pod: str) -> str | None:
        """The end of the log of a pod of a run; None if the pod is gone and the cluster archived no log.

        Raises
        ------
        ServerError
            It may not be read, or reading it failed.
        """
        headers = {**self._api.default_headers, **({"Cookie": self._api.cookie} if self._api.cookie else {})}
        self._api.update_params_for_auth(headers, [], ["Bearer"])
        # Beside the API that `kfp.Client` knows, and without a namespace: the server takes it from the run.
        path = f"/apis/v1alpha1/runs/{quote(run_id, safe='')}/nodes/{quote(pod, safe='')}/log"
        # The user interface, behind which a full Kubeflow has the API, has a path of its own for it.
        query = {"podname": pod, "runid": run_id, "podnamespace": self.namespace or ""}
        of_ui = f"/k8s/pod/logs?{urlencode({key: value for key, value in query.items() if value})}"
        refused: ServerError | None = None
        for address in (path, of_ui):
            try:
                return str(self._api.rest_client.log_tail(f"{self._api.configuration.host}{address}", headers))
            except (NotFoundError, PageError) as error:
                refused = error if refused is None or isinstance(error, NotFoundError) else refused
        if isinstance(refused, PageError):
            raise refused
        return None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep ``kfp.Client`` from printing and warning."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class _Token(TokenCredentialsBase):  # type: ignore[misc]
    def __init__(self, credentials: Credentials) -> None:
        self.credentials = credentials

    def refresh_api_key_hook(self, config: kfp_server_api.Configuration) -> None:
        """Put the present token into the client's configuration."""
        config.api_key["authorization"] = self.credentials.token()


class _Client(kfp.Client):  # type: ignore[misc]
    def _load_context_setting_or_default(self) -> None:
        # Not from kfp's file: another tool's settings do not choose the namespace or authenticate.
        self._context_setting: dict[str, str] = {"namespace": ""}


class _Rest(RESTClientObject):  # type: ignore[misc]
    """Sends the requests of ``kfp.Client``: with time-outs, again where that is safe, failing in one line."""

    def __init__(self, configuration: kfp_server_api.Configuration, connection: Connection) -> None:
        # A request that never reached the server is sent again; one that did, only if it changes nothing twice.
        self.retries = configuration.retries = urllib3.Retry(
            total=len(DELAYS),
            other=0,
            redirect=False,
            allowed_methods={"GET", "DELETE"},
            status_forcelist=TRANSIENT_STATUS,
            raise_on_status=False,
            respect_retry_after_header=False,  # which may be an hour
            backoff_factor=DELAYS[0],
            backoff_jitter=DELAYS[0] / 2,
        )
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
        options["_request_timeout"] = (CONNECT_TIMEOUT, self.connection.timeout)
        try:
            response = super().request(method, url, **options)
        except kfp_server_api.ApiException as error:
            raise _refusal(self.connection, error, options.get("headers") or {}) from None
        except exceptions.HTTPError as error:
            raise _unreachable(self.connection, error) from None
        kind = response.getheader("content-type") or ""
        if response.data and "json" not in kind:
            raise PageError(
                f"{self.connection.host}: answers with a page ({kind or 'of no type'}), not as the pipelines API: "
                "check --host, and that the token or session is still good"
            )
        return response

    def log_tail(self, url: str, headers: Mapping[str, str]) -> str:
        """The end of a log, which servers send as a whole.

        Raises
        ------
        NotFoundError
            The log does not exist here.
        ServerError
            It may not be read, or reading it failed.
        """
        host, until = self.connection.host, time.monotonic() + LOG_SECONDS
        try:
            response = self.pool_manager.request(
                "GET",
                url,
                headers=dict(headers),
                timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT, read=self.connection.timeout),
                # 500 is how servers refuse a log for good.
                retries=self.retries.new(status_forcelist=TRANSIENT_STATUS - {500}),
                preload_content=False,
            )
            with contextlib.closing(response):
                if response.status != 200:
                    raise _log_refusal(self.connection, response, headers)
                if "html" in response.headers.get("content-type", ""):
                    raise PageError(f"{host}: answers with a page, not with a log")
                tail = b""
                for block in response.stream(1 << 16):
                    tail = (tail + block)[-LOG_TAIL:]
                    if time.monotonic() > until:
                        raise ServerError(f"{host}: the log did not end within {LOG_SECONDS:g} s")
        except exceptions.HTTPError as error:
            raise _unreachable(self.connection, error) from None
        return tail.decode("utf-8", "replace")


def _refusal(connection: Connection, error: kfp_server_api.ApiException, headers: Mapping[str, str]) -> ServerError:
    """The error of an answer that is none of success."""
    host, status = connection.host, error.status
    if not status:
        return _certificate_refused(host, str(error.reason))
    text = _redacted(_message(error.body) or str(error.reason or ""), headers)
    because = f": {text}" if text else ""
    if status == 401:
        return ServerError(
            f"{host}: not authenticated (401){because}; give a valid token with --token-file or KFP_TOKEN, "
            "or a session with --cookies-file"
        )
    if status == 403:
        where = f" in namespace {connection.namespace}" if connection.namespace else ""
        return ServerError(f"{host}: not allowed{where} (403){because}")
    if 300 <= status < 400:
        target = (error.headers or {}).get("Location", "elsewhere")
        return ServerError(
            f"{host}: redirects to {target.partition('?')[0]} ({status}): check --host (http or https?), and that the "
            "token or session is still good"
        )
    if status == 404:
        return NotFoundError(f"{host}: not found (404){because}")
    if status == 409:
        return AlreadyExistsError(f"{host}: exists already (409){because}")
    kind = TimedOutError if status == 504 else UnansweredError if status in TRANSIENT_STATUS else ServerError
    return kind(f"{host}: the server answers {status}{because}")


def _log_refusal(connection: Connection, response: urllib3.BaseHTTPResponse, headers: Mapping[str, str]) -> ServerError:
    error = kfp_server_api.ApiException(status=response.status, reason=response.reason)
    error.body, error.headers = response.read(LOG_TAIL).decode("utf-8", "replace"), response.headers
    refused = _refusal(connection, error, headers)
    gone = response.status in {400, 500} and LOG_GONE.search(error.body)
    return NotFoundError(str(refused)) if gone else refused


def _unreachable(connection: Connection, error: exceptions.HTTPError) -> ServerError:
    """The error of a request without an answer."""
    host = connection.host
    cause = error.reason if isinstance(error, exceptions.MaxRetryError) and error.reason else error
    if isinstance(cause, exceptions.ProxyError):
        return NotSentError(f"{host}: the proxy is unreachable; check HTTPS_PROXY, HTTP_PROXY and NO_PROXY")
    if isinstance(cause, exceptions.NameResolutionError):
        return NotSentError(f"{host}: no such host; check --host")
    if isinstance(cause, exceptions.NewConnectionError):
        return NotSentError(f"{host}: unreachable: connection refused; check --host, and that the server is up")
    if isinstance(cause, exceptions.ConnectTimeoutError):
        return NotSentError(f"{host}: unreachable: no connection within {CONNECT_TIMEOUT:g} s")
    if isinstance(cause, exceptions.ReadTimeoutError):
        return TimedOutError(f"{host}: no answer within {connection.timeout:g} s")
    if isinstance(cause, exceptions.SSLError):
        return _certificate_refused(host, str(cause))
    hint = "; is it https://?" if host.startswith("http://") else ""
    return TimedOutError(f"{host}: the connection broke: {_first_line(str(cause))}{hint}")


def _certificate_refused(host: str, reason: str) -> ServerError:
    if "WRONG_VERSION_NUMBER" in reason or "record layer" in reason:
        return ServerError(f"{host}: does not speak TLS; is it http:// rather than https://?")
    found = re.search(r"certificate verify failed: ([^(\n]+)", reason)
    why = found.group(1).strip() if found else _first_line(reason.partition("\n")[2] or reason)
    return ServerError(f"{host}: TLS refused: {why}; give the authority's certificate with --ssl-ca-cert")


def _redacted(text: str, headers: Mapping[str, str]) -> str:
    """A refusal without the credentials of its request, which servers quote."""
    secrets = [headers.get("authorization", "").removeprefix("Bearer ")]
    secrets += [cookie.partition("=")[2] for cookie in headers.get("Cookie", "").split("; ")]
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    return text


def _message(body: str | bytes | None) -> str:
    """What the body of a refusal says."""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body or ""
    try:
        content = json.loads(text)
    except ValueError:
        return "" if text.lstrip().startswith("<") else _first_line(text)
    if not isinstance(content, dict):
        return _first_line(text)
    # Uploads and logs answer with error_message and error_details (with a stack trace), all else with message.
    message = _first_line(str(content.get("message") or content.get("error_message") or content.get("error") or ""))
    cause = _first_line(str(content.get("error_details") or "")).removesuffix(" ...")
    return message if cause in message else f"{message}: {cause}".removeprefix(": ")


def _first_line(text: str, longest: int = 300) -> str:
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= longest else f"{line[:longest]}..."
