"""DVC, as far as the registry needs it: what a work tree tracks, and that the remote has all of it whole."""

from __future__ import annotations

import hashlib
import logging
import shlex
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from epilstm.console import log, progress
from epilstm.errors import ParamsError, RegistryError
from epilstm.params import read_yaml
from epilstm.registry.repository import without_credentials
from epilstm.runtime.step_fingerprints import write_fingerprints

#: Ports whose paths the registry must know.
NEEDED = ("params", "samplesheet", "signal", "matrix", "model", "encoder")

#: Files of a project that DVC reads.
PROJECT_FILES = ("dvc.yaml", "dvc.lock", "params.yaml")

#: Bytes of an object read at once.
BLOCK = 1 << 20


@dataclass(frozen=True)
class StoredFile:
    """One file of an output, as an object of the remote.

    Parameters
    ----------
    path : str
        In the work tree; for the list of a folder's files, the folder.
    digest : str
        MD5 of its content, by which it is found; that of a folder's list ends with ``.dir``.
    size : int or None
        Bytes, where they are known here.
    """

    path: str
    digest: str
    size: int | None


@dataclass(frozen=True)
class Output:
    """Something that DVC tracks.

    Parameters
    ----------
    path : str
        In the repository.
    in_git : bool
        Kept in git itself (metrics), not in the remote.
    digest : str or None
        What ``dvc.lock`` says of its content; None where it says nothing.
    pushed : bool
        Kept in the remote (no ``push: false``).
    """

    path: str
    in_git: bool
    digest: str | None
    pushed: bool


def require_sound_files(root: Path) -> None:
    """Check that the files of a DVC project are YAML, before DVC says of them what it likes.

    Raises
    ------
    RegistryError
        One is not YAML, or holds conflict markers of git; the message names file, line and cause.
    """
    for name in PROJECT_FILES:
        if (root / name).is_file():
            try:
                read_yaml(root / name)
            except ParamsError as error:
                raise RegistryError(str(error)) from error


