"""Which bins are compared."""

from epilstm.genome.bin_range import BinRange
from epilstm.steps.monitor.sample import BLOCK_BINS, blocks_of, longest, overlap


def test_bins_in_both_are_those_in_each():
    ours, theirs = [(0, 100), (200, 300)], [(50, 250), (280, 400)]
    both = {place for first, last in overlap(ours, theirs) for place in range(first, last)}
    ranged = [{place for first, last in each for place in range(first, last)} for each in (ours, theirs)]
    assert both == ranged[0] & ranged[1]


def test_short_regions_are_taken_whole():
    assert blocks_of({"chr1": [(5, 50), (70, 90)]}, 1000) == [BinRange("chr1", 5, 50), BinRange("chr1", 70, 90)]


def test_a_long_chromosome_is_sampled_evenly_and_within_the_budget():
    blocks = blocks_of({"chr1": [(0, 100 * BLOCK_BINS)]}, 5 * BLOCK_BINS)
    assert sum(block.bins for block in blocks) == 5 * BLOCK_BINS
    assert [block.first // BLOCK_BINS for block in blocks] == [10, 30, 50, 70, 90]


def test_a_region_a_little_longer_than_a_block_leaves_no_short_rest():
    blocks = blocks_of({"chr1": [(0, BLOCK_BINS + 2), (90_000, 90_000 + 2 * BLOCK_BINS + 5)]}, BLOCK_BINS)
    assert min(block.bins for block in blocks) >= BLOCK_BINS // 2


def test_of_many_chromosomes_the_longest_are_sampled():
    ranges = {"scaffold_1": [(0, 5)], "chr2": [(0, 50), (60, 70)], "scaffold_2": [(3, 6)], "chr1": [(0, 80)]}
    assert list(longest(ranges, most=2)) == ["chr2", "chr1"]
    assert longest(ranges) == ranges
