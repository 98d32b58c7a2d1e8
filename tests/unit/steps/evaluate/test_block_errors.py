"""Errors by blocks of genome, against plain loops over all bins."""

import numpy as np
import pytest

from epilstm.scoring.gene_regions import GENES, PROMOTERS
from epilstm.steps.evaluate.block_errors import BlockErrors
from epilstm.steps.evaluate.measures import SignalErrors

BINS, TRACKS = 900, 3
#: Bins of each block, in the order in which they are added; the second comes in two parts.
PARTS = [(0, slice(0, 150)), (1, slice(150, 300)), (1, slice(300, 500)), (2, slice(500, 900))]


def distinct(seed: int) -> np.ndarray:
    """Values of which no two share a ranking cell."""
    random = np.random.default_rng(seed)
    cells = np.stack([random.permutation(np.arange(2_600, 3_600))[:BINS] for _ in range(TRACKS)], axis=1)
    return ((cells << 4) & 0x7FFF).astype(np.uint16).view(np.float16).astype(np.float32)


def test_the_top_bins_are_those_of_all_blocks_together() -> None:
    observed, predicted = distinct(1), distinct(2)
    errors = BlockErrors(TRACKS, 3, BINS)
    for block, part in PARTS:
        errors.add(block, observed[part], predicted[part], {})
    sums = errors.sums()
    assert set(sums) == {"mse_global", "mse_1obs", "mse_1imp"}
    for measure, ranking in (("mse_1obs", observed), ("mse_1imp", predicted)):
        for track in range(TRACKS):
            top = set(np.argsort(ranking[:, track])[-9:].tolist())
            for block in range(3):
                bins = [b for n, part in PARTS if n == block for b in range(BINS)[part] if b in top]
                squares = [(float(observed[b, track]) - float(predicted[b, track])) ** 2 for b in bins]
                assert sums[measure][0][block, track] == pytest.approx(sum(squares))
                assert sums[measure][1][block, track] == len(bins)


def test_sums_over_blocks_are_the_measures_of_all_bins_with_ties_and_regions() -> None:
    random = np.random.default_rng(3)
    observed = np.round(random.gamma(0.5, 2, size=(BINS, TRACKS))).astype(np.float32)
    predicted = np.round(observed + random.normal(size=(BINS, TRACKS))).astype(np.float32)
    regions = {PROMOTERS: random.random(BINS) < 0.1, GENES: random.random(BINS) < 0.4}
    by_block, whole = BlockErrors(TRACKS, 3, BINS), SignalErrors(TRACKS)
    for block, part in PARTS:
        own = {kind: mask[part] for kind, mask in regions.items()}
        by_block.add(block, observed[part], predicted[part], own)
        whole.add(observed[part], predicted[part], own)
    expected, sums = whole.per_track(), by_block.sums()
    assert set(sums) == {"mse_global", "mse_1obs", "mse_1imp", "mse_prom", "mse_gene"}
    for measure, (squared, bins) in sums.items():
        np.testing.assert_allclose(squared.sum(axis=0) / bins.sum(axis=0), expected[measure])


def test_memory_is_that_of_the_top_bins() -> None:
    random = np.random.default_rng(4)
    errors = BlockErrors(1, 10, 100_000)
    for block in range(10):
        values = random.gamma(0.5, 2, size=(10_000, 1)).astype(np.float32)
        errors.add(block, values, values, {})
    kept = len(errors.top["mse_1obs"].kept[0])
    assert 1_000 <= kept < 2_000
