"""The bearer token, as server and client read it."""

from __future__ import annotations

from pathlib import Path

from epilstm.errors import ParamsError
from epilstm.files.text import read_text


def read_token(file: Path, option: str = "--token-file") -> str:
    """The bearer token in a file; `option` is named in messages.

    Raises
    ------
    ParamsError
        The file cannot be read or holds no token.
    """
    token = read_text(file, f"{option}: a bearer token", ParamsError).strip()
    if not token or not token.isascii() or any(character.isspace() for character in token):
        raise ParamsError(f"{option} {file}: holds no token; write one word of ASCII letters into it")
    return token
