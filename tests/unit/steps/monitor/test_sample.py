"""Which bins are compared."""

from epilstm.genome.bin_range import BinRange
from epilstm.steps.monitor.sample import (
    BLOCK_BINS,
    GROUP_BINS,
    MOST_GROUPS,
    blocks_of,
    groups_of,
    named_blocks,
    overlap,
)


def test_bins_in_both_are_those_in_each():
    one, other = [(0, 100), (200, 300)], [(50, 250), (280, 400)]
    both = {place for first, last in overlap(one, other) for place in range(first, last)}
    ranged = [{place for first, last in each for place in range(first, last)} for each in (one, other)]
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


def test_few_chromosomes_are_each_compared_by_themselves():
    ranges = {"scaffold_1": [(0, 5)], "chr2": [(0, 50), (60, 70)], "chr1": [(0, 80)]}
    assert groups_of(ranges) == [["scaffold_1"], ["chr2"], ["chr1"]]


def test_of_many_chromosomes_the_short_ones_are_compared_in_a_few_groups():
    scaffolds = {f"scaffold_{number}": [(0, 50)] for number in range(30_000)}
    ranges = {**scaffolds, "chr1": [(0, 3 * GROUP_BINS)], "chr2": [(0, GROUP_BINS // 2), (9_000, 9_000 + GROUP_BINS)]}
    groups = groups_of(ranges)
    assert groups[:2] == [["chr1"], ["chr2"]]
    assert len(groups) == 2 + MOST_GROUPS
    assert [len(group) for group in groups[2:]] == [GROUP_BINS // 50] * MOST_GROUPS
    assert (groups[2][0], groups[-1][-1]) == ("scaffold_0", "scaffold_29999")  # spread from the first to the last
    blocks = named_blocks(ranges, 100_000)
    assert [*blocks][:3] == ["chr1", "chr2", "scaffold_0 and 99 more"]
    assert blocks["scaffold_0 and 99 more"][:2] == [BinRange("scaffold_0", 0, 50), BinRange("scaffold_1", 0, 50)]
