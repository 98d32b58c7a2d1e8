"""Means over the regions of a BED file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from epilstm.errors import GenomeError
from epilstm.genome.assembly import Placement, Region, bed_intervals, bins_of
from epilstm.tracks.bigwig_columns import BinValues


@dataclass(frozen=True)
class NamedRegion:
    """A region of a BED file, with its name: the fourth column, or where it is."""

    region: Region
    name: str


def read_named_regions(path: Path, sizes: dict[str, int]) -> list[NamedRegion]:
    """Regions of a BED file in genome order; those elsewhere are left out and counted in a warning.

    Parameters
    ----------
    sizes : dict of str to int
        Length of each chromosome that there are values of, in order.

    Raises
    ------
    GenomeError
        Missing, not BED, no regions, or none on any of the chromosomes.
    """
    placement = Placement(sizes)
    found = []
    for _, interval, fields in bed_intervals(path):
        region = placement.place(interval)
        if region is not None:
            found.append(NamedRegion(region, fields[3] if len(fields) > 3 and fields[3] else str(interval)))
    placement.report(f"--bed {path}", "the data set")
    if not found:
        raise GenomeError(f"--bed {path}: no regions in the file")
    order = {chrom: rank for rank, chrom in enumerate(sizes)}
    return sorted(found, key=lambda each: (order[each.region.chrom], each.region.start, each.region.end))


@dataclass
class Pool:
    """Means over regions, added up as pieces come; memory is that of one mean per region."""

    regions: Sequence[NamedRegion]
    columns: int
    bin_size: int

    def __post_init__(self) -> None:
        self.sums = np.zeros((len(self.regions), self.columns))
        self.bins = np.zeros(len(self.regions), np.int64)
        self._places: dict[str, NDArray[np.int64]] = {}
        self._ranges = np.array([bins_of(each.region, self.bin_size) for each in self.regions], np.int64).reshape(-1, 2)
        chroms = np.array([each.region.chrom for each in self.regions], dtype=np.str_)
        for chrom in dict.fromkeys(chroms.tolist()):
            self._places[chrom] = np.flatnonzero(chroms == chrom)

    def add(self, piece: BinValues) -> None:
        """Add a piece; a bin counts in every region that touches it."""
        places = self._places.get(piece.chrom, np.empty(0, np.int64))
        last = piece.first + len(piece.values)
        firsts, ends = self._ranges[places].T
        there = piece.there
        for place in places[(firsts < last) & (piece.first < ends)]:
            first, end = self._ranges[place]
            part = slice(max(first - piece.first, 0), min(end - piece.first, len(piece.values)))
            kept = piece.values[part][there[part]]
            self.sums[place] += kept.sum(axis=0, dtype=np.float64)
            self.bins[place] += len(kept)

    def rows(self) -> Iterator[tuple[str, NDArray[np.int64], NDArray[np.float32]]]:
        """Chromosome, places of its regions that have data, and their means (region, column)."""
        for chrom, places in self._places.items():
            kept = places[self.bins[places] > 0]
            yield chrom, kept, (self.sums[kept] / self.bins[kept, None]).astype(np.float32)
