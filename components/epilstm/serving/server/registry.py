"""The encoder of a stage, or of a roll-out file, brought from the registry into the folder that is served."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from epilstm.console import log
from epilstm.errors import EpilstmError, ParamsError, RegistryError
from epilstm.files.outputs import MANIFEST
from epilstm.runtime.extras import installed_by


@dataclass(frozen=True)
class RegistrySource:
    """Where the encoder comes from.

    Parameters
    ----------
    place : str
        Repository: a folder or a URL.
    stage : str
        Stage or version; not looked at where there is a roll-out file.
    folder : Path
        Encoder folder, written.
    seconds : float
        Between looks.
    rollout : Path, optional
        Roll-out file that says which version is to be served.
    canary : bool
        Serve the roll-out's canary, where there is one.
    """

    place: str
    stage: str
    folder: Path
    seconds: float
    rollout: Path | None = None
    canary: bool = False

    def wanted(self) -> str:
        """Version or stage to serve.

        Raises
        ------
        DataError
            The roll-out file is missing or not one.
        """
        if self.rollout is None:
            return self.stage
        from epilstm.registry.rollout import read_rollout

        content = read_rollout(self.rollout)
        return (content.canary if self.canary and content.canary is not None else content.stable).version

    async def fetch(self) -> None:
        """Bring the encoder to the folder; what is there already is left alone.

        By ``epilstm model get``, in a process of its own: DVC would keep the server's memory, and hold up its answers.

        Raises
        ------
        EpilstmError
            It is unavailable.
        """
        version = await asyncio.to_thread(self.wanted)
        command = [sys.executable, "-m", "epilstm", "model", "get", version]
        command += ["--repo", self.place, "--output", str(self.folder)]
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
        try:
            _, errors = await process.communicate()
        except asyncio.CancelledError:
            process.kill()
            raise
        if process.returncode:
            lines = errors.decode("utf-8", "replace").splitlines() or ["no reason given"]
            reason = next((line for line in lines if line.startswith("error: ")), lines[-1])
            raise RegistryError(f"--registry: {reason.removeprefix('error: ')}")

    async def fetch_first(self) -> None:
        """As `fetch`, but an encoder that is there already will do where the registry cannot be reached.

        Raises
        ------
        EpilstmError
            It is unavailable, and none is there.
        """
        try:
            await self.fetch()
        except EpilstmError as error:
            if not (self.folder / MANIFEST).is_file():
                raise
            log.warning(f"the encoder that is there is served: {error}")

    async def follow(self, changed: Callable[[], Awaitable[None]]) -> None:
        """Fetch every so often and say so; never returns."""
        logged = ""
        while True:
            await asyncio.sleep(self.seconds)
            problem = ""
            try:
                await self.fetch()
            except EpilstmError as error:
                problem = str(error)
            if problem and problem != logged:
                log.error(f"the version that is served stays: {problem}")
            logged = problem
            await changed()


def require_registry() -> None:
    """Refuse where what reads the registry is not installed.

    Raises
    ------
    ParamsError
        Names what is missing.
    """
    missing = [name for name in ("dvc", "gto", "yaml") if find_spec(name) is None]
    if missing:
        raise ParamsError(
            f"--registry needs {' and '.join(missing)}; {installed_by('serve', 'cpu', 'pipeline')}, or fetch "
            "the encoder with 'epilstm model get' and give --model"
        )
