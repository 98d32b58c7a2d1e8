"""The bearer token, as server and client read it."""

from __future__ import annotations

from pathlib import Path

from epilstm.errors import ParamsError


def read_token(file: Path, option: str = "--token-file") -> str:
    """The bearer token in a file; `option` is named in messages.

    Raises
    ------
    ParamsError
        The file cannot be read or holds no token.
    """
    try:
        token = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ParamsError(f"{option} {file}: cannot be read: {error}") from error
    if not token or any(character.isspace() for character in token):
        raise ParamsError(f"{option} {file}: holds no token; write one word into it")
    return token
