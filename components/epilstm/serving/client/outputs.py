"""What embeddings are written as: a table, a bigWig per number, or an embeddings dataset; whole or not at all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from epilstm.errors import ParamsError
from epilstm.files.outputs import write_json, written_whole
from epilstm.store.binned_track import Binning
from epilstm.store.manifests import EmbeddingsManifest, dimension_names, write_manifest
from epilstm.tracks.bigwig_columns import BigWigs, BinValues
from epilstm.tracks.identity import file_name

Form = Literal["tsv", "bigwig", "zarr"]
FORMS: dict[str, Form] = {".tsv": "tsv", ".bw": "bigwig", ".bigwig": "bigwig", ".zarr": "zarr"}

#: What identifies a folder of bigWigs, in its manifest.
BIGWIG_FORMAT = "epilstm.bigwig/1"


@dataclass(frozen=True)
class Layout:
    """Which bins are written, and how many numbers each.

    Parameters
    ----------
    dimensions : list of str, or None
        Names of the numbers, where the server has some.
    """

    binning: Binning
    size: int
    dimensions: list[str] | None = None

    @property
    def names(self) -> list[str]:
        """Names of the numbers."""
        return self.dimensions or dimension_names(self.size)


def form_of(output: Path) -> Form:
    """The form that an output's name asks for.

    Raises
    ------
    ParamsError
        It asks for none.
    """
    form = FORMS.get(output.suffix.lower())
    if form is None:
        raise ParamsError(
            f"--output {output}: name it .tsv (a table), .bw (a folder of bigWigs) or .zarr (a dataset as 'epilstm "
            "embed' writes it), or give --format"
        )
    return form


class Writer(ABC):
    """Takes pieces in order along the genome.

    Parameters
    ----------
    path : Path
        Where it grows.
    """

    folder = True

    def __init__(self, path: Path, layout: Layout) -> None:
        self.path, self.layout = path, layout

    @abstractmethod
    def write(self, piece: BinValues) -> None:
        """Write the next piece."""

    @abstractmethod
    def finish(self, manifest: EmbeddingsManifest) -> None:
        """Write what is left."""

    def close(self) -> None:  # noqa: B027 - not every form has something to close
        """Let go of files, whether or not it was finished."""


class TableWriter(Writer):
    """``#chrom start end e0 e1 ...``, tab-separated, 0-based and half-open; bins without data are left out."""

    folder = False

    def __init__(self, path: Path, layout: Layout) -> None:
        super().__init__(path, layout)
        self._file = open(path, "w", encoding="utf-8", newline="\n")  # noqa: SIM115 - closed by close
        self._file.write("\t".join(["#chrom", "start", "end", *layout.names]) + "\n")

    def write(self, piece: BinValues) -> None:
        """Write the next piece."""
        bin_size, size = self.layout.binning.bin_size, self.layout.binning.sizes[piece.chrom]
        lines = []
        for number in np.flatnonzero(~np.isnan(piece.values[:, 0])).tolist():
            start = (piece.first + number) * bin_size
            numbers = "\t".join(map(str, piece.values[number]))  # float32: the shortest text that reads back the same
            lines.append(f"{piece.chrom}\t{start}\t{min(start + bin_size, size)}\t{numbers}\n")
        self._file.writelines(lines)

    def finish(self, manifest: EmbeddingsManifest) -> None:
        """Nothing is left to write."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class BigWigWriter(Writer):
    """A folder with ``e0.bw``, ``e1.bw``, ... and a manifest; bins without data are left out."""

    def __init__(self, path: Path, layout: Layout) -> None:
        super().__init__(path, layout)
        path.mkdir(parents=True)
        names = [file_name(name) for name in layout.names]
        self._files = BigWigs(path, names, layout.binning.sizes, layout.binning.bin_size)

    def write(self, piece: BinValues) -> None:
        """Write the next piece."""
        self._files.write(piece)

    def finish(self, manifest: EmbeddingsManifest) -> None:
        """Close the files and write the manifest."""
        self.close()
        write_json(self.path / "manifest.json", {**manifest.model_dump(mode="json"), "format": BIGWIG_FORMAT})

    def close(self) -> None:
        """Close the files."""
        self._files.close()


class DatasetWriter(Writer):
    """An embeddings dataset (`epilstm.store.manifests`), as embed writes it."""

    def __init__(self, path: Path, layout: Layout) -> None:
        from epilstm.store.arrays import SHARD_BINS, create_bin_array, require_group
        from epilstm.store.shards import BinArray

        super().__init__(path, layout)
        path.mkdir(parents=True)
        binning = layout.binning
        group = require_group(path / "embeddings.zarr", binning.places)
        self._arrays: dict[str, BinArray] = {}
        for name, chroms in binning.arrays.items():
            array = create_bin_array(
                group,
                name,
                binning.array_bins(name),
                layout.size,
                "float32",
                binning.codec,
                float("nan"),
                shared=name not in chroms,
                ranges=binning.array_ranges(name),
            )
            self._arrays[name] = BinArray(path / "embeddings.zarr" / name, array)
        self._shard_bins = SHARD_BINS
        # Large chromosomes may come between the small ones that share an array: one shard of either kind grows.
        self._growing: dict[bool, tuple[str, int, NDArray[np.float32]]] = {}

    def write(self, piece: BinValues) -> None:
        """Write the next piece."""
        name, start, _ = self.layout.binning.places[piece.chrom]
        first, values = start + piece.first, piece.values
        while len(values):
            number, offset = divmod(first, self._shard_bins)
            part = values[: self._shard_bins - offset]
            self._rows(name, number, name != piece.chrom)[offset : offset + len(part)] = part
            first, values = first + len(part), values[len(part) :]

    def finish(self, manifest: EmbeddingsManifest) -> None:
        """Write what still grows, and the manifest."""
        for shared in (False, True):
            self._write_shard(shared)
        write_manifest(self.path, manifest)

    def _rows(self, name: str, number: int, shared: bool) -> NDArray[np.float32]:
        """Rows of a shard, which grows until another one of its kind does."""
        growing = self._growing.get(shared)
        if growing is None or growing[:2] != (name, number):
            self._write_shard(shared)
            bins = min(self._shard_bins, self._arrays[name].shape[0] - number * self._shard_bins)
            growing = self._growing[shared] = name, number, np.full((bins, self.layout.size), np.nan, np.float32)
        return growing[2]

    def _write_shard(self, shared: bool) -> None:
        if shared in self._growing:
            name, number, rows = self._growing.pop(shared)
            self._arrays[name].write_shard(number, rows)


WRITERS: dict[Form, type[Writer]] = {"tsv": TableWriter, "bigwig": BigWigWriter, "zarr": DatasetWriter}


@contextmanager
def written(output: Path, form: Form, layout: Layout) -> Iterator[Writer]:
    """A writer whose output is put in place when all went well, and is gone when not.

    Raises
    ------
    DataError
        Something else stands there, or it cannot be written.
    """
    kind = WRITERS[form]
    with written_whole(output, kind.folder, "embeddings" if form == "zarr" else None) as staged:
        writer = kind(staged, layout)
        try:
            yield writer
        finally:
            writer.close()
