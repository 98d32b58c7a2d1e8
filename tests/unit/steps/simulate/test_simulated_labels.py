"""The labels of the simulated epigenome follow from its states, with noise."""

from __future__ import annotations

import numpy as np
import pytest

from epilstm.steps.simulate.labels import (
    LABEL_BINS,
    frequently_interacting_regions,
    gene_expression,
    promoter_enhancer_pairs,
    replication_timing,
    top_share,
)
from epilstm.steps.simulate.landscape import Domain, State, build_landscape
from support.nonempty import nonempty

LENGTHS = [100_000, 100_003, 150_000, 1_000_000, 2_000_000]


def landscape(length=2_000_000, seed=0):
    return build_landscape(np.random.default_rng([length, seed]), length, 2)


def rng():
    return np.random.default_rng(1)


def active_domain(drawn, cell_type=0):
    """Mean of +1 (active) and -1 (inactive) over each label bin, by a plain loop over domains."""
    bases = np.empty(drawn.length)
    ends = np.append(drawn.domain_start[1:], drawn.length)
    for start, end, domain in zip(drawn.domain_start, ends, drawn.domain[cell_type], strict=True):
        bases[start:end] = 1 if domain == Domain.ACTIVE else -1
    bins = drawn.length // LABEL_BINS
    return bases[: bins * LABEL_BINS].reshape(bins, -1).mean(axis=1)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("seed", range(8))
def test_every_task_has_both_classes_on_every_chromosome(length, seed):
    drawn = landscape(length, seed)
    rpkm = np.stack([gene.rpkm for gene in gene_expression(rng(), drawn)])
    labels = [rpkm[:, 0] >= 0.5, rpkm[:, 1] >= 0.5]
    labels += [[pair.label for pair in promoter_enhancer_pairs(rng(), drawn, cell)] for cell in (0, 1)]
    labels += [frequently_interacting_regions(rng(), drawn, 0), replication_timing(rng(), drawn, 0) >= 0]
    for label in labels:
        assert set(map(int, label)) == {0, 1}


def test_expression_follows_activity_but_not_always():
    agree = []
    for seed in range(5):
        drawn = landscape(seed=seed)
        promoter = np.isin(drawn.element, (3, 6))
        rpkm = np.stack([gene.rpkm for gene in gene_expression(rng(), drawn)], axis=1)
        agree.append(((rpkm >= 0.5) == drawn.active[:, promoter]).mean())
    assert 0.9 < np.mean(agree) < 0.995


def test_a_gene_begins_at_the_middle_of_its_promoter():
    drawn = landscape()
    promoters = np.flatnonzero(np.isin(drawn.element, (3, 6)))
    for gene, promoter in nonempty(zip(gene_expression(rng(), drawn), promoters, strict=True)):
        site = gene.start if gene.strand == "+" else gene.end
        assert site == (drawn.start[promoter] + drawn.end[promoter]) // 2
        assert gene.end - gene.start >= 1_500


def test_pairs_join_active_promoters_and_enhancers_at_a_distance():
    drawn = landscape()
    spans = dict(zip(zip(drawn.start.tolist(), drawn.end.tolist(), strict=True), drawn.state[1], strict=True))
    pairs = promoter_enhancer_pairs(rng(), drawn, 1)
    assert len(set(pairs)) == len(pairs) > 50
    for pair in nonempty(pairs):
        assert spans[pair.promoter] == State.ACTIVE_PROMOTER
        assert spans[pair.enhancer] == State.ACTIVE_ENHANCER
        assert max(pair.promoter[0], pair.enhancer[0]) - min(pair.promoter[1], pair.enhancer[1]) > 0
        assert abs(sum(pair.promoter) - sum(pair.enhancer)) / 2 <= 300_001
    assert np.mean([pair.label for pair in pairs]) == pytest.approx(0.2, abs=0.02)


def test_interacting_pairs_are_nearer_than_others():
    pairs = promoter_enhancer_pairs(rng(), landscape(), 0)
    distance = np.array([abs(sum(pair.promoter) - sum(pair.enhancer)) / 2 for pair in pairs])
    label = np.array([pair.label for pair in pairs], dtype=bool)
    assert np.median(distance[label]) < 0.7 * np.median(distance[~label])


def test_frequently_interacting_regions_are_rich_in_active_enhancers():
    drawn = landscape()
    label = frequently_interacting_regions(rng(), drawn, 0).astype(bool)
    enhancers = np.zeros(drawn.length)
    for segment in np.flatnonzero(drawn.state[0] == State.ACTIVE_ENHANCER):
        enhancers[drawn.start[segment] : drawn.end[segment]] = 1
    density = enhancers.reshape(-1, LABEL_BINS).mean(axis=1)
    assert density[label].mean() > 3 * density[~label].mean()
    assert label.mean() == pytest.approx(0.15, abs=0.01)


def test_replication_is_early_in_active_domains_and_smooth():
    drawn = landscape()
    timing = replication_timing(rng(), drawn, 0)
    domain = active_domain(drawn)
    assert np.corrcoef(timing, domain)[0, 1] > 0.8
    assert np.corrcoef(timing[:-1], timing[1:])[0, 1] > 0.8
    assert (timing[domain == 1] >= 0).mean() > 0.85


def test_the_top_share_is_at_least_one_and_never_all():
    assert top_share(np.array([3.0, 1.0, 2.0, 0.0]), 0.5).tolist() == [1, 0, 1, 0]
    assert top_share(np.array([1.0, 2.0]), 0.01).tolist() == [0, 1]
    assert top_share(np.array([1.0, 2.0]), 0.99).tolist() == [0, 1]
    assert top_share(np.zeros(0), 0.5).tolist() == []
