"""Embeddings of a region, read from the dataset that embed wrote: as JSON, Arrow or bedGraph."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from epilstm.errors import ModelError
from epilstm.files.outputs import fingerprint
from epilstm.genome.name_matching import those_there
from epilstm.runtime.extras import missing_package
from epilstm.serving.protocol.dimensions import DIMENSIONS, chosen_dimensions
from epilstm.serving.server.http_message import HttpResponse
from epilstm.serving.server.refusal import Refusal, Status, bad_request
from epilstm.serving.server.tensors import shown
from epilstm.tracks.identity import symbol

#: Numbers of an answer at most.
MAX_VALUES = 4_000_000

REGION = re.compile(r"(?P<chrom>[^:/\s]+):(?P<start>[0-9,]{1,15})-(?P<end>[0-9,]{1,15})")

#: ``format`` -> media type.
FORMATS = {
    "json": "application/json",
    "arrow": "application/vnd.apache.arrow.stream",
    "bedgraph": "text/plain; charset=utf-8",
}


class RegionStore:
    """An embeddings dataset.

    Raises
    ------
    DataError
        It is missing, incomplete or of another kind.
    ModelError
        What reads it is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from epilstm.store.bin_ranges import open_embeddings
        except ImportError as error:
            raise ModelError(f"--embeddings: {missing_package(error.name, 'regions')}, or leave it out") from error
        self.manifest, self._arrays = open_embeddings(folder)
        self.fingerprint = fingerprint(folder)

    def describe(self) -> dict[str, Any]:
        """What the dataset is."""
        described = self.manifest.model_dump(mode="json", exclude={"format", "chromosome_sizes"})
        sizes = {chrom: self.manifest.chromosome_sizes[chrom] for chrom in self.manifest.chromosomes}
        return {**described, "chromosome_sizes": sizes, "fingerprint": self.fingerprint}

    def answer(self, region: str, query: Mapping[str, str], accept: str) -> HttpResponse:
        """Embeddings of every bin that a region touches.

        Parameters
        ----------
        region : str
            ``chrom:start-end``, 0-based and half-open.
        query : mapping of str to str
            ``format``: json (default), arrow or bedgraph; ``dimensions``: some of them only, by name, as in inference
            requests; ``dimension``: one of them only, from 0.
        accept : str
            The request's ``Accept``, where no format is given.

        Raises
        ------
        Refusal
            Not a region, not of this genome, too long, or not a format.
        """
        unknown = sorted(set(query) - {"format", DIMENSIONS, "dimension"})
        if unknown:
            raise bad_request(f"{shown(unknown[0])}: no such option; there are format, {DIMENSIONS} and dimension")
        form = query.get("format") or ("arrow" if "arrow" in accept else "json")
        if form not in FORMATS:
            raise Refusal(Status.NOT_ACCEPTABLE, f"format {shown(form)}: give {', '.join(FORMATS)}")
        if DIMENSIONS in query and "dimension" in query:
            raise bad_request(f"give {DIMENSIONS} or dimension, not both")
        dimensions = self._named(query[DIMENSIONS]) if DIMENSIONS in query else self._numbered(query.get("dimension"))
        chrom, first, last = self._bins(region)
        if (last - first) * len(dimensions) > MAX_VALUES:
            raise bad_request(
                f"{region}: {last - first:,} bins x {len(dimensions)} numbers, more than {MAX_VALUES:,}; ask in parts"
            )
        values = self._arrays[chrom][first:last][:, dimensions]
        starts = np.arange(first, last, dtype=np.int64) * self.manifest.bin_size
        ends = np.minimum(starts + self.manifest.bin_size, self.manifest.chromosome_sizes[chrom])
        write = {"json": self._json, "arrow": _arrow, "bedgraph": _bedgraph}[form]
        names = [self.manifest.names[each] for each in dimensions]
        return HttpResponse(Status.OK, (write(chrom, starts, ends, values, dimensions, names),), FORMATS[form])

    def _bins(self, region: str) -> tuple[str, int, int]:
        found = REGION.fullmatch(region)
        if found is None:
            raise bad_request(f"{shown(region)} is not a region; write it as chr1:1000000-1002500")
        chrom, start, end = found["chrom"], *(int(found[key].replace(",", "") or 0) for key in ("start", "end"))
        if chrom not in self.manifest.bin_ranges:
            raise Refusal(
                Status.NOT_FOUND,
                f"no embeddings of {shown(chrom)}; there are {those_there(chrom, self.manifest.chromosomes)}",
            )
        size = self.manifest.chromosome_sizes[chrom]
        if not start < end <= size:
            raise bad_request(f"{region}: start must be below end, and end at most {size:,}, the length of {chrom}")
        bin_size = self.manifest.bin_size
        return chrom, start // bin_size, -(-end // bin_size)

    def _named(self, text: str) -> list[int]:
        try:
            return chosen_dimensions(self.manifest.names, text)
        except ValueError as error:
            raise bad_request(f"{DIMENSIONS}: {error}") from error

    def _numbered(self, text: str | None) -> list[int]:
        size = self.manifest.size
        if text is None:
            return list(range(size))
        if not text.isascii() or not text.isdigit() or len(text) > 6 or int(text) >= size:
            raise bad_request(f"dimension {shown(text)}: give a number from 0 to {size - 1}")
        return [int(text)]

    def _json(
        self,
        chrom: str,
        starts: NDArray[np.int64],
        ends: NDArray[np.int64],
        values: NDArray[np.float32],
        dimensions: list[int],
        names: list[str],
    ) -> bytes:
        content = {
            "chrom": chrom,
            "start": int(starts[0]),
            "end": int(ends[-1]),
            "bin_size": self.manifest.bin_size,
            "dimensions": dimensions,
            **({"names": names} if self.manifest.dimensions else {}),
            "embedding": np.ascontiguousarray(values),
        }
        return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)


def _arrow(
    chrom: str,
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    values: NDArray[np.float32],
    dimensions: list[int],
    names: list[str],
) -> bytes:
    try:
        import pyarrow
    except ImportError:
        raise Refusal(Status.NOT_ACCEPTABLE, "this server has no Arrow; ask for json or bedgraph") from None
    columns: dict[str, Any] = {
        "chrom": pyarrow.DictionaryArray.from_arrays(np.zeros(len(starts), np.int8), [chrom]),
        "start": starts,
        "end": ends,
    }
    for name, column in zip(names, values.T, strict=True):
        columns[name] = pyarrow.array(column, from_pandas=True)
    table = pyarrow.table(columns)
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _bedgraph(
    chrom: str,
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    values: NDArray[np.float32],
    dimensions: list[int],
    names: list[str],
) -> bytes:
    """One track per dimension; bins without an embedding are left out."""
    lines: list[str] = []
    for dimension, name, column in zip(dimensions, names, values.T, strict=True):
        called = f"embedding {dimension}" if name == f"e{dimension}" else symbol(name)
        lines.append(f'track type=bedGraph name="{called}"')
        there = np.isfinite(column)
        rows = zip(starts[there].tolist(), ends[there].tolist(), column[there], strict=True)
        lines += [f"{chrom}\t{start}\t{end}\t{value}" for start, end, value in rows]
    return ("\n".join(lines) + "\n").encode()
