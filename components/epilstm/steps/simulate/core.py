"""Write a simulated epigenome: bigWig tracks, samplesheet, regions, labels and tasks."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import yaml

from epilstm.errors import DataError, ParamsError
from epilstm.files.disk import require_space
from epilstm.files.outputs import MANIFEST, sha256_file, to_json
from epilstm.params import SimulateParams
from epilstm.steps.simulate.labels import (
    LABEL_BINS,
    frequently_interacting_regions,
    gene_expression,
    promoter_enhancer_pairs,
    replication_timing,
)
from epilstm.steps.simulate.landscape import Landscape, build_landscape
from epilstm.steps.simulate.signal import ENRICHMENT, Library, draw_gaps, simulate_track
from epilstm.tracks.bigwig_columns import new_bigwig
from epilstm.tracks.identity import file_name
from epilstm.tracks.samplesheet import Track, write_samplesheet

#: RPKM from which a gene counts as expressed, as in the published work.
EXPRESSED = 0.5
#: Cell types that have promoter-enhancer pairs: few, as in the real data.
PAIR_CELL_TYPES = 2


def simulate(folder: Path, params: SimulateParams, track_written: Callable[[], None] = lambda: None) -> None:
    """Write a simulated epigenome; the same parameters give the same bytes.

    Parameters
    ----------
    folder : Path
        Made here; it gets ``bigwig/``, ``samplesheet.csv``, ``chrom.sizes``, ``regions.bed``, ``labels/``,
        ``tasks.yaml`` and, last, ``manifest.json``.
    params : SimulateParams
        Seed, chromosomes, cell types and assays.
    track_written : callable
        Called after each track.

    Raises
    ------
    ParamsError
        An assay that cannot be simulated, or one named twice.
    DataError
        A track cannot be written.
    """
    check_assays(params.assays)
    cell_types = [f"C{number:02d}" for number in range(1, params.cell_types + 1)]
    landscapes = {
        chrom: build_landscape(random_stream(params.seed, "landscape", chrom), length, params.cell_types)
        for chrom, length in params.chromosomes.items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_genome(folder, params)
    write_labels(folder / "labels", params, cell_types, landscapes)
    (folder / "tasks.yaml").write_text(yaml.safe_dump({"tasks": tasks(cell_types)}, sort_keys=False), encoding="utf-8")

    (folder / "bigwig").mkdir(exist_ok=True)
    gaps = {
        chrom: draw_gaps(random_stream(params.seed, "gaps", chrom), length)
        for chrom, length in params.chromosomes.items()
    }
    tracks = []
    for row, cell_type in enumerate(cell_types):
        for assay in params.assays:
            uri = f"bigwig/{file_name(f'{cell_type}-{assay}')}.bigwig"
            write_track(folder / uri, params, row, assay, landscapes, gaps)
            # The signal is continuous: what no track covers is what no read maps to.
            tracks.append(Track(cell_type, assay, uri, sha256_file(folder / uri), uncovered="gap"))
            track_written()
    write_samplesheet(folder / "samplesheet.csv", tracks)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    manifest = {
        "format": "epilstm.simulated/1",
        "params": params.model_dump(mode="json"),
        "cell_types": cell_types,
        "genes": sum(int(landscape.gene.max()) + 1 for landscape in landscapes.values()),
        "files": {path.relative_to(folder).as_posix(): sha256_file(path) for path in files},
    }
    (folder / MANIFEST).write_text(to_json(manifest), encoding="utf-8")


def random_stream(seed: int, *names: str) -> np.random.Generator:
    """Random numbers of their own for each purpose, so that none depends on how many others are drawn."""
    return np.random.default_rng([seed, *(crc32(name.encode()) for name in names)])


def check_assays(assays: list[str]) -> None:
    """Refuse assays that cannot be simulated.

    Raises
    ------
    ParamsError
        An unknown assay, or one named twice.
    """
    for assay in assays:
        if assay not in ENRICHMENT:
            raise ParamsError(f"simulate.assays: {assay!r} cannot be simulated; choose from {', '.join(ENRICHMENT)}")
        if assays.count(assay) > 1:
            raise ParamsError(f"simulate.assays: {assay!r} is there twice; name each assay once")


def write_track(
    path: Path,
    params: SimulateParams,
    cell_type: int,
    assay: str,
    landscapes: dict[str, Landscape],
    gaps: dict[str, np.ndarray],
) -> None:
    """Write one track as bigWig; it takes less than a byte per base pair.

    Raises
    ------
    DataError
        The file cannot be written.
    OSError
        The disk is full.
    """
    require_space(path.parent, sum(params.chromosomes.values()))
    library = Library.draw(random_stream(params.seed, "library", str(cell_type), assay))
    bigwig = new_bigwig(path, params.chromosomes)
    try:
        # libBigWig takes the chromosomes in the order of the header.
        for chrom, landscape in landscapes.items():
            rng = random_stream(params.seed, "signal", chrom, str(cell_type), assay)
            runs = simulate_track(rng, landscape, cell_type, assay, library, gaps[chrom])
            bigwig.addEntries(
                np.full(len(runs.start), chrom),
                runs.start,
                ends=runs.end,
                values=runs.value.astype(np.float32),
            )
    except RuntimeError as error:
        raise DataError(f"{path}: cannot be written: {error}; is the disk full?") from error
    finally:
        bigwig.close()


def write_genome(folder: Path, params: SimulateParams) -> None:
    """Write ``chrom.sizes`` and ``regions.bed`` (whole chromosomes)."""
    sizes = params.chromosomes.items()
    (folder / "chrom.sizes").write_text("".join(f"{chrom}\t{size}\n" for chrom, size in sizes))
    (folder / "regions.bed").write_text("".join(f"{chrom}\t0\t{size}\n" for chrom, size in sizes))


def write_labels(folder: Path, params: SimulateParams, cell_types: list[str], landscapes: dict[str, Landscape]) -> None:
    """Write the label files of all tasks, in the formats of the real ones."""
    folder.mkdir(exist_ok=True)
    expression, annotation = expression_lines(params.seed, cell_types, landscapes)
    write_gzip(folder / "expression.RPKM.tsv.gz", expression)
    write_gzip(folder / "genes.gtf.gz", annotation)
    write_gzip(folder / "promoter-enhancer-pairs.csv.gz", pair_lines(params.seed, cell_types, landscapes))
    fire: list[str] = []
    timing: list[str] = []
    for chrom, landscape in landscapes.items():
        labels = frequently_interacting_regions(random_stream(params.seed, "fire", chrom), landscape, 0)
        fire += label_bin_lines(chrom, [str(label) for label in labels])
        values = replication_timing(random_stream(params.seed, "timing", chrom), landscape, 0)
        timing += label_bin_lines(chrom, [f"{value:.4f}" for value in values])
    write_gzip(folder / f"fire-{cell_types[0]}.bed.gz", fire)
    write_gzip(folder / "replication-timing.bedgraph.gz", timing)


def expression_lines(seed: int, cell_types: list[str], landscapes: dict[str, Landscape]) -> tuple[list[str], list[str]]:
    """Lines of the RPKM table and of the GTF; as in the real files, only the latter's gene_id has a version."""
    table = ["\t".join(["gene_id", *cell_types])]
    annotation: list[str] = []
    for chrom, landscape in landscapes.items():
        for gene in gene_expression(random_stream(seed, "expression", chrom), landscape):
            identifier = f"SIMG{len(annotation) + 1:011d}"
            table.append("\t".join([identifier, *(f"{rpkm:.3f}" for rpkm in gene.rpkm)]))
            attributes = f'gene_id "{identifier}.1"; gene_type "protein_coding"; gene_name "{identifier}";'
            place = f"{gene.start + 1}\t{gene.end}\t.\t{gene.strand}\t."
            annotation.append(f"{chrom}\tSIMULATED\tgene\t{place}\t{attributes}")
    return table, annotation


