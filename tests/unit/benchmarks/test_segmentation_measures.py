"""Average precision of states, from counts, and which bins and genes are counted."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from benchmarks.segmentation.genes import Genes
from benchmarks.segmentation.measures import (
    counted,
    precision_of_expressed_genes,
    precision_of_ranked_states,
)
from epilstm.genome.assembly import Region
from epilstm.genome.bin_range import BinRange
from epilstm.outputs.segmentation.states import NO_STATE
from epilstm.scoring.labels import Gene

BIN = 25


@pytest.mark.parametrize("seed", range(5))
def test_average_precision_from_counts_is_that_of_scikit_learn_for_the_bins(seed):
    random = np.random.default_rng(seed)
    training, scored = random.integers(0, 30, (6, 2)), random.integers(0, 30, (6, 2))
    # Two states of the same score are one threshold, and one that training lacks has a score of 0.
    training[1] = 2 * training[0]
    training[2] = 0
    score = training[:, 1] / np.maximum(training.sum(axis=1), 1)
    labels = np.concatenate([np.repeat([0, 1], own) for own in scored])
    expected = average_precision_score(labels, np.repeat(score, scored.sum(axis=1)))
    assert precision_of_ranked_states(training, scored) == pytest.approx(expected, rel=1e-12)


def test_states_are_ranked_by_training_and_not_by_what_is_scored():
    training, scored = np.array([[0, 10], [10, 0]]), np.array([[10, 0], [0, 10]])
    assert precision_of_ranked_states(training, training) == 1
    assert precision_of_ranked_states(training, scored) == 0.5


def test_bins_without_a_state_and_genes_without_expression_are_no_positives():
    genes = Genes(
        [
            Gene(Region("chr1", 1_000, 2_000), "+"),
            Gene(Region("chr1", 3_000, 4_000), "-"),
            Gene(Region("chr1", 6_000, 7_000), "+"),
        ],
        np.array([True, True, False]),
        ("A",),
    )
    states = np.zeros(400, np.uint8)
    states[40:80] = 1
    states[150:] = NO_STATE
    counts = counted([(BinRange("chr1", 0, 400), states)], genes, 2, BIN)
    # 500 to 1,500 around the first start; 3,500 to 4,500 around the second, of which 3,750 on has no state.
    np.testing.assert_array_equal(counts.bins["active_tss"], [[110 - 20 - 10, 20 + 10], [40 - 20, 20]])
    np.testing.assert_array_equal(counts.bins["gene_body"], [[110 - 30, 30], [0, 40]])
    np.testing.assert_array_equal(counts.usable, [True, True, False])
    # Body, then 1 kb on each side of the start.
    np.testing.assert_array_equal(counts.windows[0], [[0, 40], [40, 40]])
    np.testing.assert_allclose(counts.shares()[0], [0, 1, 0.5, 0.5])


def test_counts_of_a_gene_that_two_bin_ranges_hold_add_up():
    genes = Genes([Gene(Region("chr1", 1_000, 2_000), "+")], np.ones(1, bool))
    states = np.random.default_rng(1).integers(0, 3, 400).astype(np.uint8)
    whole = counted([(BinRange("chr1", 0, 400), states)], genes, 3, BIN)
    halves = counted([(BinRange("chr1", 0, 53), states[:53]), (BinRange("chr1", 53, 400), states[53:])], genes, 3, BIN)
    np.testing.assert_array_equal(whole.windows, halves.windows)
    np.testing.assert_array_equal(whole.bins["active_tss"], halves.bins["active_tss"])
    assert whole.windows.sum() == 40 + 80


def gene_counts(marked: np.ndarray, cell_types: tuple[str, ...] = ("A",)):
    """Genes of 1 kb every 4 kb; those that are `marked` are in state 1 and expressed."""
    genes = [Gene(Region("chr1", first, first + 1_000), "+") for first in range(2_000, 4_000 * len(marked), 4_000)]
    states = np.zeros(160 * len(marked), np.uint8)
    for gene, state in zip(genes, marked, strict=True):
        states[gene.body.start // BIN : gene.body.end // BIN] = state
    return counted([(BinRange("chr1", 0, len(states)), states)], Genes(genes, marked, cell_types), 2, BIN)


def test_expressed_genes_are_found_by_their_states():
    random = np.random.default_rng(2)
    training, scored = (gene_counts(random.random(30) < 0.5) for _ in range(2))
    assert precision_of_expressed_genes(gene_counts(training.genes.active), scored) == 1


def test_expression_is_not_scored_where_nothing_is_known_of_it_or_all_genes_are_alike():
    mixed = np.arange(30) % 2 == 0
    assert precision_of_expressed_genes(gene_counts(mixed, ()), gene_counts(mixed, ())) is None
    assert precision_of_expressed_genes(gene_counts(mixed), gene_counts(np.ones(30, bool))) is None
