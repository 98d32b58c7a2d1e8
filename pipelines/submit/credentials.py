"""How the client authenticates: with a bearer token, or the cookies of a session."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from http.cookiejar import LoadError, MozillaCookieJar
from pathlib import Path
from urllib.parse import urlsplit

from epilstm.errors import PipelineError

TOKEN_VARIABLE = "KFP_TOKEN"


@dataclass(frozen=True)
class Credentials:
    """A token, or a file with one, or a file with the cookies of a session; or nothing.

    Parameters
    ----------
    token_file : Path, optional
        Read again for every request, since tokens mounted into pods are renewed while a command waits.
    environment_token : str, optional
        Taken where there is no token file.
    cookies_file : Path, optional
        ``cookies.txt`` as browsers and curl write it, or one line ``name=value; name=value``.
    """

    token_file: Path | None = None
    environment_token: str | None = field(default=None, repr=False)
    cookies_file: Path | None = None

    def token(self) -> str | None:
        """The bearer token.

        Raises
        ------
        PipelineError
            The file cannot be read, or contains no token. The message never shows it.
        """
        if self.token_file is not None:
            return _checked_token(_read(self.token_file, "--token-file"), f"--token-file {self.token_file}")
        if self.environment_token is not None:
            return _checked_token(self.environment_token, TOKEN_VARIABLE)
        return None

    def cookies(self, host: str) -> str | None:
        """The ``Cookie`` header for the URL of a server.

        Raises
        ------
        PipelineError
            The file cannot be read, holds no cookies for the host, or only expired ones.
        """
        if self.cookies_file is None:
            return None
        where = f"--cookies-file {self.cookies_file}"
        text = _read(self.cookies_file, "--cookies-file").strip()
        if text and "\t" not in text and "\n" not in text and "=" in text:
            return _printable(text, where)
        jar = MozillaCookieJar(str(self.cookies_file))
        try:
            jar.load(ignore_discard=True, ignore_expires=True)
        except (LoadError, ValueError):
            raise PipelineError(
                f"{where}: holds no cookies; expected a cookies.txt file or one line 'name=value; name=value'"
            ) from None
        name = urlsplit(host).hostname or ""
        fitting = [cookie for cookie in jar if _belongs(name, cookie.domain)]
        if not fitting:
            raise PipelineError(f"{where}: holds no cookie for {name}; sign in there and export its cookies")
        # curl writes 0 for cookies that end with the session.
        valid = [cookie for cookie in fitting if not cookie.expires or cookie.expires > time.time()]
        if not valid:
            raise PipelineError(f"{where}: the session for {name} has expired; sign in again and export its cookies")
        return _printable("; ".join(f"{cookie.name}={cookie.value}" for cookie in valid), where)


def credentials_given(token_file: Path | None, cookies_file: Path | None) -> Credentials:
    """Credentials from the command line and, for the token itself, from the environment."""
    return Credentials(token_file, os.environ.get(TOKEN_VARIABLE), cookies_file)


def _read(path: Path, option: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise PipelineError(f"{option} {path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise PipelineError(f"{option} {path}: not text") from None


def _checked_token(text: str, where: str) -> str:
    token = text.strip()
    if not token:
        raise PipelineError(f"{where}: is empty; expected a bearer token")
    if any(character.isspace() for character in token):
        raise PipelineError(f"{where}: holds more than one word; expected a bearer token alone")
    return _printable(token, where)


def _printable(text: str, where: str) -> str:
    if not (text.isascii() and text.isprintable()):
        raise PipelineError(f"{where}: holds characters that cannot stand in an HTTP header")
    return text


def _belongs(host: str, domain: str) -> bool:
    bare = domain.lstrip(".")
    return host == bare or (domain.startswith(".") and host.endswith(f".{bare}"))
