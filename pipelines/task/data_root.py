"""The data root: where datasets, work folders and the user's files are, on a volume or in a bucket.

On a volume everything is used in place. From a bucket, what a step needs is brought into a scratch folder laid
out in the same way, and what it wrote is taken back; either way the step runs with that folder as its working
directory, so that a relative path means "under the data root".
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from epilstm.console import log
from epilstm.errors import DataError, MissingInputError
from epilstm.files.outputs import MANIFEST, fingerprint, sha256_file
from epilstm.pipelines.task import storage
from epilstm.runtime.runner import FILE_KINDS
from epilstm.runtime.step_table import Port
from epilstm.tracks.samplesheet import SCHEME, Track, read_samplesheet, write_samplesheet

#: Whether to bring a file of a folder, given by its relative name.
Wanted = Callable[[str], bool]


def everything(name: str) -> bool:
    """Want every file."""
    return True


@dataclass(frozen=True)
class DataRoot:
    """A data root, opened for one task.

    Parameters
    ----------
    uri : str
        Absolute path, or URI without a final slash.
    folder : Path
        The root itself on a volume, else the scratch folder that stands for it; the step's working directory.
    scratch : Path
        For what belongs to this task alone; outside `folder` on a volume.
    """

    uri: str
    folder: Path
    scratch: Path

    @property
    def remote(self) -> bool:
        """Whether the root is a bucket."""
        return storage.is_remote(self.uri)

    def check_writable(self) -> None:
        """Refuse a volume on which nothing can be written, before hours of work.

        Raises
        ------
        DataError
            Its folder is read-only or another user's.
        """
        if not self.remote and not os.access(self.folder, os.W_OK | os.X_OK):
            raise DataError(
                f"--data-root {self.uri}: not writable by user {os.getuid()}; mount the volume read-write and let "
                "fsGroup give it to this user"
            )

    def absolute(self, value: str) -> str:
        """URI or absolute path of a value that may be relative to the root."""
        return value if storage.is_remote(value) or value.startswith("/") else storage.join(self.uri, value)

    def bring(self, port: Port, value: str, wanted: Wanted = everything) -> str:
        """Make an input readable by the step.

        Parameters
        ----------
        value : str
            Relative to the root, absolute, or a URI.
        wanted : callable
            Which files of a remote folder are needed.

        Returns
        -------
        str
            What to give the step: the value itself if it is on a disk, else the path of a local copy.

        Raises
        ------
        DataError
            There is nothing.
        """
        source = self.absolute(value)
        if not storage.is_remote(source):
            return value
        path = self._copy_of(port, value)
        if port.kind in FILE_KINDS:
            content = storage.read(source)
            if content is None:
                raise missing(port, source)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        else:
            sizes = storage.sizes(source)
            if not sizes:
                raise missing(port, source)
            names = [name for name in sizes if wanted(name)]
            log.info(f"bringing {source}", extra={"fields": {"bytes": sum(sizes[name] for name in names)}})
            storage.download(source, names, path)
        return str(path.relative_to(self.folder)) if path.is_relative_to(self.folder) else str(path)

    def local(self, path: str) -> Path:
        """Path, for this process, of what the step is given."""
        return self.folder / path

    def bring_small(self, port: Port, value: str) -> tuple[str, str]:
        """Bring a file or a small folder.

        Returns
        -------
        (path, fingerprint)
            What to give the step.

        Raises
        ------
        DataError
            It is missing or cannot be read.
        """
        given = self.bring(port, value)
        path = self.local(given)
        if not path.exists():
            raise missing(port, value)
        try:
            return given, fingerprint(path)
        except OSError as error:
            raise DataError(f"--{port.name} {value}: cannot be read: {error.strerror}") from error

    def _copy_of(self, port: Port, value: str) -> Path:
        if not storage.is_remote(value) and ".." not in value.split("/"):
            return self.folder / value  # as the root has it: other relative paths lead to it or from it
        return self.scratch / "inputs" / port.name / value.rstrip("/").rpartition("/")[2]

    def tracks(self, port: Port, value: str) -> tuple[str, str, list[Track]]:
        """Bring a samplesheet; relative uris of one in a bucket are made absolute.

        Returns
        -------
        (path, fingerprint, tracks)
            What to give the step; SHA-256 of the samplesheet as it was found; its rows.
        """
        given = self.bring(port, value)
        path = self.local(given)
        if not path.is_file():
            raise missing(port, value)
        tracks, digest = read_samplesheet(path), sha256_file(path)
        source = self.absolute(value)
        if storage.is_remote(source):
            folder = source.rpartition("/")[0]
            tracks = [
                track
                if SCHEME.match(track.uri) or track.uri.startswith(("/", "~/"))
                else replace(track, uri=storage.join(folder, track.uri))
                for track in tracks
            ]
            write_samplesheet(path, tracks)
        return given, digest, tracks

    def fingerprint_of_dataset(self, port: Port, value: str) -> str:
        """Fingerprint of a dataset, from its manifest alone.

        Raises
        ------
        DataError
            It has none.
        """
        from hashlib import sha256

        return sha256(self.manifest_text(port, value)).hexdigest()

    def manifest_text(self, port: Port, value: str) -> bytes:
        """Content of a dataset's manifest.

        Raises
        ------
        DataError
            It has none.
        """
        manifest = storage.read(storage.join(self.absolute(value), MANIFEST))
        if manifest is None:
            raise missing(port, f"{value}/{MANIFEST}")
        return manifest


def missing(port: Port, value: str) -> DataError:
    """Say that an input is not there, as the step would."""
    return MissingInputError(f"--{port.name} {value}: no such file or folder; {port.help}")


@contextmanager
def open_data_root(uri: str) -> Iterator[DataRoot]:
    """Open a data root; the scratch folder goes when it is closed.

    Parameters
    ----------
    uri : str
        Path of a folder, or ``s3://bucket/prefix`` (or what else fsspec opens).

    Raises
    ------
    DataError
        There is no such folder.
    ParamsError
        There are credentials in it.
    """
    storage.refuse_credentials(uri)
    with tempfile.TemporaryDirectory(prefix="epilstm-") as name:
        scratch = Path(name)
        if storage.is_remote(uri):
            folder = scratch / "root"
            folder.mkdir()
            yield DataRoot(uri.rstrip("/"), folder, scratch)
            return
        root = Path(uri).absolute()
        if not root.is_dir():
            raise DataError(f"--data-root {uri}: no such folder; is the volume mounted there?")
        yield DataRoot(str(root), root, scratch)