class Storage:
    """The DVC project of a work tree.

    Parameters
    ----------
    root : Path
        The git repository's work tree.
    remote : str, optional
        Name of the DVC remote; the default one if not given.

    Raises
    ------
    RegistryError
        It is no DVC project, or its ``dvc.yaml`` or ``dvc.lock`` is unusable.
    """

    def __init__(self, root: Path, remote: str | None = None) -> None:
        from dvc.exceptions import NotDvcRepoError
        from dvc.repo import Repo

        self.root, self.remote = root, remote
        # What DVC has to say is said in our own errors.
        logging.getLogger("dvc").setLevel(logging.CRITICAL)
        logging.getLogger("dvc_objects").setLevel(logging.CRITICAL)
        logging.getLogger("dvc_data").setLevel(logging.CRITICAL)
        require_sound_files(root)
        try:
            Repo.find_root(str(root))
        except NotDvcRepoError:
            raise RegistryError(f"{root}: no DVC project; run 'dvc init' at the top of the git repository") from None
        with _failure_reported(f"{root}: DVC cannot read the project", "correct it; 'dvc status' says more"):
            self.repo = Repo(str(root))
            self.outputs = sorted(self._outputs(), key=lambda output: output.path)
        if Path(self.repo.root_dir).resolve() != root.resolve():
            raise RegistryError(f"{self.repo.root_dir}: the DVC project is not the git repository {root}")

    def _outputs(self) -> Iterator[Output]:
        for out in self.repo.index.outs:
            info = out.hash_info
            digest = str(info.value) if info else None
            yield Output(out.def_path, not out.use_cache, digest, bool(out.use_cache and out.can_push))

    def artifact_path(self, artifact: str) -> str:
        """Where an artifact of ``dvc.yaml`` lies.

        Raises
        ------
        RegistryError
            ``dvc.yaml`` has no artifact of that name.
        """
        artifacts = self.repo.artifacts.read().get("dvc.yaml", {})
        if artifact not in artifacts:
            known = ", ".join(artifacts) or "none"
            raise RegistryError(f"dvc.yaml: no artifact {artifact!r} under 'artifacts:'; those there: {known}")
        return str(artifacts[artifact].path)

    def places(self) -> dict[str, str]:
        """Path of each port of the steps, as the stages' command lines give them; that of ``params`` too.

        Raises
        ------
        RegistryError
            ``dvc.yaml`` has no stage that gives one of those that the registry needs.
        """
        found: dict[str, str] = {}
        for stage in self.repo.index.stages:
            words = shlex.split(stage.cmd) if isinstance(stage.cmd, str) else []
            if words[:1] == ["epilstm"]:
                found |= {name.removeprefix("--"): value for name, value in pairwise(words) if name.startswith("--")}
        absent = [name for name in NEEDED if name not in found]
        if absent:
            raise RegistryError(f"dvc.yaml: no stage gives --{absent[0]}; the registry needs the pipeline's stages")
        return found

    def definitions(self) -> list[str]:
        """``dvc.lock`` and the ``.dvc`` files: what says which content belongs to the outputs."""
        files = {Path(stage.path) for stage in self.repo.index.stages}
        named = {path.with_name("dvc.lock") if path.name == "dvc.yaml" else path for path in files}
        return sorted(str(path.relative_to(self.root)) for path in named if path.is_file())

    def sources(self) -> list[str]:
        """Paths within the repository that stages depend on and that no stage makes."""
        made = [Path(output.path) for output in self.outputs]
        found = set()
        for stage in self.repo.index.stages:
            for dependency in stage.deps:
                path = Path(str(dependency.def_path or ""))
                own = Path(stage.wdir, path).resolve()
                if dependency.protocol != "local" or not own.is_relative_to(self.root.resolve()):
                    continue
                relative = own.relative_to(self.root.resolve())
                if not any(relative == out or relative.is_relative_to(out) for out in made):
                    found.add(str(relative))
        return sorted(found)

    def require_current(self, paths: Collection[str]) -> None:
        """Hold outputs in the work tree against ``dvc.lock``.

        Raises
        ------
        RegistryError
            One is not what it says, or it says nothing.
        """
        for out in self.repo.index.outs:
            if out.def_path not in paths:
                continue
            again = "run 'dvc repro', or 'dvc commit' if it is meant to be so"
            if not out.hash_info:
                raise RegistryError(f"{out.def_path}: not in dvc.lock; {again}")
            if not out.exists:
                raise RegistryError(f"{out.def_path}: missing from the work tree; run 'dvc pull' or 'dvc repro'")
            if out.changed_checksum():
                raise RegistryError(f"{out.def_path}: differs from what dvc.lock says; {again}")

    def status(self) -> dict[str, Any]:
        """What of the pipeline has changed since it ran, by stage; empty where nothing has.

        The fingerprints of code and params are brought up to date first, which ``dvc status`` does not do.

        Raises
        ------
        ParamsError
            The params file is unusable.
        RegistryError
            DVC cannot say, or ``dvc.yaml`` has no stage that writes the fingerprints.
        """
        places = self.places()
        if "fingerprints" not in places:
            raise RegistryError(
                "dvc.yaml: no stage runs 'epilstm fingerprint', so a change of the code would go unnoticed; copy that "
                "stage, and the dependencies on what it writes, from the dvc.yaml of this version of epilstm"
            )
        write_fingerprints(self.root / places["params"], self.root / places["fingerprints"])
        with _failure_reported(f"{self.root}: 'dvc status' fails", "correct dvc.yaml or what it names"):
            changed: dict[str, Any] = self.repo.status()
        writes = [stage.addressing for stage in self.repo.index.stages if _is_fingerprint(stage)]
        return {stage: what for stage, what in changed.items() if stage not in writes}

    def push(self) -> int:
        """Bring everything that the work tree tracks to the remote.

        DVC remembers what it has pushed and does not ask again, so a file that the remote has lost since is sent here.

        Returns
        -------
        int
            Files that it did not have.

        Raises
        ------
        RegistryError
            There is no remote, it cannot be reached, or not everything got there.
        """
        where = self.where()
        with _failure_reported(f"DVC remote {where}: the push did not finish", "nothing was registered; run it again"):
            count: int = self.repo.push(remote=self.remote)
            odb: Any = self.repo.cloud.get_remote_odb(self.remote)
            cache = self.repo.cache.local
            for each in {file.digest: file for file in self.stored()}.values():
                if each.size is not None and not odb.fs.exists(odb.oid_to_path(each.digest)):
                    odb.add(cache.oid_to_path(each.digest), cache.fs, each.digest)
                    count += 1
        return count

    def where(self) -> str:
        """The remote, as messages name it.

        Raises
        ------
        RegistryError
            There is none.
        """
        with _failure_reported("no usable DVC remote", "add one: 'dvc remote add --default NAME URL'"):
            remote = self.repo.cloud.get_remote(name=self.remote)
        return without_credentials(str(remote.fs.unstrip_protocol(remote.path)))

    def stored(self) -> list[StoredFile]:
        """Every file that the remote must have for this work tree.

        Raises
        ------
        RegistryError
            The list of a folder's files is unavailable.
        """
        cache = self.repo.cache.local
        files: list[StoredFile] = []
        for out in self.repo.index.outs:
            if not (out.use_cache and out.can_push and out.hash_info):
                continue
            path = out.def_path
            entries = [(path, out.hash_info.value)]
            if out.hash_info.isdir:
                with _failure_reported(
                    f"{path}: the list of its files is not in the cache", "run 'dvc pull' or 'dvc repro'"
                ):
                    entries += [("/".join((path, *key)), info.value) for key, _, info in out.get_obj()]
            for name, digest in entries:
                cached = Path(cache.oid_to_path(digest))
                files.append(StoredFile(name, digest, cached.stat().st_size if cached.is_file() else None))
        return files

    def verify(self, contents_of: Sequence[str], everything: bool = False) -> int:
        """Ask the remote for every file, and read those that matter most.

        Parameters
        ----------
        contents_of : sequence of str
            Outputs whose files are read back and hashed; of all others the size is compared.
        everything : bool
            Read all.

        Returns
        -------
        int
            Files looked at.

        Raises
        ------
        RegistryError
            A file is missing or not what it should be; the message names it and the remote's object.
        """
        where = self.where()
        stored = self.stored()
        files = {each.digest: each for each in stored}
        read = {
            each.digest
            for each in stored
            if everything or any(each.path == path or each.path.startswith(f"{path}/") for path in contents_of)
        }
        with _failure_reported(f"DVC remote {where}: cannot be read", "nothing was registered; run it again"):
            odb: Any = self.repo.cloud.get_remote_odb(self.remote)
            with progress("Verifying", len(files)) as bar:
                for each in files.values():
                    _verify(odb, each, each.digest in read, where)
                    bar.advance()
        return len(files)


