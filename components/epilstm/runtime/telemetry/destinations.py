"""Where the metrics of a run go when it has ended: a Pushgateway, a folder of node-exporter's textfile collector.

Both keep what a run does not report, metric by metric: the time of the last success outlives a failure.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from epilstm.console import log
from epilstm.files.outputs import replacing
from epilstm.runtime.telemetry.names import COMMON_LABELS
from epilstm.runtime.telemetry.series import Series

#: Environment variables, read when a step ends.
PUSHGATEWAY, TEXTFILE_FOLDER = "EPILSTM_PUSHGATEWAY", "EPILSTM_TEXTFILE_DIR"

JOB = "epilstm-steps"

#: Seconds that a step waits for the gateway, however it is unwell.
PATIENCE = 5.0


def configured() -> bool:
    """Whether metrics go anywhere."""
    return bool(os.environ.get(PUSHGATEWAY) or os.environ.get(TEXTFILE_FOLDER))


def deliver(series: Series) -> None:
    """Send series to every destination that is configured; what cannot be sent is one warning."""
    url, folder = os.environ.get(PUSHGATEWAY), os.environ.get(TEXTFILE_FOLDER)
    if url:
        problem = push(url, series)
        if problem:
            log.warning(f"{PUSHGATEWAY}: {without_credentials(url)} does not take the metrics: {problem}")
    if folder:
        try:
            write_textfile(Path(folder), series)
        except (OSError, ValueError) as error:
            log.warning(f"{TEXTFILE_FOLDER}: {folder}: the metrics cannot be written: {error}")


def push(url: str, series: Series) -> str | None:
    """Push series to a gateway, under job and `COMMON_LABELS`.

    Parameters
    ----------
    url : str
        ``http(s)://[user:password@]host[:port][/path]``.

    Returns
    -------
    str or None
        What went wrong.
    """
    problem: list[str | None] = []

    def attempt() -> None:
        from prometheus_client import pushadd_to_gateway

        try:
            server, handler = _access(url)
            key = {label: series.common[label] for label in COMMON_LABELS if label in series.common}
            pushadd_to_gateway(server, JOB, series.registry, key, timeout=PATIENCE, handler=handler)
            problem.append(None)
        except (OSError, ValueError, HTTPException) as error:
            problem.append(str(error) or type(error).__name__)

    # A thread, since a name that does not resolve or an answer byte by byte takes longer than any timeout of a socket.
    thread = threading.Thread(target=attempt, name="pushgateway", daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return problem[0] if problem else f"no answer in {PATIENCE:g} s"


def _access(url: str) -> tuple[str, Any]:
    """A gateway's URL without credentials, and what sends requests to it."""
    from prometheus_client.exposition import basic_auth_handler, default_handler

    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("not a URL such as http://pushgateway:9091")
    server = without_credentials(url).rstrip("/")
    if parts.username is None:
        return server, default_handler
    user, password = unquote(parts.username), unquote(parts.password or "")
    return server, partial(basic_auth_handler, username=user, password=password)


def without_credentials(url: str) -> str:
    """A URL that may be shown."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def write_textfile(folder: Path, series: Series) -> None:
    """Write series for node-exporter's textfile collector, beside what earlier runs reported under other names.

    The file is replaced whole, so that a scrape never sees half of it.
    """
    path = folder / f"{'-'.join(['epilstm', *map(_file_name, series.common.values())])}.prom"
    new = series.text().decode()
    reported = {family.name for family in series.collect()}
    old = path.read_text(encoding="utf-8") if path.is_file() else ""
    kept = [text for name, text in _families(old).items() if name.removesuffix("_total") not in reported]
    with replacing(path) as successor:
        successor.write_text("".join([new, *kept]), encoding="utf-8")


def _families(text: str) -> Mapping[str, str]:
    """Text of each metric family, by name."""
    families: dict[str, str] = {}
    name = ""
    for line in text.splitlines(keepends=True):
        if line.startswith("# HELP "):
            name = line.split(" ", 3)[2]
        families[name] = families.get(name, "") + line
    return families


def _file_name(text: str) -> str:
    """A label's value as a part of a file's name: no two values share one, and no part holds the separator."""
    return quote(text, safe="").replace("-", "%2D")
