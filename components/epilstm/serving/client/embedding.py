"""``epilstm client embed``: from a samplesheet and regions to embeddings, by way of a server."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from epilstm import __version__
from epilstm.console import log, progress
from epilstm.errors import ParamsError
from epilstm.files.outputs import sha256_file, write_json
from epilstm.genome.assembly import (
    BUILT_IN_ASSEMBLIES,
    Assembly,
    Region,
    bins_of,
    load_assembly,
    merge,
    parse_region,
    read_blacklist,
    read_regions,
)
from epilstm.runtime.runner import record_path
from epilstm.serving.client.connection import Access, connect
from epilstm.serving.client.outputs import Form, Layout, written
from epilstm.serving.client.streaming import ServedEncoder, embed_unbroken, embed_windows, served_encoder, window_shape
from epilstm.store.binned_track import Binning
from epilstm.store.manifests import EmbeddingsManifest, code_columns_of
from epilstm.store.samplesheet_signal import Digest, check_files, files_of


@dataclass(frozen=True)
class Request:
    """What is to be embedded, and how.

    Parameters
    ----------
    sheet : Path
        Samplesheet.
    regions : tuple of str
        ``chrom:start-end`` or ``chrom``; where there are none, `bed`.
    assembly : str or None
        Name or file; the server's where None.
    dimensions : str
        Numbers that are asked for, as `chosen_dimensions` of the protocol reads them; empty for all.
    """

    sheet: Path
    regions: tuple[str, ...] = ()
    bed: Path | None = None
    assembly: str | None = None
    blacklist: Path | None = None
    chunk_bins: int = 2000
    warmup_bins: int = 200
    stateful: bool = False
    in_flight: int = 4
    downloads: Path | None = None
    dimensions: str = ""


def run(access: Access, request: Request, output: Path, form: Form) -> None:
    """Embed and write.

    Raises
    ------
    EpilstmError
        Names the first thing that cannot be used.
    """
    started = time.perf_counter()
    with connect(access) as connection, tempfile.TemporaryDirectory(prefix="epilstm-") as scratch:
        served = served_encoder(connection, request.dimensions)
        if form == "zarr" and "encoder_fingerprint" not in served.encoder.properties:
            raise ParamsError(
                "a dataset names its encoder, and the server does not say which it has; start it with the encoder's "
                "folder (--model FOLDER), or write a table or bigWigs"
            )
        binning = binning_of(request, served)
        files = files_of(
            served.track_set, request.sheet, request.downloads or Path(scratch), uncovered=served.uncovered
        )
        files = check_files(files, binning, Path(scratch))
        digest = Digest(served.track_set, binning)
        shape = window_shape(served, request.chunk_bins, request.warmup_bins)
        if request.stateful:
            pieces = embed_unbroken(connection, served, files, binning, request.chunk_bins, digest)
        else:
            pieces = embed_windows(connection, served, files, binning, shape, request.in_flight, digest)
        with_data = 0
        with (
            written(output, form, Layout(binning, served.size, served.dimensions)) as writer,
            progress("embedding bins", binning.region_bins) as bar,
        ):
            for piece in pieces:
                writer.write(piece)
                with_data += int((~np.isnan(piece.values[:, 0])).sum())
                bar.advance(len(piece.values))
            manifest = manifest_of(binning, served, digest.hexdigest())
            writer.finish(manifest)
    seconds = time.perf_counter() - started
    record = {
        "command": "client embed",
        "version": __version__,
        "url": str(access.address),
        "model": {"version": served.encoder.version, **served.encoder.properties},
        "samplesheet_sha256": sha256_file(request.sheet),
        "regions": manifest.model_dump(mode="json")["regions"],
        "signal_sha256": manifest.matrix_fingerprint,
        "chunk_bins": request.chunk_bins,
        "warmup_bins": None if request.stateful else shape.before,
        "stateful": request.stateful,
        "bins": binning.region_bins,
        "bins_with_data": with_data,
        "seconds": round(seconds, 3),
    }
    write_json(record_path(output), record)
    log.info(
        f"{binning.region_bins:,} bins embedded in {served.size} numbers each, {with_data:,} of them with data, by "
        f"version {served.encoder.version}: {output} ({seconds:.1f} s)"
    )


def binning_of(request: Request, served: ServedEncoder) -> Binning:
    """What is read of each track.

    Raises
    ------
    ParamsError
        The server's assembly is not one that is known here.
    GenomeError
        The regions are unusable.
    """
    name = request.assembly or served.encoder.properties.get("assembly", "")
    if request.assembly is None and name not in BUILT_IN_ASSEMBLIES:
        raise ParamsError(f"the server's assembly is {name!r}, not a known one; give its chrom.sizes file (--assembly)")
    assembly, bin_size = load_assembly(name), served.bin_size
    if request.bed is not None:
        regions = read_regions(request.bed, assembly, bin_size)
    else:
        regions = merge(
            [_whole_bins(parse_region(text, assembly), assembly, bin_size) for text in request.regions], assembly
        )
    blacklist = [] if request.blacklist is None else read_blacklist(request.blacklist, assembly)
    return Binning.of(assembly, regions, blacklist, bin_size, "lz4")


def _whole_bins(region: Region, assembly: Assembly, bin_size: int) -> Region:
    first, last = bins_of(region, bin_size)
    return Region(region.chrom, first * bin_size, min(last * bin_size, assembly[region.chrom]))


def manifest_of(binning: Binning, served: ServedEncoder, signal_sha256: str) -> EmbeddingsManifest:
    """What the embeddings say of themselves; the digest of the signal stands for the matrix that there is none of."""
    properties, tracks = served.encoder.properties, served.track_set
    return EmbeddingsManifest(
        tracks=list(tracks.names),
        identities=list(tracks.identities) if tracks.known else None,
        assembly=binning.assembly,
        bin_size=binning.bin_size,
        chromosome_sizes={chrom: binning.sizes[chrom] for chrom in binning.chromosomes},
        regions=[(region.chrom, region.start, region.end) for region in binning.regions],
        size=served.size,
        matrix_fingerprint=signal_sha256,
        model_fingerprint=properties.get("model_fingerprint", ""),
        encoder_fingerprint=properties.get("encoder_fingerprint", ""),
        dimensions=served.dimensions,
        code_columns=code_columns_of(served.dimensions or []) if served.by_cell_type else None,
    )
