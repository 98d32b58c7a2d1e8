"""What lies where on a simulated chromosome: domains, elements, and each cell type's chromatin states.

A semi-Markov chain (explicit duration distributions) lays out enhancers, genes and what is between them, once for
all cell types. Domains of some 200 kb, active or not, set its rates. What differs between cell types is which
domains, genes and enhancers are active; element, domain and activity together make the chromatin state, in the
vocabulary of ChromHMM's 15-state model (Roadmap Epigenomics Consortium 2015, Nature 518, 317-330).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

#: Resolution of all boundaries (bp).
GRID = 10

#: Typical domain (bp), as replication domains and topologically associating domains are; shorter chromosomes have
#: proportionally shorter domains, so that each has several.
DOMAIN = 200_000
DOMAINS_AT_LEAST = 4

#: A draw with fewer genes or enhancers, or a shorter longest domain (of the typical one), is drawn again, so that a
#: chromosome of 1 Mb has both classes of every task, and all but a few in a thousand of 100 kb have.
GENES_AT_LEAST, ENHANCERS_AT_LEAST, LONGEST_DOMAIN_AT_LEAST = 3, 4, 0.8

#: Share of domains, genes and enhancers whose activity a cell type draws anew.
DOMAIN_SWITCH, GENE_SWITCH, ENHANCER_SWITCH = 0.15, 0.2, 0.45


class Domain(IntEnum):
    """Large-scale state of an interval of a chromosome."""

    ACTIVE = 0
    POLYCOMB = 1
    HETEROCHROMATIN = 2


class Element(IntEnum):
    """States of the semi-Markov chain; a gene is flank, promoter and body, or the reverse on the other strand."""

    INTERGENIC = 0
    ENHANCER = 1
    FLANK_FORWARD = 2
    PROMOTER_FORWARD = 3
    BODY_FORWARD = 4
    BODY_REVERSE = 5
    PROMOTER_REVERSE = 6
    FLANK_REVERSE = 7


class State(IntEnum):
    """Chromatin states."""

    QUIESCENT = 0
    ACTIVE_PROMOTER = 1
    PROMOTER_FLANK = 2
    BIVALENT_PROMOTER = 3
    ACTIVE_ENHANCER = 4
    PRIMED_ENHANCER = 5
    TRANSCRIBED = 6
    WEAKLY_TRANSCRIBED = 7
    POLYCOMB = 8
    HETEROCHROMATIN = 9


@dataclass(frozen=True)
class Duration:
    """Gamma distribution of an element's length.

    Parameters
    ----------
    mean, minimum : float
        In bp.
    shape : float
        1 is exponential; the larger, the more regular.
    """

    mean: float
    shape: float
    minimum: float

    def draw(self, rng: np.random.Generator) -> int:
        """One length (bp), a multiple of `GRID`."""
        length = self.minimum + rng.gamma(self.shape, (self.mean - self.minimum) / self.shape)
        return max(GRID, round(length / GRID) * GRID)


_ENHANCER, _FLANK, _PROMOTER = Duration(900, 3, 400), Duration(700, 4, 300), Duration(1_300, 5, 600)
_BODY = Duration(6_500, 1.3, 1_500)
DURATIONS = {
    Element.ENHANCER: _ENHANCER,
    Element.FLANK_FORWARD: _FLANK,
    Element.FLANK_REVERSE: _FLANK,
    Element.PROMOTER_FORWARD: _PROMOTER,
    Element.PROMOTER_REVERSE: _PROMOTER,
    Element.BODY_FORWARD: _BODY,
    Element.BODY_REVERSE: _BODY,
}
#: Between elements it is further in inactive domains: they are poor in genes.
INTERGENIC_DURATION = {True: Duration(2_500, 1, 500), False: Duration(11_000, 1, 1_500)}

#: What follows what; after intergenic sequence, by whether the domain is active.
NEXT = {
    Element.ENHANCER: Element.INTERGENIC,
    Element.FLANK_FORWARD: Element.PROMOTER_FORWARD,
    Element.PROMOTER_FORWARD: Element.BODY_FORWARD,
    Element.BODY_FORWARD: Element.INTERGENIC,
    Element.BODY_REVERSE: Element.PROMOTER_REVERSE,
    Element.PROMOTER_REVERSE: Element.FLANK_REVERSE,
    Element.FLANK_REVERSE: Element.INTERGENIC,
}
AFTER_INTERGENIC = (Element.ENHANCER, Element.FLANK_FORWARD, Element.BODY_REVERSE)
AFTER_INTERGENIC_PROBABILITY = {True: (0.5, 0.25, 0.25), False: (0.3, 0.35, 0.35)}

#: Probability of being active, by domain (active, Polycomb, heterochromatin).
GENE_ACTIVE = np.array([0.8, 0.12, 0.05])
ENHANCER_ACTIVE = np.array([0.6, 0.08, 0.03])
#: Share of the sequence between elements that carries the domain's own mark, by domain.
DOMAIN_MARK = np.array([0.0, 0.65, 0.65])
DOMAIN_MARK_STATE = np.array([State.QUIESCENT, State.POLYCOMB, State.HETEROCHROMATIN])
#: Share of genes and of enhancers that are active in every cell type, and the same share in none; of either kind there
#: are one gene and two enhancers at least.
CONSTITUTIVE = 0.08


@dataclass(frozen=True)
class Landscape:
    """One chromosome in all cell types.

    Parameters
    ----------
    length : int
        Of the chromosome (bp).
    domain_start : (domain,) int
        First base of each domain; the next one's start, or the chromosome's end, is its end.
    domain : (cell type, domain) int
        `Domain` values.
    start, end : (segment,) int
        Segments of the chain, without gaps between them.
    element : (segment,) int
        `Element` values.
    gene : (segment,) int
        Running number of the gene a segment belongs to; -1 outside genes.
    active : (cell type, segment) bool
        Whether the gene or enhancer is active; False between elements.
    strength : (cell type, segment) float
        How strong the marks of an active element are; 1 is typical.
    state : (cell type, segment) int
        `State` values.
    """

    length: int
    domain_start: NDArray[np.int64]
    domain: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    element: NDArray[np.int64]
    gene: NDArray[np.int64]
    active: NDArray[np.bool_]
    strength: NDArray[np.float64]
    state: NDArray[np.int64]

    def domain_at(self, position: NDArray[np.int64]) -> NDArray[np.int64]:
        """Index of the domain that holds each position."""
        return np.searchsorted(self.domain_start, position, side="right") - 1


def domain_length(chromosome_length: int) -> float:
    """Typical length of a domain (bp) of a chromosome."""
    return min(DOMAIN, chromosome_length / DOMAINS_AT_LEAST)


def build_landscape(rng: np.random.Generator, length: int, cell_types: int) -> Landscape:
    """Draw one chromosome.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of all randomness.
    length : int
        Of the chromosome (bp).
    cell_types : int
        Number of cell types.
    """
    domain_start, shared_domain = draw_domains(rng, length)
    domain = switch_domains(rng, np.diff(domain_start, append=length), shared_domain, cell_types)
    start, element = draw_segments(rng, length, domain_start, shared_domain == Domain.ACTIVE)
    end = np.append(start[1:], length)
    gene = number_genes(element)
    kind = domain[:, np.searchsorted(domain_start, (start + end) // 2, side="right") - 1]
    rank = _draw_ranks(rng, element, gene, cell_types)
    probability = np.where(
        gene >= 0, GENE_ACTIVE[kind], np.where(element == Element.ENHANCER, ENHANCER_ACTIVE[kind], 0)
    )
    active = rank < probability
    strength = _draw_strengths(rng, gene, cell_types)
    state = chromatin_states(element, kind, active, strength, marked=rank < DOMAIN_MARK[kind])
    return Landscape(length, domain_start, domain, start, end, element, gene, active, strength, state)


def draw_domains(rng: np.random.Generator, length: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Starts and `Domain` values of domains: active and inactive in turn, half to twice `domain_length` long.

    Drawn again until the longest active and the longest inactive one reach `LONGEST_DOMAIN_AT_LEAST` of that.
    """
    while True:
        starts = _draw_domain_starts(rng, length)
        active = (np.arange(len(starts)) + rng.integers(2)) % 2 == 0
        sizes = np.diff(starts, append=length)
        longest = min(sizes[active].max(initial=0), sizes[~active].max(initial=0))
        if longest >= LONGEST_DOMAIN_AT_LEAST * domain_length(length):
            break
    inactive = rng.choice([Domain.POLYCOMB, Domain.HETEROCHROMATIN], size=len(starts))
    return starts, np.where(active, Domain.ACTIVE, inactive)