def _is_fingerprint(stage: Any) -> bool:
    """Whether a stage writes the fingerprints: it runs every time, and what it writes is compared by others."""
    return isinstance(stage.cmd, str) and shlex.split(stage.cmd)[:2] == ["epilstm", "fingerprint"]


def _verify(odb: Any, file: StoredFile, whole: bool, where: str) -> None:
    place = odb.oid_to_path(file.digest)
    again = "delete that object, then run it again"
    named = f"DVC remote {where}: {odb.fs.unstrip_protocol(place)} ({file.path})"
    try:
        size = odb.fs.info(place)["size"]
    except FileNotFoundError:
        raise RegistryError(f"{named} is missing, and so it is here; run 'dvc repro' again") from None
    if file.size is not None and size != file.size:
        raise RegistryError(f"{named} is corrupted: {size} bytes instead of {file.size}; {again}")
    if not whole:
        return
    digest = hashlib.md5(usedforsecurity=False)
    with odb.fs.open(place, "rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    if digest.hexdigest() != file.digest.removesuffix(".dir"):
        raise RegistryError(f"{named} is corrupted: its content is not what its name says; {again}")


def record_outputs(root: Path, paths: Collection[str]) -> None:
    """Write into ``dvc.lock`` what outputs are now, with their stages' dependencies as far as they are there.

    What it says of other stages is of another run, and is dropped.

    Raises
    ------
    RegistryError
        DVC does not take them.
    """
    from dvc.repo import Repo

    with _failure_reported(f"{root}: dvc.lock cannot be written", "fix dvc.yaml or what it names"):
        (root / "dvc.lock").unlink(missing_ok=True)
        repo = Repo(str(root))
        with repo.lock:
            for stage in repo.index.stages:
                if any(out.def_path in paths for out in stage.outs):
                    stage.save(allow_missing=True, run_cache=False)
                    stage.commit(allow_missing=True)
                    stage.dump(update_pipeline=False)


def download(place: str, commit: str, path: str, target: Path, remote: str | None = None) -> None:
    """Fetch an output as it was at a commit.

    Parameters
    ----------
    place : str
        Repository: a folder or a URL.
    target : Path
        Where it goes; not there yet.
    remote : str, optional
        Name of the DVC remote.

    Raises
    ------
    RegistryError
        It is unavailable.
    """
    from dvc.api import DVCFileSystem

    logging.getLogger("dvc").setLevel(logging.CRITICAL)
    with _failure_reported(
        f"{without_credentials(place)}: {path} cannot be fetched at {commit[:12]}",
        "check the DVC remote and its credentials",
    ):
        system = DVCFileSystem(repo=place, rev=commit, **({"remote": remote} if remote else {}))
        target.parent.mkdir(parents=True, exist_ok=True)
        system.get(path, str(target), recursive=True)


@contextmanager
def _failure_reported(what: str, advice: str) -> Iterator[None]:
    """Turn whatever DVC and the drivers beneath it raise into one line."""
    try:
        yield
    except RegistryError:
        raise
    except Exception as error:  # each driver has errors of its own, for the network and for credentials alike
        log.debug("%s", what, exc_info=True)
        raise RegistryError(f"{what}: {_reason(error)}; {advice}") from error


def _reason(error: BaseException) -> str:
    """The first line of the innermost cause, which is the one that says something."""
    seen = [error]
    while (cause := seen[-1].__cause__) is not None and cause not in seen:
        seen.append(cause)
    lines = [str(each).strip().splitlines()[0].rstrip(".") for each in seen if str(each).strip()]
    return without_credentials(lines[-1]) if lines else type(error).__name__
