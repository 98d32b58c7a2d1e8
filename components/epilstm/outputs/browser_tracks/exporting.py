"""``epilstm export-tracks``: from a source of values to a folder of files, in one pass."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from epilstm import __version__
from epilstm.console import log, progress
from epilstm.errors import DataError, ParamsError
from epilstm.files.outputs import MANIFEST, sha256_file, write_json, written_whole
from epilstm.genome.assembly import Region
from epilstm.outputs.browser_tracks.formats import (
    AnnData,
    BedGraph,
    BigWig,
    Format,
    GenomedataBedGraph,
    Layout,
    Parquet,
    Table,
)
from epilstm.outputs.browser_tracks.hub import Hub, HubSettings, hub_settings
from epilstm.outputs.browser_tracks.pooling import Pool, read_named_regions
from epilstm.outputs.browser_tracks.sources import Embeddings, Reconstruction, Source
from epilstm.runtime.extras import missing_package
from epilstm.runtime.runner import check_apart, record_path
from epilstm.store.bin_ranges import sizes_of
from epilstm.tracks.identity import described

What = Literal["embedding", "reconstruction", "imputation"]

#: Format -> what writes it; a hub needs settings besides.
FORMATS: dict[str, type[Format]] = {
    "bigwig": BigWig,
    "bedgraph": BedGraph,
    "genomedata-bedgraph": GenomedataBedGraph,
    "parquet": Parquet,
    "h5ad": AnnData,
    "hub": Hub,
}

#: What identifies a folder of exported tracks, in its manifest.
TRACKS_FORMAT = "epilstm.tracks/1"


@dataclass(frozen=True)
class Request:
    """What is to be exported.

    Parameters
    ----------
    formats : tuple of str
        Keys of `FORMATS`; with more than one, each has a folder of its name.
    regions, tracks : tuple of str
        As for `bin_ranges_of` and for `epilstm.tracks.identity.select_tracks`; dimensions by number or name.
    bed : Path or None
        Regions to take the mean of.
    signed : bool
        As for `Reconstruction`.
    email, genome, two_bit : str or None
        As for `hub_settings`.
    cell_type : str or None
        Of an embedding of a model that cell types share, the one whose code is exported.
    """

    what: What
    to: Path
    formats: tuple[str, ...]
    embeddings: Path | None = None
    matrix: Path | None = None
    model: Path | None = None
    regions: tuple[str, ...] = ()
    tracks: tuple[str, ...] = ()
    bed: Path | None = None
    signed: bool = False
    email: str | None = None
    genome: str | None = None
    two_bit: str | None = None
    cell_type: str | None = None


def run(request: Request) -> None:
    """Export.

    Raises
    ------
    EpilstmError
        Names the first thing that cannot be used.
    """
    started = time.perf_counter()
    formats = tuple(dict.fromkeys(request.formats))
    of_bins = [name for name in formats if not issubclass(FORMATS[name], Table)]
    if request.bed is not None and of_bins:
        raise ParamsError(f"--bed: {of_bins[0]} has values of bins; means over regions are for parquet and h5ad")
    given = {name: getattr(request, name) for name in ("embeddings", "matrix", "model", "bed")}
    check_apart({name: path for name, path in given.items() if path is not None}, {"to": request.to}, {})
    source = source_of(request)
    manifest = source.manifest
    sizes = sizes_of(manifest)
    pool = None
    if request.bed is not None:
        pool = Pool(read_named_regions(request.bed, sizes), len(source.columns), manifest.bin_size)
        source.provenance["bed"] = sha256_file(request.bed)
    layout = Layout(
        source.what, source.columns, sizes, manifest.assembly, manifest.bin_size, source.provenance, source.tracks
    )
    settings = _hub_settings(request, source) if "hub" in formats else None
    with written_whole(request.to, folder=True, kind="tracks") as staged, ExitStack() as stack:
        writers: list[Format] = []
        for name in formats:
            folder = staged if len(formats) == 1 else staged / name
            folder.mkdir(parents=True)
            writers.append(_writer(name, folder, layout, settings))
            stack.callback(writers[-1].close)
        bins = _write_pieces(source, pool, writers)
        for writer in writers:
            writer.finish()
            writer.close()
        write_json(staged / MANIFEST, manifest_of(source, formats, request))
    seconds = time.perf_counter() - started
    record = {"command": "export-tracks", "version": __version__, "bins": bins, "seconds": round(seconds, 3)}
    write_json(record_path(request.to), {**manifest_of(source, formats, request), **record})
    log.info(
        f"{len(source.columns)} columns ({source.what}) over {bins:,} bins with data as {', '.join(formats)}: "
        f"{request.to} ({seconds:.1f} s)"
    )


def _hub_settings(request: Request, source: Source) -> HubSettings:
    """Settings of a hub that opens at the first interval with data."""
    place = _region(source, 0)
    locus = Region(place.chrom, place.start + 1, place.end)
    return hub_settings(request.email, request.genome, request.two_bit, source.manifest.assembly, str(locus))


def _write_pieces(source: Source, pool: Pool | None, writers: list[Format]) -> int:
    """Write all values, or their means over regions; the number of bins with data.

    Raises
    ------
    DataError
        No bin has data.
    """
    bins = 0
    with progress("exporting bins", source.bins) as bar:
        for piece in source.pieces():
            if pool is not None:
                pool.add(piece)
            else:
                for writer in writers:
                    writer.write(piece)
            bins += int(piece.there.sum())
            bar.advance(len(piece.values))
    if pool is not None:
        _write_pooled(pool, writers)
    if not bins:
        raise DataError("none of the bins asked for has data; nothing is written; check --region")
    return bins


def source_of(request: Request) -> Source:
    """What is exported.

    Raises
    ------
    ParamsError
        A folder is not given.
    EpilstmError
        One of them cannot be used.
    """
    if request.what == "embedding":
        if request.embeddings is None:
            raise ParamsError("--embeddings is required: embeddings dataset")
        return Embeddings(request.embeddings, request.regions, request.tracks, request.cell_type)
    if request.cell_type is not None:
        raise ParamsError(f"--cell-type {request.cell_type}: chooses a code of the embedding; give --tracks for tracks")
    if request.matrix is None or request.model is None:
        missing = "--matrix" if request.matrix is None else "--model"
        raise ParamsError(
            f"--what {request.what} computes tracks from the matrix with the model: {missing} is required"
        )
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise ParamsError(f"--what {request.what} runs the model: {missing_package(error.name, 'train')}") from error
    hidden = request.what == "imputation"
    return Reconstruction(request.matrix, request.model, request.regions, request.tracks, hidden, request.signed)


def _writer(name: str, folder: Path, layout: Layout, settings: HubSettings | None) -> Format:
    if settings is not None and name == "hub":
        return Hub(folder, layout, settings)
    return FORMATS[name](folder, layout)


def _write_pooled(pool: Pool, writers: list[Format]) -> None:
    without = int((pool.bins == 0).sum())
    if without:
        log.warning(f"{without:,} of {len(pool.regions):,} regions have no bin with data and are left out")
    for chrom, places, values in pool.rows():
        kept = [pool.regions[place] for place in places]
        starts = np.array([each.region.start for each in kept], np.int64)
        ends = np.array([each.region.end for each in kept], np.int64)
        for writer in writers:
            assert isinstance(writer, Table)
            writer.add([each.name for each in kept], chrom, starts, ends, pool.bins[places], values)


def manifest_of(source: Source, formats: tuple[str, ...], request: Request) -> dict[str, Any]:
    """What the folder says of itself."""
    return {
        "format": TRACKS_FORMAT,
        "what": source.what,
        "formats": list(formats),
        "columns": source.columns,
        **({} if source.tracks is None else {"tracks": described(source.tracks)}),
        "assembly": source.manifest.assembly,
        "bin_size": source.manifest.bin_size,
        "regions": [str(_region(source, number)) for number in range(len(source.bin_ranges))],
        "provenance": source.provenance,
        "signed": request.signed,
    }


def _region(source: Source, number: int) -> Region:
    bin_range, size = source.bin_ranges[number], source.manifest.bin_size
    end = min(bin_range.last * size, source.manifest.chromosome_sizes[bin_range.chrom])
    return Region(bin_range.chrom, bin_range.first * size, end)