def _draw_domain_starts(rng: np.random.Generator, length: int) -> NDArray[np.int64]:
    typical = domain_length(length)
    starts = [0]
    while True:
        size = typical * min(2.0, max(0.5, rng.gamma(6, 1 / 6)))
        following = starts[-1] + round(size / GRID) * GRID
        if following > length - typical / 2:
            return np.array(starts)
        starts.append(following)


def switch_domains(
    rng: np.random.Generator, lengths: NDArray[np.int64], domain: NDArray[np.int64], cell_types: int
) -> NDArray[np.int64]:
    """Each cell type's domains, (cell type, domain): `DOMAIN_SWITCH` of them differ from the shared ones.

    The longest active and the longest inactive domain never switch, so that every cell type has both.
    """
    switched = rng.random((cell_types, len(domain))) < DOMAIN_SWITCH
    inactive = rng.choice([Domain.POLYCOMB, Domain.HETEROCHROMATIN], size=switched.shape)
    for mask in (domain == Domain.ACTIVE, domain != Domain.ACTIVE):
        switched[:, np.argmax(np.where(mask, lengths, 0))] = False
    return np.where(switched, np.where(domain == Domain.ACTIVE, inactive, Domain.ACTIVE), domain)


def draw_segments(
    rng: np.random.Generator, length: int, domain_start: NDArray[np.int64], domain_is_active: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Starts and `Element` values of the semi-Markov chain along a chromosome.

    A gene that would not fit before the chromosome's end is left out. Drawn again until there are `GENES_AT_LEAST` and
    `ENHANCERS_AT_LEAST`, which matters to short chromosomes only.
    """
    while True:
        start, element = _walk_chain(rng, length, domain_start, domain_is_active)
        genes = np.count_nonzero(element == Element.PROMOTER_FORWARD) + np.count_nonzero(
            element == Element.PROMOTER_REVERSE
        )
        if genes >= GENES_AT_LEAST and np.count_nonzero(element == Element.ENHANCER) >= ENHANCERS_AT_LEAST:
            return start, element


def _walk_chain(
    rng: np.random.Generator, length: int, domain_start: NDArray[np.int64], domain_is_active: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    starts: list[int] = []
    elements: list[Element] = []
    position, element, domain = 0, Element.INTERGENIC, 0
    while position < length:
        starts.append(position)
        elements.append(element)
        while domain + 1 < len(domain_start) and domain_start[domain + 1] <= position:
            domain += 1
        active = bool(domain_is_active[domain])
        if element == Element.INTERGENIC:
            position += INTERGENIC_DURATION[active].draw(rng)
            element = AFTER_INTERGENIC[rng.choice(3, p=AFTER_INTERGENIC_PROBABILITY[active])]
        else:
            position += DURATIONS[element].draw(rng)
            element = NEXT[element]
    while elements[-1] != Element.INTERGENIC:
        elements.pop()
        starts.pop()
    return np.array(starts), np.array(elements, dtype=np.int64)


def number_genes(element: NDArray[np.int64]) -> NDArray[np.int64]:
    """Running number of the gene that each segment belongs to, -1 outside genes."""
    in_gene = element >= Element.FLANK_FORWARD
    first = (element == Element.FLANK_FORWARD) | (element == Element.BODY_REVERSE)
    return np.where(in_gene, np.cumsum(first) - 1, -1)


def _draw_ranks(
    rng: np.random.Generator, element: NDArray[np.int64], gene: NDArray[np.int64], cell_types: int
) -> NDArray[np.float64]:
    """How inclined each segment is to be active, (cell type, segment): 0 always, 1 never, else uniform."""
    ranks = np.tile(rng.random(len(element)), (cell_types, 1))
    enhancers = np.flatnonzero(element == Element.ENHANCER)
    ranks[:, enhancers] = _switchable_ranks(rng, len(enhancers), cell_types, ENHANCER_SWITCH, at_least=2)
    genes = int(gene.max()) + 1
    ranks[:, gene >= 0] = _switchable_ranks(rng, genes, cell_types, GENE_SWITCH, at_least=1)[:, gene[gene >= 0]]
    return ranks


def _switchable_ranks(
    rng: np.random.Generator, count: int, cell_types: int, switch: float, at_least: int
) -> NDArray[np.float64]:
    shared = rng.random(count)
    own = rng.random((cell_types, count))
    ranks = np.where(rng.random((cell_types, count)) < switch, own, shared)
    order = np.argsort(shared)
    constitutive = max(at_least, round(CONSTITUTIVE * count))
    ranks[:, order[-constitutive:]] = 1.0
    ranks[:, order[:constitutive]] = 0.0
    return ranks


def _draw_strengths(rng: np.random.Generator, gene: NDArray[np.int64], cell_types: int) -> NDArray[np.float64]:
    shared = rng.normal(0, 0.45, len(gene))
    of_genes = rng.normal(0, 0.45, int(gene.max()) + 1)
    own = rng.normal(0, 0.25, (cell_types, len(gene)))
    return np.exp(np.where(gene >= 0, 0.5 * shared + of_genes[gene], shared) + own)


def chromatin_states(
    element: NDArray[np.int64],
    kind: NDArray[np.int64],
    active: NDArray[np.bool_],
    strength: NDArray[np.float64],
    marked: NDArray[np.bool_],
) -> NDArray[np.int64]:
    """Chromatin state of each segment in each cell type.

    Parameters
    ----------
    element : (segment,) int
        `Element` values.
    kind : (cell type, segment) int
        `Domain` values.
    active, marked : (cell type, segment) bool
        Whether the element is active; whether, if it is not, it carries the mark of its domain.
    strength : (cell type, segment) float
        Weakly active genes are weakly transcribed.
    """
    promoter = (element == Element.PROMOTER_FORWARD) | (element == Element.PROMOTER_REVERSE)
    flank = (element == Element.FLANK_FORWARD) | (element == Element.FLANK_REVERSE)
    body = (element == Element.BODY_FORWARD) | (element == Element.BODY_REVERSE)
    enhancer = element == Element.ENHANCER
    silent = np.where(marked, DOMAIN_MARK_STATE[kind], State.QUIESCENT)
    return np.select(
        [
            promoter & active,
            flank & active,
            body & active & (strength >= 0.8),
            body & active,
            enhancer & active,
            promoter & (kind != Domain.HETEROCHROMATIN),
            enhancer & (kind == Domain.ACTIVE),
        ],
        [
            State.ACTIVE_PROMOTER,
            State.PROMOTER_FLANK,
            State.TRANSCRIBED,
            State.WEAKLY_TRANSCRIBED,
            State.ACTIVE_ENHANCER,
            State.BIVALENT_PROMOTER,
            State.PRIMED_ENHANCER,
        ],
        silent,
    )
