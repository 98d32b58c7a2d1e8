"""The formats: each takes pieces in order along the genome and writes files into one folder.

Bins without data are gaps: they are left out of every format, never written as 0.
"""

from __future__ import annotations

import gzip
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from epilstm.errors import DataError, ParamsError
from epilstm.tracks.bigwig_columns import BigWigs, BinValues
from epilstm.tracks.identity import TrackSet, described, file_name, symbol

#: Columns of which a file each is open at a time.
MAX_FILES = 512

#: Rows of an AnnData at most: it is written from memory, as it is read into it.
MAX_ANNDATA_ROWS = 2_000_000

#: Rows that are written at once, about: a genome of scaffolds comes in very many pieces of a few bins.
ROWS_AT_ONCE = 100_000

#: Least normal float32: what is smaller is written as 0 where a reader's strtof would refuse it.
LEAST_NORMAL = np.finfo(np.float32).tiny


@dataclass(frozen=True)
class Layout:
    """What every format needs to know.

    Parameters
    ----------
    what : str
        ``embedding``, ``reconstruction`` or ``imputation``; names the files that hold all columns.
    sizes : mapping of str to int
        Length of each chromosome, in the order in which pieces come.
    provenance : mapping
        What the values come from.
    tracks : TrackSet or None
        Which track each column is; None for the dimensions of an embedding.
    """

    what: str
    columns: list[str]
    sizes: Mapping[str, int]
    assembly: str
    bin_size: int
    provenance: Mapping[str, Any]
    tracks: TrackSet | None = None

    @property
    def files(self) -> list[str]:
        """Name of each column as a file's name.

        Raises
        ------
        ParamsError
            There are too many columns for a file each.
        """
        if len(self.columns) > MAX_FILES:
            raise ParamsError(f"a file per track is for at most {MAX_FILES} at a time; choose some with --tracks")
        return [file_name(name) for name in self.columns]

    @property
    def kinds(self) -> list[str]:
        """What has a colour of its own: the assay of each column, or its name where it is a dimension."""
        return self.columns if self.tracks is None else self.tracks.assays

    def intervals(self, piece: BinValues) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """Starts, ends and values of a piece's bins with data; the last bin of a chromosome ends with it."""
        kept = np.flatnonzero(piece.there)
        starts = (piece.first + kept.astype(np.int64)) * self.bin_size
        return starts, np.minimum(starts + self.bin_size, self.sizes[piece.chrom]), piece.values[kept]


class Format(ABC):
    """Writes pieces into a folder.

    Parameters
    ----------
    folder : Path
        Has to exist.
    """

    def __init__(self, folder: Path, layout: Layout) -> None:
        self.folder, self.layout = folder, layout

    @abstractmethod
    def write(self, piece: BinValues) -> None:
        """Write the next piece."""

    def finish(self) -> None:  # noqa: B027 - not every format has something left to write
        """Write what is left."""

    def close(self) -> None:  # noqa: B027 - not every format has something to close
        """Let go of files, whether or not it was finished."""


class BigWig(Format):
    """``<column>.bw`` each."""

    def __init__(self, folder: Path, layout: Layout) -> None:
        super().__init__(folder, layout)
        self._files = BigWigs(folder, layout.files, layout.sizes, layout.bin_size)

    def write(self, piece: BinValues) -> None:
        """Write the next piece."""
        self._files.write(piece)

    def close(self) -> None:
        """Close the files."""
        self._files.close()


