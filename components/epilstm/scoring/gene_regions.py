"""Which bins lie at promoters and in gene bodies, from a gene annotation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from epilstm.genome.assembly import Region, bins_of
from epilstm.genome.bin_range import BinRange
from epilstm.scoring.labels import Gene, read_genes, require_label_files
from epilstm.scoring.tasks import Task

#: Base pairs on each side of a transcription start that count as its promoter, as in the imputation field's MSEprom.
PROMOTER_FLANK = 2_000

#: Names of the kinds of region, which are keys of what `GeneRegions.masks` returns.
PROMOTERS, GENES = "promoters", "genes"


class GeneRegions:
    """Bins that a promoter or a gene body overlaps.

    Parameters
    ----------
    genes : iterable of Gene
        None leaves both kinds empty.
    bin_size : int
        Base pairs.
    """

    def __init__(self, genes: Iterable[Gene], bin_size: int) -> None:
        listed = list(genes)
        self._places = {
            PROMOTERS: _by_chromosome([_promoter(gene) for gene in listed], bin_size),
            GENES: _by_chromosome([gene.body for gene in listed], bin_size),
        }

    def masks(self, block: BinRange) -> dict[str, NDArray[np.bool_]]:
        """(bins,) masks of a block by kind of region; no entries at all without genes."""
        return {kind: _covered(places.get(block.chrom), block) for kind, places in self._places.items() if places}


def gene_regions(tasks: Sequence[Task], labels: Path, bin_size: int) -> GeneRegions:
    """Promoters and gene bodies of the first task with a gene annotation; none without such a task.

    Parameters
    ----------
    tasks : sequence of Task
    labels : Path
        What the tasks' label files are relative to.
    bin_size : int

    Raises
    ------
    LabelsError
        The annotation is missing or malformed.
    """
    for task in tasks:
        annotation = getattr(task.labels, "annotation", None)
        if annotation:
            require_label_files(task, labels)
            return GeneRegions(read_genes(labels / annotation).values(), bin_size)
    return GeneRegions([], bin_size)


def _promoter(gene: Gene) -> Region:
    start = gene.body.start if gene.strand == "+" else gene.body.end
    return Region(gene.body.chrom, max(0, start - PROMOTER_FLANK), start + PROMOTER_FLANK)


def _by_chromosome(regions: Iterable[Region], bin_size: int) -> dict[str, NDArray[np.int64]]:
    places: dict[str, list[tuple[int, int]]] = {}
    for region in regions:
        places.setdefault(region.chrom, []).append(bins_of(region, bin_size))
    return {chrom: np.array(each, dtype=np.int64) for chrom, each in places.items()}


def _covered(places: NDArray[np.int64] | None, block: BinRange) -> NDArray[np.bool_]:
    steps = np.zeros(block.bins + 1, dtype=np.int64)
    if places is not None:
        first, last = np.clip(places - block.first, 0, block.bins).T
        np.add.at(steps, first, 1)
        np.add.at(steps, last, -1)
    covered: NDArray[np.bool_] = np.cumsum(steps[:-1]) > 0
    return covered
