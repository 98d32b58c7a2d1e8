"""The simulated chromosome: domains, the semi-Markov chain, and chromatin states."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from epilstm.steps.simulate.landscape import (
    AFTER_INTERGENIC,
    DURATIONS,
    GRID,
    INTERGENIC_DURATION,
    NEXT,
    Domain,
    Element,
    State,
    build_landscape,
    chromatin_states,
    domain_length,
)
from support.nonempty import nonempty

LENGTHS = [100_000, 100_003, 150_000, 1_000_000, 2_000_000]


def landscape(length=2_000_000, cell_types=4, seed=0):
    return build_landscape(np.random.default_rng(seed), length, cell_types)


@pytest.mark.parametrize("length", LENGTHS)
def test_segments_and_domains_tile_the_chromosome_on_the_grid(length):
    drawn = landscape(length)
    assert drawn.start[0] == drawn.domain_start[0] == 0
    assert drawn.end[-1] == length
    assert (drawn.end[:-1] == drawn.start[1:]).all()
    assert (drawn.end > drawn.start).all()
    assert (drawn.start % GRID == 0).all()
    assert (drawn.domain_start % GRID == 0).all()


def test_what_follows_what_is_what_the_chain_allows():
    elements = [Element(element) for element in landscape().element]
    for element, following in nonempty(itertools.pairwise(elements)):
        assert following in (AFTER_INTERGENIC if element == Element.INTERGENIC else (NEXT[element],))


def test_every_gene_is_whole():
    drawn = landscape()
    genes = [
        tuple(Element(element) for element in drawn.element[drawn.gene == gene]) for gene in range(drawn.gene.max() + 1)
    ]
    forward = (Element.FLANK_FORWARD, Element.PROMOTER_FORWARD, Element.BODY_FORWARD)
    reverse = (Element.BODY_REVERSE, Element.PROMOTER_REVERSE, Element.FLANK_REVERSE)
    assert set(genes) == {forward, reverse}


def test_elements_last_as_their_duration_distributions_say():
    drawn = landscape(40_000_000, 1)
    length = drawn.end - drawn.start
    for element, duration in DURATIONS.items():
        of_element = length[drawn.element == element]
        assert of_element.min() >= duration.minimum - GRID
        # Five standard errors; the gamma part's standard deviation is (mean - minimum) / sqrt(shape).
        error = (duration.mean - duration.minimum) / np.sqrt(duration.shape * len(of_element))
        assert abs(of_element.mean() - duration.mean) < 5 * error + GRID


def test_genes_are_denser_in_active_domains():
    drawn = landscape(40_000_000, 1, seed=1)
    intergenic = drawn.element == Element.INTERGENIC
    active = drawn.domain[0][drawn.domain_at(drawn.start)] == Domain.ACTIVE
    length = drawn.end - drawn.start
    assert 2 * length[intergenic & active].mean() < length[intergenic & ~active].mean()
    assert INTERGENIC_DURATION[True].mean < INTERGENIC_DURATION[False].mean


def test_domains_are_100_to_400_kb_and_shorter_only_on_short_chromosomes():
    lengths = np.concatenate([np.diff(landscape(2_000_000, 1, seed).domain_start) for seed in range(20)])
    assert lengths.min() >= 100_000 - GRID
    assert lengths.max() <= 400_000 + GRID
    assert domain_length(120_000) == 30_000


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("seed", range(10))
def test_every_cell_type_has_active_and_inactive_domains_genes_and_enhancers(length, seed):
    drawn = landscape(length, 3, seed)
    active = drawn.domain == Domain.ACTIVE
    assert active.any(axis=1).all()
    assert (~active).any(axis=1).all()
    for elements in ((Element.PROMOTER_FORWARD, Element.PROMOTER_REVERSE), (Element.ENHANCER,)):
        of_kind = drawn.active[:, np.isin(drawn.element, elements)]
        assert of_kind.any(axis=1).all()
        assert (~of_kind).any(axis=1).all()


def test_cell_types_share_elements_and_differ_in_some_activities():
    drawn = landscape(10_000_000, 4)
    for elements in ((Element.PROMOTER_FORWARD, Element.PROMOTER_REVERSE), (Element.ENHANCER,)):
        of_kind = drawn.active[:, np.isin(drawn.element, elements)]
        for other in range(1, 4):
            assert 0.05 < (of_kind[0] != of_kind[other]).mean() < 0.4
    assert 0.05 < (drawn.domain[0] != drawn.domain[1]).mean() < 0.5


def test_the_segments_of_a_gene_are_active_together():
    drawn = landscape()
    for gene in nonempty(range(drawn.gene.max() + 1)):
        of_gene = drawn.active[:, drawn.gene == gene]
        assert (of_gene == of_gene[:, :1]).all()


@pytest.mark.parametrize(
    ("element", "kind", "active", "strength", "marked", "state"),
    [
        (Element.PROMOTER_FORWARD, Domain.HETEROCHROMATIN, True, 1.0, True, State.ACTIVE_PROMOTER),
        (Element.PROMOTER_REVERSE, Domain.POLYCOMB, False, 1.0, True, State.BIVALENT_PROMOTER),
        (Element.PROMOTER_FORWARD, Domain.HETEROCHROMATIN, False, 1.0, True, State.HETEROCHROMATIN),
        (Element.FLANK_REVERSE, Domain.ACTIVE, True, 1.0, False, State.PROMOTER_FLANK),
        (Element.BODY_FORWARD, Domain.ACTIVE, True, 1.0, False, State.TRANSCRIBED),
        (Element.BODY_REVERSE, Domain.ACTIVE, True, 0.5, False, State.WEAKLY_TRANSCRIBED),
        (Element.BODY_FORWARD, Domain.POLYCOMB, False, 1.0, True, State.POLYCOMB),
        (Element.ENHANCER, Domain.POLYCOMB, True, 1.0, True, State.ACTIVE_ENHANCER),
        (Element.ENHANCER, Domain.ACTIVE, False, 1.0, False, State.PRIMED_ENHANCER),
        (Element.ENHANCER, Domain.POLYCOMB, False, 1.0, False, State.QUIESCENT),
        (Element.INTERGENIC, Domain.ACTIVE, False, 1.0, False, State.QUIESCENT),
        (Element.INTERGENIC, Domain.POLYCOMB, False, 1.0, True, State.POLYCOMB),
        (Element.INTERGENIC, Domain.HETEROCHROMATIN, False, 1.0, False, State.QUIESCENT),
    ],
)
def test_element_domain_and_activity_make_the_state(element, kind, active, strength, marked, state):
    states = chromatin_states(
        np.array([element]), np.array([[kind]]), np.array([[active]]), np.array([[strength]]), np.array([[marked]])
    )
    assert states.tolist() == [[state]]
