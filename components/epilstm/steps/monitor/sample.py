"""Which bins are looked at: a few long blocks of each chromosome, the same every time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from epilstm.genome.bin_range import BinRange

Ranges = Sequence[tuple[int, int]]

#: Chromosomes looked at, at most: each is run and compared by itself, and a scaffold says little.
MOST_CHROMOSOMES = 500

#: Bins of a block, about: long beside what a network remembers, short beside memory.
BLOCK_BINS = 20_000


def overlap(first: Ranges, second: Ranges) -> list[tuple[int, int]]:
    """Bins in both of two lists of ranges (first, one past last), each in order and without overlap."""
    both = [(max(a, c), min(b, d)) for a, b in first for c, d in second]
    return sorted((first, last) for first, last in both if first < last)


def longest(ranges: Mapping[str, Ranges], most: int = MOST_CHROMOSOMES) -> dict[str, Ranges]:
    """The chromosomes with the most bins, at most so many; in the order given."""
    bins = {chrom: sum(last - first for first, last in own) for chrom, own in ranges.items()}
    chosen = set(sorted(bins, key=lambda chrom: -bins[chrom])[:most])
    return {chrom: own for chrom, own in ranges.items() if chrom in chosen}


def blocks_of(ranges: Mapping[str, Ranges], bins_per_chromosome: int) -> list[BinRange]:
    """Blocks spread evenly over each chromosome's ranges, of about so many bins in all, or every bin if fewer.

    Parameters
    ----------
    ranges : mapping of str to sequence of (int, int)
        By chromosome: first and one-past-last bins.
    bins_per_chromosome : int
    """
    size = min(BLOCK_BINS, bins_per_chromosome)
    chosen: list[BinRange] = []
    for chrom, stretches in ranges.items():
        blocks = [block for begin, last in stretches for block in equal_parts(chrom, begin, last, size)]
        wanted = round(bins_per_chromosome * len(blocks) / max(sum(block.bins for block in blocks), 1))
        if len(blocks) > wanted:
            # The middle of each of so many equal parts of the list.
            places = np.floor((np.arange(wanted) + 0.5) * len(blocks) / wanted).astype(int)
            blocks = [blocks[place] for place in places]
        chosen += blocks
    return chosen


def equal_parts(chrom: str, first: int, last: int, size: int) -> list[BinRange]:
    """A stretch cut into parts of about a size, of equal length: a short rest would be a poor sample by itself."""
    parts = max(1, round((last - first) / size))
    edges = np.linspace(first, last, parts + 1).round().astype(int).tolist()
    return [BinRange(chrom, begin, end) for begin, end in pairwise(edges)]
