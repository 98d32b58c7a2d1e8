"""docker, podman and buildah, as far as building an image and looking into it goes."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from epilstm.errors import PipelineError

#: In the order of preference.
NAMES = ("docker", "podman", "buildah")


@dataclass(frozen=True)
class BuildEngine:
    """A program that builds images.

    Parameters
    ----------
    name : str
        One of `NAMES`.
    """

    name: str

    def build(
        self,
        reference: str,
        containerfile: Path,
        context: Path,
        target: str,
        arguments: Mapping[str, str],
        labels: Mapping[str, str],
    ) -> None:
        """Build one target of a Containerfile; what the build says goes to standard error.

        Raises
        ------
        PipelineError
            The build failed.
        """
        line = [self.name, "build", "--file", str(containerfile), "--target", target, "--tag", reference]
        if self.name != "docker":
            line += ["--format", "docker"]  # OCI's own format has no health check
        for name, value in arguments.items():
            line += ["--build-arg", f"{name}={value}"]
        for name, value in labels.items():
            line += ["--label", f"{name}={value}"]
        if subprocess.run([*line, str(context)], stdout=2, check=False).returncode:
            raise PipelineError(f"{reference}: the build failed; what {self.name} said is above")

    def size(self, reference: str) -> int:
        """Size of an image, unpacked, in bytes."""
        if self.name == "buildah":
            container = self._say("from", "--pull-never", reference).strip()
            try:
                root = self._say("mount", container).strip()
                return 1024 * int(subprocess.check_output(["du", "-skx", root], text=True).split()[0])
            finally:
                self._say("rm", container)
        return int(self._say("image", "inspect", "--format", "{{.Size}}", reference))

    def python(self, reference: str, script: str) -> str:
        """What a Python script prints, run in a container of the image without network.

        Raises
        ------
        PipelineError
            The script failed.
        """
        if self.name == "buildah":
            container = self._say("from", "--pull-never", reference).strip()
            try:
                return self._say("run", "--network", "none", container, "--", "python", "-", script=script)
            finally:
                self._say("rm", container)
        hardened = ("--network", "none", "--read-only", "--cap-drop", "ALL", "--tmpfs", "/tmp")
        return self._say("run", "--rm", "-i", *hardened, "--entrypoint", "python", reference, "-", script=script)

    def push(self, reference: str) -> str:
        """Push an image.

        Returns
        -------
        str
            Digest of its manifest, ``sha256:...``.

        Raises
        ------
        PipelineError
            The registry refused, or was out of reach.
        """
        self._say("push", reference)
        digest = self.digest(reference)
        if digest is None:
            raise PipelineError(f"{reference}: pushed, but the registry does not have it")
        return digest

    def digest(self, reference: str) -> str | None:
        """Digest of an image in its registry; None if it is not there.

        Raises
        ------
        PipelineError
            The registry refused, or was out of reach.
        """
        if self.name == "docker":
            line = ["docker", "manifest", "inspect", "--verbose", reference]
        else:
            line = ["skopeo", "inspect", f"docker://{reference}"]
        done = self._run(line)
        if done.returncode == 0:
            content: Any = json.loads(done.stdout)
            return str(content["Descriptor"]["digest"] if self.name == "docker" else content["Digest"])
        if any(words in done.stderr.lower() for words in ("no such manifest", "manifest unknown", "name unknown")):
            return None
        raise PipelineError(f"{reference}: the registry cannot be asked: {_last_line(done.stderr)}")

    def _say(self, *words: str, script: str | None = None) -> str:
        done = self._run([self.name, *words], script)
        if done.returncode:
            raise PipelineError(f"{self.name} {words[0]} failed: {_last_line(done.stderr)}")
        return done.stdout

    def _run(self, line: Sequence[str], script: str | None = None) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(line, input=script, capture_output=True, text=True, check=False)
        except FileNotFoundError as error:
            raise PipelineError(f"{line[0]} is not installed") from error


def find_engine(wanted: str | None) -> BuildEngine:
    """The engine to build with: the one wanted, or the first that is there and answers.

    Raises
    ------
    PipelineError
        None is.
    """
    reasons = []
    for name in (wanted,) if wanted else NAMES:
        if shutil.which(name) is None:
            reasons.append(f"{name} is not installed")
            continue
        done = subprocess.run([name, "info"], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return BuildEngine(name)
        reasons.append(f"{name} does not answer ({_last_line(done.stderr or done.stdout)})")
    raise PipelineError(f"nothing to build images with: {'; '.join(reasons)}")


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else "it said nothing"
