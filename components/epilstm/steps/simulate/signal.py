"""From chromatin states to a track: reads piled up, tested against background, written in short runs.

Signal is made as the real tracks were: sequenced fragments fall where the assay enriches, each is extended to its
length, and the pile-up at a position is tested against the local background with a Poisson tail, as MACS2 does
(Zhang et al. 2008, Genome Biology 9, R137). That gives the heavy tail, the correlated runs and the ragged
background of real -log10 p.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from epilstm.steps.simulate.landscape import GRID, Landscape

#: Length to which reads are extended (bp).
FRAGMENT = 200
#: Shortest and longest run of equal signal (bp).
RUN = (20, 60)
#: Share of a chromosome that no read can be mapped to, beside its first interval, and typical length of a gap (bp).
UNMAPPABLE, GAP = 0.02, 1_500
#: Share of runs at which a gap begins that is the track's own, and how many runs it takes at most.
DROPOUT, DROPOUT_RUNS = 0.004, 5


@dataclass(frozen=True)
class Enrichment:
    """How an assay sees chromatin states.

    Parameters
    ----------
    fold : tuple of float
        Reads over genome average in each `State`, in its order.
    width : int
        Breadth (bp) over which the mark spreads past the edges of what carries it.
    """

    fold: tuple[float, ...]
    width: int


#: Order of magnitude after the emissions and signal of Roadmap's 15-state model; every assay that can be simulated.
ENRICHMENT = {
    #            Quies TssA Flnk Biv EnhA EnhP  Tx  TxWk  PC  Het
    "DNase": Enrichment((0.7, 14, 2.5, 5, 11, 3.0, 1.0, 0.9, 0.7, 0.4), 60),
    "H2A.Z": Enrichment((0.7, 9, 5, 7, 5, 2.5, 0.8, 0.8, 0.9, 0.5), 200),
    "H3K4me1": Enrichment((0.7, 1.0, 6, 4, 7, 4.5, 1.4, 1.2, 0.7, 0.4), 700),
    "H3K4me2": Enrichment((0.7, 8, 9, 7, 5, 2.5, 0.9, 0.8, 0.6, 0.4), 300),
    "H3K4me3": Enrichment((0.7, 28, 9, 9, 1.6, 0.9, 0.8, 0.7, 0.6, 0.4), 250),
    "H3K9ac": Enrichment((0.7, 18, 7, 2.5, 6, 1.2, 1.0, 0.8, 0.5, 0.4), 250),
    "H3K27ac": Enrichment((0.7, 18, 7, 0.9, 12, 1.0, 1.0, 0.8, 0.5, 0.4), 250),
    "H3K27me3": Enrichment((0.9, 0.4, 0.6, 5, 0.5, 1.2, 0.4, 0.5, 2.8, 0.8), 800),
    "H3K36me3": Enrichment((0.7, 0.7, 0.8, 0.6, 1.0, 0.7, 4.0, 2.0, 0.5, 0.6), 500),
    "H3K79me2": Enrichment((0.7, 5, 4, 0.8, 2, 0.8, 3.5, 1.8, 0.5, 0.4), 500),
    "H3K9me3": Enrichment((1.0, 0.4, 0.5, 0.6, 0.5, 0.8, 0.7, 0.8, 0.9, 2.8), 800),
    "H4K20me1": Enrichment((0.7, 1.0, 1.5, 2.0, 1.0, 0.9, 3.0, 1.8, 1.6, 0.8), 600),
}


@dataclass(frozen=True)
class Library:
    """What sets one experiment apart from another of the same assay.

    Parameters
    ----------
    depth : float
        Mean pile-up over background.
    efficiency : float
        Share of the enrichment that the experiment attained.
    """

    depth: float
    efficiency: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Library:
        """One experiment's depth and efficiency."""
        return cls(float(2.5 * np.exp(rng.normal(0, 0.25))), float(rng.uniform(0.6, 1.2)))


@dataclass(frozen=True)
class Runs:
    """Runs of equal signal along a chromosome, with gaps between some: `start`, `end` (bp), `value` (-log10 p)."""

    start: NDArray[np.int64]
    end: NDArray[np.int64]
    value: NDArray[np.float64]


