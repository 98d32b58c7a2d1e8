"""The container engine that tests use, and containers run as strictly as a cluster runs them.

``--engine=auto`` (the default) takes the engine of ``DOCKER_HOST``, docker's own, or the one that
``tests/support/container-engine.sh`` brought up, whichever answers; where none does, its tests are skipped.
``--engine=install`` brings that one up. An engine that answers but cannot run a container is a failure.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.made_once import made_once, one_at_a_time
from support.paths import PROJECT

SCRIPT = Path(__file__).parent / "container-engine.sh"
OWN_SOCKET = Path("/var/lib/epilstm-engine/docker.sock")
DEFAULT = "unix:///var/run/docker.sock"
BASE_IMAGE = "python:3.11-slim-bookworm"

#: Neither network nor capabilities nor a file system to write to, as a user that is nobody's.
STRICT = (
    *("--network", "none", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"),
    *("--security-opt", "no-new-privileges", "--user", "12345:12345"),
)


@dataclass(frozen=True)
class Engine:
    """A docker engine that answers."""

    host: str

    @property
    def environment(self) -> dict[str, str]:
        """Environment in which docker's programs and libraries find it."""
        return {**os.environ, "DOCKER_HOST": self.host}

    def docker(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """One docker command."""
        completed = subprocess.run(
            ["docker", *words], env=self.environment, capture_output=True, text=True, check=False, timeout=600
        )
        assert not check or completed.returncode == 0, (
            f"docker {' '.join(words)}\n{completed.stdout}\n{completed.stderr}"
        )
        return completed

    def run(self, image: str, *words: str, options: tuple[str, ...] = (), check: bool = True):
        """Run a container under `STRICT`."""
        return self.docker("run", "--rm", *STRICT, *options, image, *words, check=check)

    def answers(self) -> bool:
        """Whether it is there."""
        return shutil.which("docker") is not None and self.docker("info", check=False).returncode == 0


def let_others_through(folder: Path) -> None:
    """Let a container's user go through a temporary folder, and through those above it that pytest closes to others."""
    for each in (folder, *folder.parents[:3]):
        if not each.stat().st_mode & 0o001:
            each.chmod(0o755)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--engine",
        choices=("auto", "install"),
        default="auto",
        help="container engine of the tests: one that is there (auto), or bring one up where there is none (install)",
    )


def found_engine(install: bool) -> Engine:
    """The engine of this machine: one that answers, or else the one that the script brings up."""
    own = Engine(f"unix://{OWN_SOCKET}")
    found = next((engine for engine in (Engine(os.environ.get("DOCKER_HOST", DEFAULT)), own) if engine.answers()), None)
    if found is None and not install:
        pytest.skip("no container engine answers here; --engine=install brings one up (root on Debian or Ubuntu)")
    if install:
        with one_at_a_time("engine"):
            completed = subprocess.run(
                [SCRIPT],
                env={**(found or own).environment, "BASE_IMAGE": BASE_IMAGE},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
        assert completed.returncode == 0, f"{SCRIPT.name} failed: {completed.stderr}"
    return found or own


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """The container engine, proven to run containers of the base image; libraries find it by ``DOCKER_HOST``."""
    engine = found_engine(install=request.config.getoption("--engine") == "install")
    probe = engine.docker("run", "--rm", BASE_IMAGE, "python", "-c", "print(6 * 7)", check=False)
    if probe.stdout.strip() != "42":
        pytest.fail(f"the container engine answers but cannot run {BASE_IMAGE}: {probe.stderr.strip()}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", engine.host)
        yield engine


@pytest.fixture(scope="session")
def images(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """References of the CPU images, built from this source tree, by name."""
    from epilstm.pipelines.graphs.images import Images
    from images.build import CPU_IMAGES

    def build(_: Path) -> None:
        line = [sys.executable, "-m", "images.build", "--engine", "docker", "--base-image", BASE_IMAGE]
        completed = subprocess.run(
            line, cwd=PROJECT, env=engine.environment, capture_output=True, text=True, check=False, timeout=1500
        )
        assert completed.returncode == 0, f"{completed.stdout}\n{completed.stderr[-4000:]}"

    made_once(tmp_path_factory, "images", build)
    return {name: Images().reference(name) for name in CPU_IMAGES}
