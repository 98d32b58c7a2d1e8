"""What is drawn beside the tracks of a window: genes of an annotation, segments of a BED file."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from epilstm.errors import LabelsError
from epilstm.genome.assembly import Region, bed_intervals
from epilstm.genome.gtf import read_annotation
from epilstm.genome.name_matching import match_names


@dataclass(frozen=True)
class Gene:
    """A gene's body (0-based, half-open), strand and name."""

    start: int
    end: int
    strand: str
    name: str


@dataclass(frozen=True)
class Segment:
    """An interval of the genome with a name and a colour (``#rrggbb``)."""

    start: int
    end: int
    name: str
    color: str


def genes_in(path: Path, region: Region, chromosomes: Collection[str]) -> list[Gene]:
    """Genes of an annotation that overlap a region, by start; protein-coding ones, where the file has biotypes.

    `path` is GTF or GFF3; `chromosomes` are those of the data set, which the file's must match.

    Raises
    ------
    LabelsError
        Missing or not GTF, or its chromosomes have other names.
    """
    annotation = read_annotation(path)
    match_names(
        annotation.chromosomes, chromosomes, str(path), "the matrix", what="genes", error=LabelsError,
        partial=logging.INFO,
    )  # fmt: skip
    here = [
        gene
        for gene in annotation.genes
        if gene.region.chrom == region.chrom and gene.region.start < region.end and gene.region.end > region.start
    ]
    drawn = [gene for gene in here if gene.biotype == "protein_coding"] or here
    genes = [Gene(gene.region.start, gene.region.end, gene.strand, gene.name) for gene in drawn]
    return sorted(genes, key=lambda gene: (gene.start, gene.end))


def segments_in(path: Path, region: Region, colors: tuple[str, ...], chromosomes: Collection[str]) -> list[Segment]:
    """Segments of a BED file that overlap a region, in the colours of a BED9 file or of their names.

    `colors` are for segments without one of their own, by name; `chromosomes` as for `genes_in`.

    Raises
    ------
    GenomeError
        Missing or not BED, or its chromosomes have other names.
    """
    segments: list[Segment] = []
    own: dict[str, str] = {}
    found: Counter[str] = Counter()
    for _, interval, fields in bed_intervals(path):
        found[interval.chrom] += 1
        name = fields[3] if len(fields) > 3 else ""
        color = (
            own.setdefault(name, _rgb(fields[8]) if len(fields) > 8 else "")
            or colors[list(own).index(name) % len(colors)]
        )
        start, end = interval.start, interval.end
        if interval.chrom == region.chrom and start < region.end and end > region.start:
            segments.append(Segment(max(start, region.start), min(end, region.end), name, color))
    match_names(found, chromosomes, str(path), "the matrix", what="segments", partial=logging.INFO)
    return segments


def _rgb(text: str) -> str:
    parts = text.split(",")
    if len(parts) != 3 or not all(part.isdecimal() and int(part) < 256 for part in parts):
        return ""
    return "#" + "".join(f"{int(part):02x}" for part in parts)


def lanes(genes: Sequence[Gene], gap: float) -> list[int]:
    """Lane of each gene such that no two in a lane lie within `gap` base pairs of each other."""
    ends: list[float] = []
    chosen = []
    for gene in genes:
        free = next((lane for lane, end in enumerate(ends) if gene.start >= end), len(ends))
        if free == len(ends):
            ends.append(0)
        ends[free] = gene.end + gap
        chosen.append(free)
    return chosen