class Gathered:
    """Rows of consecutive pieces, kept until there are enough to be written together."""

    def __init__(self) -> None:
        self._parts: list[tuple[str, NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]] = []
        self.rows = 0

    def add(self, chrom: str, starts: NDArray[np.int64], ends: NDArray[np.int64], values: NDArray[np.float32]) -> None:
        """Keep the rows of a piece."""
        if len(starts):
            self._parts.append((chrom, starts, ends, values))
            self.rows += len(starts)

    def take(self) -> tuple[Any, NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """All rows kept, which are then let go of: chromosomes (a dictionary array), starts, ends and values."""
        import pyarrow

        chroms, starts, ends, values = zip(*self._parts, strict=True)
        places = {name: place for place, name in enumerate(dict.fromkeys(chroms))}
        codes = np.repeat(np.array([places[chrom] for chrom in chroms], np.int32), [len(each) for each in starts])
        self._parts, self.rows = [], 0
        return (
            pyarrow.DictionaryArray.from_arrays(codes, [*places]),
            np.concatenate(starts),
            np.concatenate(ends),
            np.concatenate(values),
        )


class BedGraph(Format):
    """``<column>.bedGraph.gz`` each: ``chrom start end value``, tab-separated, no header line."""

    #: First line of each file.
    header = b""

    def __init__(self, folder: Path, layout: Layout) -> None:
        super().__init__(folder, layout)
        self._open = ExitStack()
        self._gathered = Gathered()
        self._files = []
        for name in self.names():
            stream = self._open.enter_context((folder / f"{name}.bedGraph.gz").open("wb"))
            # Neither time nor name, so that the same values are the same bytes.
            file = gzip.GzipFile(filename="", mode="wb", compresslevel=4, fileobj=stream, mtime=0)
            self._files.append(self._open.enter_context(file))
            file.write(self.header)

    def names(self) -> list[str]:
        """What the files are called."""
        return self.layout.files

    def values(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values as they are written."""
        return values

    def write(self, piece: BinValues) -> None:
        """Write the next piece."""
        self._gathered.add(piece.chrom, *self.layout.intervals(piece))
        if self._gathered.rows >= ROWS_AT_ONCE:
            self._write_gathered()

    def _write_gathered(self) -> None:
        import pyarrow
        from pyarrow import csv

        if not self._gathered.rows:
            return
        chroms, starts, ends, values = self._gathered.take()
        options = csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none")
        names = chroms.dictionary_decode()
        for file, column in zip(self._files, self.values(values).T, strict=True):
            table = pyarrow.table([names, starts, ends, np.ascontiguousarray(column)], names=["c", "s", "e", "v"])
            csv.write_csv(table, file, options)

    def finish(self) -> None:
        """Write what is left."""
        self._write_gathered()

    def close(self) -> None:
        """Close the files."""
        self._open.close()


class GenomedataBedGraph(BedGraph):
    """What ``genomedata-load`` reads, for Segway: bedGraphs with a header, ``chrom.sizes`` and the command.

    genomedata takes a file for bedGraph by its first line, wants a chromosome's lines together and in order, refuses
    numbers that are not 0 and yet below the least normal float32, and Segway's tracks are named like variables.
    """

    header = b"track type=bedGraph\n"

    def names(self) -> list[str]:
        """What the files, and the tracks, are called."""
        return [symbol(name) for name in self.layout.columns]

    def values(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values as they are written."""
        return np.where(np.abs(values) < LEAST_NORMAL, np.float32(0), values)

    def finish(self) -> None:
        """Write what is left, the chromosome sizes, and the command that loads the tracks."""
        super().finish()
        sizes = "".join(f"{chrom}\t{size}\n" for chrom, size in self.layout.sizes.items())
        (self.folder / "chrom.sizes").write_text(sizes)
        tracks = "".join(f" \\\n    -t {name}={name}.bedGraph.gz" for name in self.names())
        archive = f"{self.layout.what}.genomedata"
        script = self.folder / "genomedata-load.sh"
        script.write_text(
            '#!/bin/sh\nset -e\ncd "$(dirname "$0")"\n'
            f'genomedata-load --sizes -s chrom.sizes{tracks} \\\n    "${{1:-{archive}}}"\n'
        )
        script.chmod(0o755)


class Table(ABC):
    """Takes rows: bins, or regions with the mean over their bins."""

    @abstractmethod
    def add(
        self, names: list[str] | None, chrom: str, starts: NDArray, ends: NDArray, bins: NDArray | None, values: NDArray
    ) -> None:
        """Add rows.

        Parameters
        ----------
        names : list of str or None
            Of regions; None for bins.
        starts, ends : (row,) int64 arrays
        bins : (row,) int64 array or None
            Bins with data that a region's values are the mean of.
        values : (row, column) float32 array
        """


class Parquet(Format, Table):
    """``<what>.parquet``: chrom, start, end and the columns; of regions also name and bins."""

    def __init__(self, folder: Path, layout: Layout) -> None:
        super().__init__(folder, layout)
        self._writer: Any = None
        self._gathered = Gathered()

    def write(self, piece: BinValues) -> None:
        """Write the next piece."""
        self._gathered.add(piece.chrom, *self.layout.intervals(piece))
        if self._gathered.rows >= ROWS_AT_ONCE:
            self._write_rows(*self._gathered.take())

    def add(
        self, names: list[str] | None, chrom: str, starts: NDArray, ends: NDArray, bins: NDArray | None, values: NDArray
    ) -> None:
        """Add rows as a row group."""
        import pyarrow

        chroms = pyarrow.DictionaryArray.from_arrays(np.zeros(len(starts), np.int32), [chrom])
        self._write_rows(chroms, starts, ends, values, names, bins)

    def _write_rows(
        self,
        chroms: Any,
        starts: NDArray,
        ends: NDArray,
        values: NDArray,
        names: list[str] | None = None,
        bins: NDArray | None = None,
    ) -> None:
        import pyarrow
        import pyarrow.parquet

        columns: dict[str, Any] = {"chrom": chroms, "start": starts, "end": ends}
        if names is not None:
            columns |= {"name": names, "bins": bins}
        columns |= {
            name: np.ascontiguousarray(column) for name, column in zip(self.layout.columns, values.T, strict=True)
        }
        table = pyarrow.table(columns)
        if self._writer is None:
            described = json.dumps(_described(self.layout), sort_keys=True)
            schema = table.schema.with_metadata({"epilstm": described})
            path = self.folder / f"{self.layout.what}.parquet"
            self._writer = pyarrow.parquet.ParquetWriter(path, schema, compression="zstd")
        if len(starts):
            self._writer.write_table(table.cast(self._writer.schema))

    def finish(self) -> None:
        """Write what is left; a file without rows where no bin has data."""
        if self._gathered.rows:
            self._write_rows(*self._gathered.take())
        if self._writer is None:
            self.add(None, "", *(np.empty(0, np.int64),) * 2, None, np.empty((0, len(self.layout.columns)), np.float32))

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()


class AnnData(Format, Table):
    """``<what>.h5ad``: X of rows x columns; obs has chrom, start, end, and of regions name and bins."""

    def __init__(self, folder: Path, layout: Layout) -> None:
        super().__init__(folder, layout)
        self._parts: list[tuple[list[str] | None, str, NDArray, NDArray, NDArray | None, NDArray]] = []
        self._rows = 0

    def write(self, piece: BinValues) -> None:
        """Keep the next piece."""
        starts, ends, values = self.layout.intervals(piece)
        self.add(None, piece.chrom, starts, ends, None, values)

    def add(
        self, names: list[str] | None, chrom: str, starts: NDArray, ends: NDArray, bins: NDArray | None, values: NDArray
    ) -> None:
        """Keep rows.

        Raises
        ------
        DataError
            They are more than fit into memory.
        """
        self._rows += len(starts)
        if self._rows > MAX_ANNDATA_ROWS:
            raise DataError(
                f"an AnnData is read and written whole: more than {MAX_ANNDATA_ROWS:,} bins are too many; give "
                "--region, or --bed for one row per region, or take parquet"
            )
        self._parts.append((names, chrom, starts, ends, bins, values))

    def finish(self) -> None:
        """Write the file."""
        import anndata
        import pandas

        parts = self._parts
        counts = [len(part[2]) for part in parts]
        chroms = np.repeat(np.array([part[1] for part in parts], dtype=object), counts)
        starts, ends = (np.concatenate([np.empty(0, np.int64), *(part[i] for part in parts)]) for i in (2, 3))
        obs = pandas.DataFrame(
            {"chrom": pandas.Categorical(chroms, [*self.layout.sizes]), "start": starts, "end": ends},
            index=pandas.Index(
                [f"{c}:{s}-{e}" for c, s, e in zip(chroms, starts.tolist(), ends.tolist(), strict=True)]
            ),
        )
        if parts and parts[0][0] is not None:
            obs["name"] = [name for part in parts for name in part[0] or ()]
            obs["bins"] = np.concatenate([part[4] for part in parts if part[4] is not None])
        var = pandas.DataFrame(index=pandas.Index(self.layout.columns, dtype=object))
        tracks = self.layout.tracks
        if tracks is not None:
            var["cell_type"], var["assay"] = tracks.cell_types, tracks.assays
            if any(tracks.replicates):
                var["replicate"] = ["" if each is None else each for each in tracks.replicates]
        empty = np.empty((0, len(self.layout.columns)), np.float32)
        content = anndata.AnnData(np.concatenate([empty, *(part[5] for part in parts)]), obs, var)
        content.uns["epilstm"] = _described(self.layout)
        (self.folder / f"{self.layout.what}.h5ad").write_bytes(_h5ad(content))


def _h5ad(content: Any) -> bytes:
    """An AnnData as the bytes of its file; HDF5 itself crashes the process where a disk is full."""
    import anndata
    import h5py

    content.strings_to_categoricals()
    with h5py.File("in memory", "w", driver="core", backing_store=False) as file:
        anndata.io.write_elem(file, "/", content, dataset_kwargs={"compression": "gzip"})
        file.flush()
        image: bytes = file.id.get_file_image()
    return image


def _described(layout: Layout) -> dict[str, Any]:
    return {
        "what": layout.what,
        "assembly": layout.assembly,
        "bin_size": layout.bin_size,
        "coordinates": "0-based, half-open",
        **({} if layout.tracks is None else {"tracks": json.dumps(described(layout.tracks))}),
        **layout.provenance,
    }
