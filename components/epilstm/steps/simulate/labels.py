"""Labels of the four downstream tasks, drawn from the landscape with noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from epilstm.steps.simulate.landscape import GRID, Domain, Element, Landscape, State, domain_length

#: Labelled interval (bp) of frequently interacting regions and replication timing.
LABEL_BINS = 10_000
#: Share of positives among frequently interacting regions and among promoter-enhancer pairs.
FIRE_POSITIVES, PAIR_POSITIVES = 0.15, 0.2
#: Promoter-enhancer pairs per Mb and cell type, and how far apart they are (bp; nearer on short chromosomes).
PAIRS_PER_MB, PAIR_DISTANCE = 70, (5_000, 300_000)
#: Share of genes whose expression does not follow their chromatin.
DISCORDANT = 0.05


@dataclass(frozen=True)
class Gene:
    """A gene and its expression.

    Parameters
    ----------
    start, end : int
        0-based, half-open.
    strand : str
        ``+`` or ``-``; the transcription start site is the start or the end.
    rpkm : (cell type,) float
        Reads per kilobase and million.
    """

    start: int
    end: int
    strand: str
    rpkm: NDArray[np.float64]


@dataclass(frozen=True)
class Pair:
    """A promoter and an enhancer (start and end, 0-based, half-open), and whether they interact."""

    promoter: tuple[int, int]
    enhancer: tuple[int, int]
    label: int


def gene_expression(rng: np.random.Generator, landscape: Landscape) -> list[Gene]:
    """Genes of a chromosome with their expression in every cell type.

    Active genes have a median RPKM of some 6 by strength, silent ones of 0.05; a few are discordant, but none of those
    that are active everywhere or nowhere.
    """
    promoters, bodies = _promoters_and_bodies(landscape)
    forward = landscape.element[promoters] == Element.PROMOTER_FORWARD
    start_site = (landscape.start[promoters] + landscape.end[promoters]) // 2
    start = np.where(forward, start_site, landscape.start[bodies])
    end = np.where(forward, landscape.end[bodies], start_site)
    active = landscape.active[:, promoters]
    alike = active.all(axis=0) | ~active.any(axis=0)
    expressed = active ^ ((rng.random(active.shape) < DISCORDANT) & ~alike)
    median = np.where(expressed, 6 * landscape.strength[:, promoters], 0.05)
    rpkm = np.round(median * np.exp(rng.normal(0, 0.8, active.shape)), 3)
    return [Gene(int(start[i]), int(end[i]), "+" if forward[i] else "-", rpkm[:, i]) for i in range(len(promoters))]


def promoter_enhancer_pairs(rng: np.random.Generator, landscape: Landscape, cell_type: int) -> list[Pair]:
    """Active promoters and active enhancers of a cell type, some of which interact.

    Those in one active domain, near each other and strong, rank first, up to noise; the first `PAIR_POSITIVES` of the
    pairs drawn interact.
    """
    state, middle = landscape.state[cell_type], (landscape.start + landscape.end) // 2
    promoters = np.flatnonzero(state == State.ACTIVE_PROMOTER)
    enhancers = np.flatnonzero(state == State.ACTIVE_ENHANCER)
    nearest = min(PAIR_DISTANCE[0], landscape.length // 100)
    distance = np.abs(middle[promoters][:, None] - middle[enhancers])
    which = np.argwhere((distance >= nearest) & (distance <= PAIR_DISTANCE[1]))
    wanted = max(2, round(PAIRS_PER_MB * landscape.length / 1e6))
    which = which[np.sort(rng.permutation(len(which))[:wanted])]
    promoter, enhancer = promoters[which[:, 0]], enhancers[which[:, 1]]
    domain = landscape.domain_at(middle)
    strength = np.log(landscape.strength[cell_type])
    rank = (
        1.5 * (domain[promoter] == domain[enhancer])
        - 0.5 * np.log2(np.abs(middle[promoter] - middle[enhancer]) / nearest)
        + 0.7 * (strength[promoter] + strength[enhancer])
        + rng.normal(0, 0.6, len(which))
    )
    labels = top_share(rank, PAIR_POSITIVES)
    return [
        Pair(
            (int(landscape.start[p]), int(landscape.end[p])),
            (int(landscape.start[e]), int(landscape.end[e])),
            int(label),
        )
        for p, e, label in zip(promoter, enhancer, labels, strict=True)
    ]


def frequently_interacting_regions(rng: np.random.Generator, landscape: Landscape, cell_type: int) -> NDArray[np.int64]:
    """Label (0 or 1) of each whole interval of `LABEL_BINS`: 1 for those richest in active enhancers, up to noise."""
    state, strength = landscape.state[cell_type], landscape.strength[cell_type]
    weight = strength * ((state == State.ACTIVE_ENHANCER) + 0.4 * (state == State.ACTIVE_PROMOTER))
    density = _mean_per_label_bin(landscape, weight)
    around = np.convolve(np.pad(density, 1, mode="edge"), [0.25, 1.0, 0.25], mode="valid")
    noise = rng.normal(0, 0.35 * max(float(around.std()), 1e-12), len(around))
    return top_share(around + noise, FIRE_POSITIVES)


def replication_timing(rng: np.random.Generator, landscape: Landscape, cell_type: int) -> NDArray[np.float64]:
    """Replication timing of each whole interval of `LABEL_BINS`: early (above 0) in active domains, with soft edges."""
    active = (landscape.domain[cell_type] == Domain.ACTIVE)[landscape.domain_at(landscape.start)]
    level = _mean_per_label_bin(landscape, np.where(active, 1.0, -1.0))
    reach = 0.25 * domain_length(landscape.length) / LABEL_BINS
    offsets = np.arange(-int(3 * reach), int(3 * reach) + 1)
    kernel = np.exp(-0.5 * (offsets / reach) ** 2)
    padded = np.pad(level, len(offsets) // 2, mode="edge")
    smooth = np.convolve(padded, kernel / kernel.sum(), mode="valid")
    return np.asarray(np.round(smooth + rng.normal(0, 0.2, len(smooth)), 4))


def top_share(score: NDArray[np.float64], share: float) -> NDArray[np.int64]:
    """1 for the given share of the highest scores, at least one and not all of them; 0 for the others."""
    positives = min(max(1, round(share * len(score))), max(len(score) - 1, 0))
    labels = np.zeros(len(score), dtype=np.int64)
    labels[np.argsort(-score, kind="stable")[:positives]] = 1
    return labels


def _promoters_and_bodies(landscape: Landscape) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    element = landscape.element
    promoters = np.flatnonzero((element == Element.PROMOTER_FORWARD) | (element == Element.PROMOTER_REVERSE))
    return promoters, np.where(element[promoters] == Element.PROMOTER_FORWARD, promoters + 1, promoters - 1)


def _mean_per_label_bin(landscape: Landscape, value_of_segment: NDArray[np.float64]) -> NDArray[np.float64]:
    bins = landscape.length // LABEL_BINS
    bounds = np.append(landscape.start, landscape.end[-1]) // GRID
    values = np.repeat(value_of_segment, np.diff(bounds))
    per_bin = LABEL_BINS // GRID
    return np.asarray(values[: bins * per_bin].reshape(bins, per_bin).mean(axis=1))
