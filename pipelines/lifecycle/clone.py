"""The registry's repository in a pod: a new clone, with the secret's credentials, deleted afterwards."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from epilstm.console import log
from epilstm.errors import RegistryError
from epilstm.registry.repository import GitFailed, RefsTaken, Repository, without_credentials

T = TypeVar("T")

#: Who commits where the secret does not say.
IDENTITY = {"NAME": "epilstm pipeline", "EMAIL": "pipeline@epilstm.invalid"}

#: Answers git with the secret's user and password; the values stay in the environment.
CREDENTIAL_HELPER = '!f() { echo "username=${GIT_USERNAME:-git}"; echo "password=${GIT_PASSWORD}"; }; f'

#: Attempts if another publisher is faster.
ATTEMPTS = 3


def prepare_environment() -> None:
    """Give git a name, an address and the secret's credentials, and DVC a place to write, where they have none."""
    author = {key: os.environ.get(f"GIT_AUTHOR_{key}") or value for key, value in IDENTITY.items()}
    for key, value in author.items():
        os.environ[f"GIT_AUTHOR_{key}"] = value
        os.environ.setdefault(f"GIT_COMMITTER_{key}", value)
    if os.environ.get("GIT_PASSWORD"):
        os.environ |= {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "credential.helper",
            "GIT_CONFIG_VALUE_0": CREDENTIAL_HELPER,
        }
    os.environ.setdefault("DVC_NO_ANALYTICS", "1")
    os.environ.setdefault("DVC_SITE_CACHE_DIR", str(Path(tempfile.gettempdir()) / "dvc"))


@contextmanager
def fresh_clone(url: str, branch: str) -> Iterator[Repository]:
    """Clone a repository, at a branch if it has that, else at its default one.

    Raises
    ------
    RegistryError
        It cannot be reached, or its URL carries a password.
    """
    require_plain(url)
    with tempfile.TemporaryDirectory() as folder:
        try:
            Repository(Path(folder)).git("clone", "--quiet", url, "clone")
        except GitFailed as error:
            raise RegistryError(
                f"registry {url}: cannot be cloned: {error}; check the address and the secret with its credentials"
            ) from error
        repository = Repository(Path(folder) / "clone")
        if repository.commit_of(f"refs/remotes/origin/{branch}") is not None:
            repository.git("checkout", "--quiet", "-B", branch, f"origin/{branch}")
        yield repository


def require_plain(url: str) -> None:
    """Refuse a URL with a password in it: parameters of a run are shown to everyone.

    Raises
    ------
    RegistryError
        It has one.
    """
    # Of ssh, the user alone is no secret; of https it may be a token.
    if re.search(r"^https?://[^/@]*@|://[^/@]*:[^/@]*@", url, re.IGNORECASE):
        raise RegistryError(
            f"registry {without_credentials(url)}: leave user and password out of the URL; put them into the secret"
        )


def in_new_clones(what: str, attempt: Callable[[], T]) -> T:
    """Do something in a new clone, and again in another one if another publisher was faster.

    Raises
    ------
    RefsTaken
        Another one was faster each time.
    """
    for number in range(ATTEMPTS):
        try:
            return attempt()
        except RefsTaken as error:
            if number == ATTEMPTS - 1:
                raise RefsTaken(f"{what}: {error}; {ATTEMPTS} times in a row; run it again later") from error
            log.warning(f"{what}: {error}")
    raise AssertionError
