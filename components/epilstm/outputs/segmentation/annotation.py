"""Gene annotation as sets of intervals that states are compared with."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from epilstm.errors import LabelsError
from epilstm.genome import gtf
from epilstm.genome.name_matching import match_names

#: Base pairs on each side of a transcription start site that are taken for its promoter.
PROMOTER_FLANK = 2_000


@dataclass(frozen=True)
class Intervals:
    """Merged intervals by chromosome: (n, 2) int64 arrays of starts and ends, 0-based, half-open."""

    by_chromosome: dict[str, NDArray[np.int64]]

    @classmethod
    def of(cls, intervals: Iterable[tuple[str, int, int]]) -> Intervals:
        """Merge intervals that overlap or touch."""
        gathered: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for chrom, start, end in intervals:
            gathered[chrom].append((max(start, 0), end))
        merged = {}
        for chrom, found in gathered.items():
            joined: list[list[int]] = []
            for start, end in sorted(found):
                if joined and start <= joined[-1][1]:
                    joined[-1][1] = max(joined[-1][1], end)
                else:
                    joined.append([start, end])
            merged[chrom] = np.array(joined, np.int64)
        return cls(merged)

    def covered(self, chrom: str, edges: NDArray[np.int64]) -> NDArray[np.float64]:
        """Base pairs covered between neighbouring edges, (edges - 1,)."""
        intervals = self.by_chromosome.get(chrom)
        if intervals is None:
            return np.zeros(len(edges) - 1)
        # Bases covered before a position: constant between intervals, one per base within them.
        before = np.concatenate([[0], np.cumsum(intervals[:, 1] - intervals[:, 0])])
        totals = np.stack([before[:-1], before[1:]], axis=1).ravel()
        return np.diff(np.interp(edges, intervals.ravel(), totals))


@dataclass(frozen=True)
class Annotation:
    """Features by name, in the order of the table: TSS, TSS_2kb, TES, gene_body and, where the file has exons, exon."""

    features: dict[str, Intervals]


def read_annotation(path: Path, chromosomes: Iterable[str]) -> Annotation:
    """Features of an annotation (GTF or GFF3); of one without gene lines, genes are made of transcripts or exons.

    Raises
    ------
    LabelsError
        Missing, malformed (with the line), or no genes on any of the chromosomes.
    """
    found = gtf.read_annotation(path, exons=True)
    match_names(
        found.chromosomes,
        chromosomes,
        f"--annotation {path}",
        "the embeddings",
        what="genes",
        error=LabelsError,
        partial=logging.INFO,
    )
    genes = [(gene.region.chrom, gene.region.start, gene.region.end, gene.strand) for gene in found.genes]
    starts = [(chrom, start if strand != "-" else end - 1) for chrom, start, end, strand in genes]
    ends = [(chrom, end - 1 if strand != "-" else start) for chrom, start, end, strand in genes]
    features = {
        "TSS": Intervals.of((chrom, base, base + 1) for chrom, base in starts),
        "TSS_2kb": Intervals.of((c, base - PROMOTER_FLANK, base + PROMOTER_FLANK + 1) for c, base in starts),
        "TES": Intervals.of((chrom, base, base + 1) for chrom, base in ends),
        "gene_body": Intervals.of(gene[:3] for gene in genes),
    }
    if found.exons:
        features["exon"] = Intervals.of(found.exons)
    return Annotation(features)
