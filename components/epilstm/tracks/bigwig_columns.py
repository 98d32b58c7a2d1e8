"""Values along the genome as bigWig files: one per column, with gaps where there is no data."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from epilstm.errors import DataError
from epilstm.files.disk import require_space
from epilstm.files.interrupts import deferred_interrupts

#: What pyBigWig may write for a file beyond the values it was given: buffers, the header, an empty file's zoom levels.
BUFFERED_BYTES = 128 << 10

#: What is asked of the disk at a time, at least: asking takes many times as long as writing a scaffold does.
SPACE_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class BinValues:
    """Values of consecutive bins; pieces come in order along the genome.

    Parameters
    ----------
    first : int
        Bin of the first row.
    values : (bin, column) float32 array
        NaN, in every column, where there is no data.
    """

    chrom: str
    first: int
    values: NDArray[np.float32]

    @property
    def there(self) -> NDArray[np.bool_]:
        """Which bins have data, (bin,)."""
        return ~np.isnan(self.values[:, 0])


class BigWigs:
    """A bigWig file per column, ``<name>.bw``.

    Parameters
    ----------
    folder : Path
        Has to exist.
    names : sequence of str
        Of the columns.
    sizes : mapping of str to int
        Length of each chromosome, in the order in which pieces come.
    bin_size : int
        The last bin of a chromosome ends with it.
    """

    def __init__(self, folder: Path, names: Sequence[str], sizes: Mapping[str, int], bin_size: int) -> None:
        self._folder, self._sizes, self._bin_size = folder, sizes, bin_size
        self._paths = [folder / f"{name}.bw" for name in names]
        require_space(folder, BUFFERED_BYTES * len(self._paths))
        self._open = ExitStack()
        self._space = 0  # bytes that the disk was found to have, and that are not written yet
        self._files: list[Any] = []
        for path in self._paths:
            file = new_bigwig(path, sizes)
            self._open.callback(self._close, file, path)
            self._files.append(file)

    def write(self, piece: BinValues) -> None:
        """Write the next piece.

        Raises
        ------
        DataError
            The files cannot be written.
        OSError
            The disk is full.
        """
        if piece.values.nbytes > self._space:
            self._space = max(piece.values.nbytes, SPACE_AT_ONCE)
            require_space(self._folder, self._space + BUFFERED_BYTES * len(self._files))
        self._space -= piece.values.nbytes
        for first, last in runs(piece.there):
            self._write_run(piece.chrom, piece.first + first, piece.values[first:last])

    def _write_run(self, chrom: str, first: int, values: NDArray[np.float32]) -> None:
        bin_size, size = self._bin_size, self._sizes[chrom]
        whole = min(first + len(values), size // bin_size) - first
        try:
            for number, file in enumerate(self._files):
                column = values[:, number]
                if whole:
                    numbers = column[:whole].tolist()
                    file.addEntries(chrom, first * bin_size, values=numbers, span=bin_size, step=bin_size)
                if whole < len(values):  # the last bin of a chromosome ends with it
                    start = (first + whole) * bin_size
                    file.addEntries([chrom], [start], ends=[size], values=[float(column[-1])])
        except RuntimeError as error:
            for file in self._files:
                abandon(file)
            self._open.pop_all()
            raise DataError(f"{self._folder}: cannot be written: {error}; is the disk full?") from error

    def close(self) -> None:
        """Write what is left, and close the files.

        Raises
        ------
        OSError
            The disk is full.
        """
        self._open.close()

    def _close(self, file: Any, path: Path) -> None:
        """Close a file, which writes its index and its zoom levels: half as much again as is there."""
        try:
            require_space(self._folder, path.stat().st_size + BUFFERED_BYTES)
        except OSError:
            abandon(file)
            raise
        file.close()


def new_bigwig(path: Path, sizes: Mapping[str, int]) -> Any:
    """Open a bigWig for writing, with the chromosomes in its header.

    An interrupt waits until the header is there: pyBigWig cannot close a file without one.
    """
    import pyBigWig

    with deferred_interrupts():
        file = pyBigWig.open(str(path), "w")
        file.addHeader(list(sizes.items()))
    return file


def abandon(file: Any) -> None:
    """Leave a bigWig that cannot be written to its end open until the process ends.

    pyBigWig writes the index when a file is closed, or else when it is forgotten, and ends the process with SIGABRT or
    SIGSEGV where that fails. One that keeps a reference of its own is never forgotten.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(file))


def runs(there: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Runs of True: first and one-past-last."""
    edges = np.flatnonzero(np.diff(there, prepend=False, append=False))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
