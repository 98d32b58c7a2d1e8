"""``epilstm impute``: from a cell type's bigWigs to bigWigs of what it lacks, in one pass."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from epilstm import __version__
from epilstm.console import log, progress
from epilstm.errors import DataError
from epilstm.files.outputs import MANIFEST, fingerprint, sha256_file, write_json, written_whole
from epilstm.model.folder import load_model
from epilstm.model.imputer import load_imputer
from epilstm.model.unseen_cell_type import UnseenCellType
from epilstm.runtime.runner import check_apart, record_path
from epilstm.store.bin_ranges import sizes_of
from epilstm.tracks.bigwig_columns import BigWigs, BinValues
from epilstm.tracks.identity import file_name

#: What identifies a folder of tracks, in its manifest.
TRACKS_FORMAT = "epilstm.tracks/1"


@dataclass(frozen=True)
class Request:
    """What is to be imputed.

    Parameters
    ----------
    model, matrix, samplesheet, to : Path
    assays : tuple of str
        All that the cell type does not have, if empty.
    cell_type : str or None
    regions : tuple of str
    """

    model: Path
    matrix: Path
    samplesheet: Path
    to: Path
    assays: tuple[str, ...] = ()
    cell_type: str | None = None
    regions: tuple[str, ...] = ()


def run(request: Request) -> None:
    """Impute, and write ``<cell type>-<assay>.bw`` and ``<cell type>-<assay>.sd.bw`` of each assay.

    Raises
    ------
    EpilstmError
        Names the first thing that cannot be used.
    """
    started = time.perf_counter()
    given = {"model": request.model, "matrix": request.matrix, "samplesheet": request.samplesheet}
    check_apart(given, {"to": request.to}, {})
    _, manifest = load_model(request.model)
    imputer = load_imputer(request.model, manifest)
    bins = 0
    with (
        written_whole(request.to, folder=True, kind="tracks") as staged,
        UnseenCellType(
            request.samplesheet, request.matrix, imputer, manifest, request.cell_type, request.assays, request.regions
        ) as unseen,
    ):
        staged.mkdir(parents=True, exist_ok=True)
        columns = [f"{unseen.name}-{assay}" for assay in unseen.assays]
        names = [f"{file_name(column)}{ending}" for ending in ("", ".sd") for column in columns]
        files = BigWigs(staged, names, sizes_of(unseen.matrix.manifest), manifest.bin_size)
        try:
            with progress("imputing bins", unseen.bins) as bar:
                for piece in unseen.pieces():
                    values = np.concatenate([piece.mean, piece.deviation], axis=1)
                    files.write(BinValues(piece.bins.chrom, piece.bins.first, values))
                    bins += int((~np.isnan(values[:, 0])).sum())
                    bar.advance(piece.bins.bins)
            if not bins:
                raise DataError("none of the bins asked for has data; nothing is written; check --region")
        finally:
            files.close()
        described = {
            "format": TRACKS_FORMAT,
            "what": "imputation of an unseen cell type",
            "formats": ["bigwig"],
            "columns": columns,
            "cell_type": unseen.name,
            "shown": [*unseen.tracks],
            "transform": [unseen.config.transform[unseen.config.assays.index(assay)] for assay in unseen.assays],
            "assembly": manifest.assembly,
            "bin_size": manifest.bin_size,
            "provenance": {
                "model": fingerprint(request.model),
                "matrix": unseen.matrix.fingerprint,
                "samplesheet": sha256_file(request.samplesheet),
            },
        }
        write_json(staged / MANIFEST, described)
    seconds = round(time.perf_counter() - started, 3)
    record = {"command": "impute", "version": __version__, "bins": bins, "seconds": seconds}
    write_json(record_path(request.to), {**described, **record})
    log.info(
        f"{len(columns)} assays of {unseen.name} over {bins:,} bins, from {', '.join(unseen.tracks)}: {request.to}"
    )
