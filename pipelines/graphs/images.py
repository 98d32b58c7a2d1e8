"""Names of the container images, pinned by digest or by an immutable tag."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from epilstm import __version__
from epilstm.errors import DataError, ParamsError, PipelineError
from epilstm.files.outputs import read_json

#: Images that the project builds; each is called ``epilstm-<name>`` in a registry.
NAMES = ("train", "train-gpu", "serve", "serve-gpu", "pipeline")

DEFAULT_REGISTRY = "ghcr.io/epilstm"

_REGISTRY = re.compile(r"^[a-zA-Z0-9]+([.-][a-zA-Z0-9]+)*(:\d+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*$")
_TAG = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$")
_DIGEST = re.compile(r"^sha256:[0-9a-f]{64}$")


@dataclass(frozen=True)
class Images:
    """Where the images are.

    Parameters
    ----------
    registry : str
        Host and path before the image's name.
    tag : str
        Immutable tag; the package's version by default.
    digests : mapping of str to str
        ``sha256:...`` of each image, by its full name such as ``epilstm-train``; empty to go by tag.

    Raises
    ------
    ParamsError
        The registry or the tag is no such thing, or the tag is ``latest``.
    """

    registry: str = DEFAULT_REGISTRY
    tag: str = __version__
    digests: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _REGISTRY.match(self.registry):
            raise ParamsError(f"registry {self.registry!r}: not a registry's host and path, such as {DEFAULT_REGISTRY}")
        if not _TAG.match(self.tag):
            raise ParamsError(f"tag {self.tag!r}: not an image tag, such as {__version__}")
        if self.tag == "latest":
            raise ParamsError("tag 'latest' means another image tomorrow; name a version, or give digests")

    def reference(self, name: str) -> str:
        """What a pod pulls.

        Parameters
        ----------
        name : str
            One of `NAMES`.

        Raises
        ------
        PipelineError
            Digests are given, but none of this image.
        """
        image = f"epilstm-{name}"
        if not self.digests:
            return f"{self.registry}/{image}:{self.tag}"
        if image not in self.digests:
            raise PipelineError(f"no digest of {image}, only of {', '.join(self.digests)}; add it to the digest file")
        return f"{self.registry}/{image}@{self.digests[image]}"


def read_digests(path: Path) -> dict[str, str]:
    """Digests of the images, from a JSON object of ``{"epilstm-train": "sha256:..."}``.

    Raises
    ------
    PipelineError
        Not such a file, an image that the project does not have, or no digest.
    """
    try:
        content = read_json(path)
    except DataError as error:
        reason = str(error).removeprefix(f"{path}: ").partition(";")[0]
        raise PipelineError(f"digest file {path}: {reason}") from error
    if not isinstance(content, dict) or not content:
        raise PipelineError(f'digest file {path}: expected {{"epilstm-train": "sha256:..."}}, got {content!r:.60}')
    known = [f"epilstm-{name}" for name in NAMES]
    for image, digest in content.items():
        if image not in known:
            raise PipelineError(f"digest file {path}: unknown image {image!r}; images are {', '.join(known)}")
        if not isinstance(digest, str) or not _DIGEST.match(digest):
            raise PipelineError(
                f"digest file {path}: {image}: {digest!r:.90} is no digest; expected sha256: and 64 hex digits"
            )
    return content