def simulate_track(
    rng: np.random.Generator,
    landscape: Landscape,
    cell_type: int,
    assay: str,
    library: Library,
    gaps: NDArray[np.int64],
) -> Runs:
    """Signal of one assay in one cell type along one chromosome.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of all randomness.
    landscape : Landscape
        The chromosome.
    cell_type : int
        Its row in the landscape.
    assay : str
        Key of `ENRICHMENT`.
    library : Library
        Depth and efficiency of the experiment.
    gaps : (gap, 2) int
        Starts and ends (bp) of what no read maps to; runs that would touch one are left out.

    Returns
    -------
    Runs
        `RUN` bp long each, none past the chromosome's end.
    """
    start, end = draw_runs(rng, landscape.length, gaps)
    middle = (start + end) // 2 // GRID
    cells = -(-landscape.length // GRID)
    background = library.depth * np.exp(0.25 * _smooth_noise(rng, cells, 5_000))
    fold = expected_fold(landscape, cell_type, assay, library.efficiency) * np.exp(0.4 * _smooth_noise(rng, cells, 300))
    fragments = rng.poisson(background * fold * (GRID / FRAGMENT))
    pile_up = _moving_sum(fragments, FRAGMENT // GRID)
    return Runs(start, end, np.round(minus_log10_p(pile_up[middle], background[middle]), 5))


def expected_fold(landscape: Landscape, cell_type: int, assay: str, efficiency: float) -> NDArray[np.float64]:
    """Reads expected over background in every interval of `GRID` bp."""
    enrichment = ENRICHMENT[assay]
    level = np.array(enrichment.fold)[landscape.state[cell_type]]
    strength = np.where(landscape.active[cell_type], landscape.strength[cell_type], 1.0)
    level = np.where(level > 1, 1 + (level - 1) * efficiency * strength, level)
    cells = -(-landscape.length // GRID)
    bounds = np.append(landscape.start // GRID, cells)
    return _smooth(np.repeat(level, np.diff(bounds)), enrichment.width)


def draw_gaps(rng: np.random.Generator, length: int) -> NDArray[np.int64]:
    """Intervals that no read maps to, (gap, 2) starts and ends (bp), sorted, not overlapping.

    The first half per cent of a chromosome is one, as the unsequenced ends of real ones are.
    """
    sizes = (300 + rng.exponential(GAP - 300, max(1, round(UNMAPPABLE * length / GAP)))).astype(np.int64)
    starts = np.sort(rng.integers(0, length, len(sizes)))
    ends = np.minimum(starts + sizes, length)
    starts = np.concatenate([[0], starts])
    ends = np.maximum.accumulate(np.concatenate([[length // 200], ends]))
    opens = np.concatenate([[True], starts[1:] > ends[:-1]])
    return np.stack([starts[opens], ends[np.append(opens[1:], True)]], axis=1)


def draw_runs(
    rng: np.random.Generator, length: int, gaps: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Starts and ends (bp) of runs of `RUN` bp that touch no gap; a few are dropped besides."""
    edges = np.cumsum(rng.integers(RUN[0], RUN[1] + 1, length // RUN[0]))
    edges = np.concatenate([[0], edges[edges <= length]])
    start, end = edges[:-1], edges[1:]
    following_gap = np.searchsorted(gaps[:, 1], start, side="right")
    gap_start = np.append(gaps[:, 0], length)[following_gap]
    onset = np.flatnonzero(rng.random(len(start)) < DROPOUT)
    offsets = np.arange(DROPOUT_RUNS)
    lost = (onset[:, None] + offsets)[offsets < rng.integers(1, DROPOUT_RUNS + 1, len(onset))[:, None]]
    dropped = np.zeros(len(start) + DROPOUT_RUNS, dtype=bool)
    dropped[lost] = True
    kept = (end <= gap_start) & ~dropped[: len(start)]
    return start[kept], end[kept]


def minus_log10_p(count: NDArray[np.int64], background: NDArray[np.float64]) -> NDArray[np.float64]:
    """-log10 of the probability that a Poisson variable of mean `background` exceeds `count`.

    Exact at 48 means spaced evenly in their logarithm, interpolated linearly between them: within 1 per cent or 0.001
    where the means span no more than a factor of ten.

    Parameters
    ----------
    count : (n,) int
        Pile-up.
    background : (n,) float
        Expected pile-up, positive.

    Returns
    -------
    (n,) float
    """
    if not len(count):
        return np.zeros(0)
    log_mean = np.log(background)
    nodes = np.linspace(log_mean.min(), log_mean.max() + 1e-9, 48)
    # Terms past the largest count by this many weigh less than float precision.
    terms = np.arange(int(count.max()) + 80 + int(4 * background.max()))
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(terms[1:]))])
    log_mass = terms * nodes[:, None] - np.exp(nodes[:, None]) - log_factorial
    log_at_least = np.logaddexp.accumulate(log_mass[:, ::-1], axis=1)[:, ::-1]
    table = np.maximum(0.0, -log_at_least[:, 1:] / np.log(10))
    place = (log_mean - nodes[0]) / (nodes[1] - nodes[0])
    left = np.minimum(place.astype(np.int64), len(nodes) - 2)
    right_weight = place - left
    return np.asarray(table[left, count] * (1 - right_weight) + table[left + 1, count] * right_weight)


def _smooth_noise(rng: np.random.Generator, cells: int, scale: int) -> NDArray[np.float64]:
    """Gaussian noise of unit variance that is correlated over some `scale` bp."""
    noise = _smooth(rng.standard_normal(cells), scale)
    return noise / max(float(noise.std()), 1e-12)


def _smooth(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Mean over `width` bp, three times: close to a Gaussian."""
    cells = min(max(1, width // GRID), len(values))
    for _ in range(3):
        values = _moving_sum(values, cells) / cells
    return values


def _moving_sum(values: NDArray[Any], cells: int) -> NDArray[Any]:
    """Sum over a centred window of `cells` values; the edge values continue past the ends."""
    before = cells // 2
    padded = np.pad(values, (before + 1, cells - 1 - before), mode="edge")
    padded[0] = 0
    sums = np.cumsum(padded)
    return np.asarray(sums[cells:] - sums[:-cells])
