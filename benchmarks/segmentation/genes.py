"""Genes that a segmentation is measured by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from epilstm.errors import LabelsError
from epilstm.files.text import csv_rows
from epilstm.genome.bin_range import BinRange
from epilstm.outputs.segmentation.annotation import Intervals
from epilstm.scoring.labels import Gene, read_genes, read_rpkm

#: RPKM from which a gene counts as expressed.
EXPRESSED_RPKM = 0.5

#: Base pairs on each side of a transcription start whose bins count as an active TSS.
NEAR_START = 500


@dataclass(frozen=True)
class Genes:
    """Genes, and which of them are active.

    Parameters
    ----------
    genes : list of Gene
    active : (gene,) bool array
        Expressed; all, where nothing is known of expression.
    cell_types : tuple of str
        Whose expression counts; empty where nothing is known of it.
    """

    genes: list[Gene]
    active: NDArray[np.bool_]
    cell_types: tuple[str, ...] = ()

    def near_starts(self) -> Intervals:
        """What lies within `NEAR_START` of the start of an active gene."""
        regions = [gene.tss for gene in self._active()]
        middles = [(region.chrom, (region.start + region.end) // 2) for region in regions]
        return Intervals.of((chrom, base - NEAR_START, base + NEAR_START) for chrom, base in middles)

    def bodies(self) -> Intervals:
        """Bodies of active genes."""
        return Intervals.of((gene.body.chrom, gene.body.start, gene.body.end) for gene in self._active())

    def _active(self) -> list[Gene]:
        return [gene for gene, active in zip(self.genes, self.active, strict=True) if active]


def touched(intervals: Intervals, bin_range: BinRange, bin_size: int) -> NDArray[np.bool_]:
    """Which bins of a bin range have a base in some intervals."""
    edges = np.arange(bin_range.first, bin_range.last + 1, dtype=np.int64) * bin_size
    return intervals.covered(bin_range.chrom, edges) > 0


def read_active_genes(
    annotation: Path, expression: Path | None, cell_types: Sequence[str], known: Sequence[str]
) -> Genes:
    """Genes of an annotation; with a table of expression, those that it lists, active if expressed in any cell type.

    Parameters
    ----------
    annotation : Path
        GTF or GFF3.
    expression : Path or None
        RPKM by gene and cell type.
    cell_types : sequence of str
        Columns of the table; none for those of `known` that it has.
    known : sequence of str
        Cell types of the tracks.

    Raises
    ------
    LabelsError
        A file is missing or malformed, or the table has none of the cell types or no gene of the annotation.
    """
    genes = read_genes(annotation)
    if expression is None:
        return Genes(list(genes.values()), np.ones(len(genes), bool))
    chosen = list(cell_types) or cell_types_in(expression, known)
    table = read_rpkm(expression, chosen)
    listed = [gene_id for gene_id in table[chosen[0]] if gene_id in genes]
    if not listed:
        raise LabelsError(f"{expression}: none of its genes is in {annotation}; do the ids agree?")
    highest = np.array([max(table[cell][gene_id] for cell in chosen) for gene_id in listed])
    return Genes([genes[gene_id] for gene_id in listed], highest >= EXPRESSED_RPKM, tuple(chosen))


def cell_types_in(expression: Path, known: Sequence[str]) -> list[str]:
    """Cell types of the tracks that a table of expression has a column of.

    Raises
    ------
    LabelsError
        There are none.
    """
    _, header = next(csv_rows(expression, "a table of expression", LabelsError), (1, []))
    columns = {name.strip() for name in header[1:]}
    found = [cell for cell in dict.fromkeys(known) if cell in columns]
    if not found:
        raise LabelsError(f"{expression}: has none of the cell types of the tracks; name a column with --cell-type")
    return found