def pair_lines(seed: int, cell_types: list[str], landscapes: dict[str, Landscape]) -> list[str]:
    """Lines of the promoter-enhancer pairs file."""
    lines = ["cell,enhancer_chrom,enhancer_start,enhancer_end,promoter_chrom,promoter_start,promoter_end,label"]
    for row, cell_type in enumerate(cell_types[:PAIR_CELL_TYPES]):
        for chrom, landscape in landscapes.items():
            for pair in promoter_enhancer_pairs(random_stream(seed, "pairs", chrom, str(row)), landscape, row):
                enhancer, promoter = (f"{chrom},{start},{end}" for start, end in (pair.enhancer, pair.promoter))
                lines.append(f"{line_name(cell_type)},{enhancer},{promoter},{pair.label}")
    return lines


def label_bin_lines(chrom: str, values: list[str]) -> list[str]:
    """BED lines of consecutive intervals of `LABEL_BINS` with a value each."""
    return [f"{chrom}\t{i * LABEL_BINS}\t{(i + 1) * LABEL_BINS}\t{value}" for i, value in enumerate(values)]


def write_gzip(path: Path, lines: Iterable[str]) -> None:
    """Write lines as gzip, without a time stamp."""
    path.write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode(), compresslevel=6, mtime=0))


def line_name(cell_type: str) -> str:
    """What the pairs file calls a cell type; real files name cell lines, not epigenomes."""
    return f"line-{cell_type[1:]}"


def tasks(cell_types: list[str]) -> list[dict[str, Any]]:
    """Content of ``tasks.yaml``: the four tasks of classes, and the level of expression in the first cell type."""
    paired = cell_types[:PAIR_CELL_TYPES]
    return [
        {
            "name": "gene_expression",
            "kind": "region",
            "windows": ["gene_body", "tss"],
            "labels": {
                "format": "rpkm",
                "path": "expression.RPKM.tsv.gz",
                "annotation": "genes.gtf.gz",
                "threshold": EXPRESSED,
            },
            "cell_types": list(cell_types),
        },
        {
            "name": "promoter_enhancer",
            "kind": "pair",
            "windows": ["promoter", "enhancer", "between"],
            "labels": {
                "format": "pairs",
                "path": "promoter-enhancer-pairs.csv.gz",
                "cells": {cell_type: line_name(cell_type) for cell_type in paired},
            },
            "cell_types": paired,
        },
        {
            "name": "fire",
            "kind": "region",
            "windows": ["region"],
            "labels": {"format": "bed", "path": f"fire-{cell_types[0]}.bed.gz"},
            "cell_types": cell_types[:1],
        },
        {
            "name": "replication_timing",
            "kind": "region",
            "windows": ["region"],
            "labels": {"format": "bedgraph", "path": "replication-timing.bedgraph.gz", "threshold": 0.0},
            "cell_types": cell_types[:1],
        },
        {
            "name": "expression_level",
            "kind": "region",
            "windows": ["gene_body", "tss"],
            "labels": {
                "format": "rpkm",
                "path": "expression.RPKM.tsv.gz",
                "annotation": "genes.gtf.gz",
                "target": "level",
            },
            "cell_types": cell_types[:1],
        },
    ]
