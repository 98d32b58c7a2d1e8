"""Which bins are looked at: a few long blocks of each chromosome, the same every time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from epilstm.genome.bin_range import BinRange

Ranges = Sequence[tuple[int, int]]

#: Chromosomes that are each compared by themselves, at most.
MOST_CHROMOSOMES = 500

#: Of more chromosomes, those with fewer bins are compared in groups of about so many bins, and of so many groups.
GROUP_BINS, MOST_GROUPS = 5_000, 20

#: Bins of a block, about: long beside what a network remembers, short beside memory.
BLOCK_BINS = 20_000


def overlap(first: Ranges, second: Ranges) -> list[tuple[int, int]]:
    """Bins in both of two lists of ranges (first, one past last), each in order and without overlap."""
    both = [(max(a, c), min(b, d)) for a, b in first for c, d in second]
    return sorted((first, last) for first, last in both if first < last)


def groups_of(ranges: Mapping[str, Ranges], most: int = MOST_CHROMOSOMES) -> list[list[str]]:
    """Chromosomes that are compared together, in the order given.

    Each by itself, where there are at most `most`. Of more, those with `GROUP_BINS` bins or more each by itself (the
    `most` longest of them), and the others in groups of about `GROUP_BINS` bins, of which `MOST_GROUPS` spread evenly
    over them are chosen: a scaffold says little by itself.
    """
    if len(ranges) <= most:
        return [[chrom] for chrom in ranges]
    bins = {chrom: sum(last - first for first, last in own) for chrom, own in ranges.items()}
    long = [chrom for chrom in sorted(bins, key=lambda chrom: -bins[chrom])[:most] if bins[chrom] >= GROUP_BINS]
    own, groups, size = set(long), list[list[str]](), GROUP_BINS
    for chrom in ranges:
        if chrom in own or bins[chrom] >= GROUP_BINS:
            continue
        if size >= GROUP_BINS:
            groups.append([])
            size = 0
        groups[-1].append(chrom)
        size += bins[chrom]
    places = np.linspace(0, len(groups) - 1, min(MOST_GROUPS, len(groups))).round().astype(int)
    return [[chrom] for chrom in ranges if chrom in own] + [groups[place] for place in places]


def named_blocks(ranges: Mapping[str, Ranges], bins_per_chromosome: int) -> dict[str, list[BinRange]]:
    """Blocks (see `blocks_of`) by the name of the chromosome or group that they are counted for."""
    found = {}
    for group in groups_of(ranges):
        name = group[0] if len(group) == 1 else f"{group[0]} and {len(group) - 1:,} more"
        found[name] = blocks_of({chrom: ranges[chrom] for chrom in group}, bins_per_chromosome)
    return found


def blocks_of(ranges: Mapping[str, Ranges], bins_per_chromosome: int) -> list[BinRange]:
    """Blocks spread evenly over each chromosome's ranges, of about so many bins in all, or every bin if fewer.

    Parameters
    ----------
    ranges : mapping of str to sequence of (int, int)
        By chromosome: first and one-past-last bins.
    """
    size = min(BLOCK_BINS, bins_per_chromosome)
    chosen: list[BinRange] = []
    for chrom, bin_ranges in ranges.items():
        blocks = [block for begin, last in bin_ranges for block in equal_parts(chrom, begin, last, size)]
        wanted = round(bins_per_chromosome * len(blocks) / max(sum(block.bins for block in blocks), 1))
        if len(blocks) > wanted:
            # The middle of each of so many equal parts of the list.
            places = np.floor((np.arange(wanted) + 0.5) * len(blocks) / wanted).astype(int)
            blocks = [blocks[place] for place in places]
        chosen += blocks
    return chosen


def equal_parts(chrom: str, first: int, last: int, size: int) -> list[BinRange]:
    """A bin range cut into parts of about a size, of equal length: a short rest would be a poor sample by itself."""
    parts = max(1, round((last - first) / size))
    edges = np.linspace(first, last, parts + 1).round().astype(int).tolist()
    return [BinRange(chrom, begin, end) for begin, end in pairwise(edges)]
