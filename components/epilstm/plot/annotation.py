"""What stands beside the tracks of a window: genes of a GTF file, segments of a BED file."""

from __future__ import annotations

import gzip
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

from epilstm.errors import LabelsError
from epilstm.genome import Region, iter_bed, open_text
from epilstm.gtf import gtf_lines

_ATTRIBUTE = re.compile(r'(\w+) "?([^";]+)"?')


@dataclass(frozen=True)
class Gene:
    """A gene's body (0-based, half-open), strand and name."""

    start: int
    end: int
    strand: str
    name: str


@dataclass(frozen=True)
class Segment:
    """A stretch of the genome with a name and a colour (``#rrggbb``)."""

    start: int
    end: int
    name: str
    color: str


def genes_in(path: Path, region: Region) -> list[Gene]:
    """Genes of a GTF file that overlap a region, by start; protein-coding ones, where the file says which are.

    Raises
    ------
    LabelsError
        Missing or not GTF.
    """
    genes, coding = [], []
    try:
        with open_text(path) as lines:
            for line in gtf_lines(path, lines, {"gene"}):
                if line.chrom != region.chrom or line.start >= region.end or line.end <= region.start:
                    continue
                attributes = dict(_ATTRIBUTE.findall(line.attributes))
                name = attributes.get("gene_name") or attributes.get("gene_id", "")
                gene = Gene(line.start, line.end, line.strand, name)
                genes.append(gene)
                if (attributes.get("gene_type") or attributes.get("gene_biotype")) == "protein_coding":
                    coding.append(gene)
    except FileNotFoundError:
        raise LabelsError(f"{path}: no such file; give a GTF annotation") from None
    except (OSError, EOFError, UnicodeDecodeError, gzip.BadGzipFile, zlib.error) as error:
        raise LabelsError(f"{path}: cannot be read as GTF: {error}") from error
    return sorted(coding or genes, key=lambda gene: (gene.start, gene.end))


def segments_in(path: Path, region: Region, colors: tuple[str, ...]) -> list[Segment]:
    """Segments of a BED file that overlap a region, in the colours of a BED9 file or of their names.

    Parameters
    ----------
    path : Path
    region : Region
    colors : tuple of str
        For segments without one of their own, by name.

    Raises
    ------
    GenomeError
        Missing or not BED.
    """
    segments: list[Segment] = []
    own: dict[str, str] = {}
    for _, fields in iter_bed(path):
        name = fields[3] if len(fields) > 3 else ""
        color = (
            own.setdefault(name, _rgb(fields[8]) if len(fields) > 8 else "")
            or colors[list(own).index(name) % len(colors)]
        )
        start, end = int(fields[1]), int(fields[2])
        if fields[0] == region.chrom and start < region.end and end > region.start:
            segments.append(Segment(max(start, region.start), min(end, region.end), name, color))
    return segments


def _rgb(text: str) -> str:
    parts = text.split(",")
    if len(parts) != 3 or not all(part.isdecimal() and int(part) < 256 for part in parts):
        return ""
    return "#" + "".join(f"{int(part):02x}" for part in parts)


def lanes(genes: list[Gene], room: float) -> list[int]:
    """Lane of each gene such that no two in a lane lie within `room` base pairs of each other."""
    ends: list[float] = []
    chosen = []
    for gene in genes:
        free = next((lane for lane, end in enumerate(ends) if gene.start >= end), len(ends))
        if free == len(ends):
            ends.append(0)
        ends[free] = gene.end + room
        chosen.append(free)
    return chosen
