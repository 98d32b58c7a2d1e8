"""Genes and exons of an annotation, GTF or GFF3, with 0-based, half-open coordinates."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from epilstm.errors import LabelsError
from epilstm.files.text import text_lines, whole_number
from epilstm.genome.assembly import Region

#: Features that stand for genes, from the best down: what genes are made of where an annotation lacks the better ones.
GENE_FEATURES = frozenset({"gene", "ncRNA_gene", "pseudogene"})
TRANSCRIPT_FEATURES = frozenset({"transcript", "mRNA"})
EXON_FEATURES = frozenset({"exon"})

_LEVELS = {
    **dict.fromkeys(EXON_FEATURES, 1),
    **dict.fromkeys(TRANSCRIPT_FEATURES, 2),
    **dict.fromkeys(GENE_FEATURES, 3),
}

#: GTF: ``key "value";`` GFF3: ``key=value;``.
_ATTRIBUTE = re.compile(r'\s*([^\s=;"]+)(?:\s*=\s*|\s+)(?:"([^"]*)"|([^;"]*))\s*(?:;|$)')

#: GFF3's ids say what they are of: ``gene:ENSG...`` (Ensembl), ``gene-TP53`` (NCBI).
_GENE_PREFIX = re.compile(r"^gene[:-]")

#: GENCODE lists the genes of the pseudoautosomal regions on both sex chromosomes; the ids of those on Y end so.
SECOND_COPY = "_PAR_Y"


class GtfLine(NamedTuple):
    """A feature of an annotation.

    Parameters
    ----------
    number : int
        Of the line.
    start, end : int
        0-based, half-open; the file counts from 1 and includes the end.
    strand : str
        As the file has it.
    attributes : str
        The last column, not taken apart.
    """

    number: int
    feature: str
    chrom: str
    start: int
    end: int
    strand: str
    attributes: str


@dataclass(frozen=True)
class AnnotatedGene:
    """A gene.

    Parameters
    ----------
    where : str
        ``file:line`` of its (first) line, for messages.
    gene_id : str
        Empty where the file has none.
    name : str
        Its symbol, or else its id.
    biotype : str
        Such as ``protein_coding``; empty where the file has none.
    strand : str
        As the file has it.
    """

    where: str
    gene_id: str
    name: str
    biotype: str
    region: Region
    strand: str


@dataclass(frozen=True)
class GeneAnnotation:
    """What an annotation holds.

    Parameters
    ----------
    genes : list of AnnotatedGene
        In the order of the file.
    exons : list of (chrom, start, end)
        Empty unless asked for.
    made_of : str
        ``gene``, ``transcript`` or ``exon``: the features that the genes were made of.
    chromosomes : Counter of str
        Genes on each chromosome.
    """

    genes: list[AnnotatedGene]
    exons: list[tuple[str, int, int]]
    made_of: str
    chromosomes: Counter[str] = field(default_factory=Counter)


def gtf_lines(path: Path, features: Container[str]) -> Iterator[GtfLine]:
    """Lines of some features; others are checked for their columns only. Sequences at the end (GFF3) are not read.

    Parameters
    ----------
    path : Path
        GTF or GFF3, gzipped or not.
    features : container of str
        Such as ``gene``, ``transcript``, ``exon``; looked at for every line anew.

    Raises
    ------
    LabelsError
        The file is missing or unreadable, a line has too few columns, or a feature's coordinates are none.
    """
    for number, line in text_lines(path, "GTF", LabelsError):
        fields = line.split("\t", 8)
        if len(fields) < 9 or line[0] == "#":
            if line[:7] == "##FASTA" or line[:1] == ">":
                return
            if line[:1] == "#" or not line.strip() or line.split()[0] in ("track", "browser"):
                continue
            raise LabelsError(f"{path}:{number}: expected the 9 tab-separated columns of GTF, got {len(fields)}")
        chrom, _, feature, start, end, _, strand, _, attributes = fields
        if feature not in features:
            continue
        first, last = whole_number(start), whole_number(end)
        if first is None or last is None or not 1 <= first <= last:
            raise LabelsError(f"{path}:{number}: expected 1 <= start <= end, got {start!r} and {end!r}")
        yield GtfLine(number, feature, chrom, first - 1, last, strand, attributes)


def read_annotation(path: Path, exons: bool = False) -> GeneAnnotation:
    """Genes of an annotation, and its exons where they are asked for.

    Genes are the file's gene lines. In a file without any, they are the spans of the transcripts that share a gene id,
    chromosome and strand, and in one without those, of the exons.

    Parameters
    ----------
    path : Path
        GTF or GFF3, gzipped or not.
    exons : bool
        Whether exons are kept.

    Raises
    ------
    LabelsError
        Missing, malformed (with the line), or no genes in it.
    """
    wanted = set(_LEVELS)
    best = 0
    genes: list[AnnotatedGene] = []
    spans: dict[tuple[str, str, str], GtfLine] = {}
    kept: list[tuple[str, int, int]] = []
    for line in gtf_lines(path, wanted):
        level = _LEVELS[line.feature]
        if level == 1 and exons:
            kept.append((line.chrom, line.start, line.end))
        if level < best:
            continue
        if level > best:
            best = level
            spans.clear()
            wanted -= {feature for feature, other in _LEVELS.items() if other < best and not (exons and other == 1)}
        if level == 3:
            genes.append(_gene(path, line))
        else:
            _extend(spans, line)
    genes += [_gene(path, line) for line in spans.values()]
    if not genes:
        raise LabelsError(f"{path}: no gene, transcript or exon lines in the file; is it a GTF or GFF3 annotation?")
    made_of = {1: "exon", 2: "transcript", 3: "gene"}[best]
    return GeneAnnotation(genes, kept, made_of, Counter(gene.region.chrom for gene in genes))


def _extend(spans: dict[tuple[str, str, str], GtfLine], line: GtfLine) -> None:
    """Widen the gene that a transcript or exon belongs to; one that names no gene stands for itself."""
    attributes = attributes_of(line.attributes)
    gene = attributes.get("gene_id") or attributes.get("gene") or attributes.get("Parent") or f"line {line.number}"
    key = gene, line.chrom, line.strand
    held = spans.setdefault(key, line)
    spans[key] = held._replace(start=min(held.start, line.start), end=max(held.end, line.end))


def attributes_of(text: str) -> dict[str, str]:
    """The last column of GTF or GFF3 as a mapping; of a key given twice, the first value."""
    found: dict[str, str] = {}
    for key, quoted, bare in _ATTRIBUTE.findall(text):
        found.setdefault(key, quoted or bare.strip())
    return found


def _gene(path: Path, line: GtfLine) -> AnnotatedGene:
    found = attributes_of(line.attributes)
    # Only of a gene line are ID and Name those of the gene; of an exon they are the exon's.
    own = found if line.feature in GENE_FEATURES else {}
    gene_id = unquote(found.get("gene_id") or _GENE_PREFIX.sub("", own.get("ID") or found.get("gene", "")))
    return AnnotatedGene(
        where=f"{path}:{line.number}",
        gene_id=gene_id,
        name=unquote(found.get("gene_name") or own.get("Name") or found.get("gene") or gene_id),
        biotype=found.get("gene_type") or found.get("gene_biotype") or found.get("biotype") or "",
        region=Region(line.chrom, line.start, line.end),
        strand=line.strand,
    )
