"""Quantities along the genome that an embedding is held against: GC content and conservation."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from epilstm.errors import DataError
from epilstm.genome.fasta import gc_content
from epilstm.genome.name_matching import those_there
from epilstm.representations.features import Representation
from epilstm.store.matrix import Block, Matrix

Method = Literal["pearson", "spearman"]

#: The option that names a bigWig here.
GIVEN_AS = "--bigwig"

#: Resamples of an interval, and its ends.
RESAMPLES = 500
PERCENTILES = (2.5, 97.5)
SEED = 1


def gc_of(path: Path, matrix: Matrix, stretches: Sequence[Block]) -> list[NDArray[np.float32]]:
    """GC content of the bins of each stretch; NaN where no base is known.

    Raises
    ------
    DataError
        `path` is not the FASTA of the matrix's assembly.
    """
    manifest = matrix.manifest
    chromosomes = dict.fromkeys(stretch.chrom for stretch in stretches)
    content = gc_content(path, {name: manifest.chromosome_sizes[name] for name in chromosomes}, manifest.bin_size)
    return [_within(content[stretch.chrom], stretch) for stretch in stretches]


def _within(values: NDArray[np.float32], stretch: Block) -> NDArray[np.float32]:
    """Values of a stretch, which may reach past the chromosome's last bin to complete a frame."""
    known = values[stretch.first : stretch.last]
    return np.concatenate([known, np.full(stretch.bins - len(known), np.nan, np.float32)])


def bigwig_of(path: Path, matrix: Matrix, stretches: Sequence[Block]) -> list[NDArray[np.float32]]:
    """Mean over the bases that a bigWig (such as phyloP) has a value for, of each bin of each stretch; NaN without.

    Or a bedGraph or wiggle file, gzipped or not.

    Raises
    ------
    DataError, TrackError
        Not a bigWig, or one of other chromosomes.
    """
    from epilstm.tracks.bigwig import BigWig
    from epilstm.tracks.converting import as_bigwig

    size, sizes = matrix.manifest.bin_size, matrix.manifest.chromosome_sizes
    with (
        tempfile.TemporaryDirectory(prefix="epilstm-") as scratch,
        BigWig(
            as_bigwig(path, str(path), sizes, Path(scratch), given_as=GIVEN_AS), str(path), given_as=GIVEN_AS
        ) as bigwig,
    ):
        absent = [stretch.chrom for stretch in stretches if stretch.chrom not in bigwig.chromosomes]
        if absent:
            raise DataError(
                f"{path}: no chromosome {absent[0]}; it has {those_there(absent[0], bigwig.chromosomes)}; give a "
                "bigWig of the data set's assembly, with chromosomes named alike"
            )
        means = []
        for stretch in stretches:
            start, end = stretch.first * size, stretch.last * size
            bases = np.full(end - start, np.nan, np.float32)
            for block in bigwig.intervals(stretch.chrom, start, end):
                _fill(bases, start, *block)
            rows = bases.reshape(-1, size)
            known = np.isfinite(rows)
            sums = np.where(known, rows, 0).sum(axis=1, dtype=np.float64)
            count = known.sum(axis=1)
            means.append(np.where(count > 0, sums / np.maximum(count, 1), np.nan).astype(np.float32))
    return means


def _fill(
    bases: NDArray[np.float32],
    start: int,
    starts: NDArray[np.uint32],
    ends: NDArray[np.uint32],
    values: NDArray[np.float32],
) -> None:
    first = np.clip(starts.astype(np.int64) - start, 0, len(bases))
    last = np.clip(ends.astype(np.int64) - start, 0, len(bases))
    lengths = np.maximum(last - first, 0)
    # Every base of every interval: where its interval begins, plus how far into the interval it lies.
    into = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    bases[np.repeat(first, lengths) + into] = np.repeat(values, lengths)


@dataclass(frozen=True)
class Correlation:
    """Correlation of every dimension with a quantity, over windows of one length.

    Parameters
    ----------
    window : int
        Base pairs.
    value, low, high : (size,) float64 array
        Correlation and the ends of its 95% interval, which resamples stretches; NaN for a constant dimension.
    windows : int
        Windows with data.
    """

    window: int
    value: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    windows: int


def correlate(
    representation: Representation,
    quantity: Sequence[NDArray[np.float32]],
    matrix: Matrix,
    stretches: Sequence[Block],
    window_bins: int,
    method: Method,
) -> Correlation:
    """Correlation over windows, from their means over the bins that have both data and the quantity.

    A window counts where at least half of its bins have both; windows do not overlap.

    Parameters
    ----------
    representation : Representation
    quantity : sequence of (bins,) float32 array
        One array per stretch; NaN where it is not known.
    matrix : Matrix
    stretches : sequence of Block
    window_bins : int
    method : str
        ``pearson``, or ``spearman``: the same of ranks (ties share their mean rank).

    Raises
    ------
    DataError
        Fewer than three windows, or the quantity is the same in all.
    """
    parts = [
        window_means(representation.block(stretch), matrix.mask(stretch), known, window_bins)
        for stretch, known in zip(stretches, quantity, strict=True)
    ]
    vectors = np.concatenate([part[0] for part in parts])
    values = np.concatenate([part[1] for part in parts])
    owner = np.repeat(np.arange(len(parts)), [len(part[1]) for part in parts])
    if len(values) < 3 or np.ptp(values) == 0:
        raise DataError(
            f"{len(values)} windows of {window_bins * matrix.manifest.bin_size:,} bp have data and "
            f"{'one and the same value' if len(values) >= 3 else 'a value'}: too few for a correlation; choose other "
            "chromosomes"
        )
    if method == "spearman":
        from scipy.stats import rankdata

        vectors, values = rankdata(vectors, axis=0), rankdata(values)
    moments = _moments(vectors, values, owner, len(parts))
    generator = np.random.default_rng(SEED)
    drawn = generator.integers(len(parts), size=(RESAMPLES, len(parts)))
    weights = np.stack([np.bincount(each, minlength=len(parts)) for each in drawn]).astype(np.float64)
    resampled = _correlation({name: np.tensordot(weights, each, 1) for name, each in moments.items()})
    value = _correlation({name: each.sum(axis=0) for name, each in moments.items()})
    known = np.isfinite(value)
    low, high = np.full((2, len(value)), np.nan)
    low[known], high[known] = np.nanpercentile(resampled[:, known], PERCENTILES, axis=0)
    return Correlation(window_bins * matrix.manifest.bin_size, value, low, high, len(values))


def window_means(
    vectors: NDArray[np.float32], mask: NDArray[np.bool_], values: NDArray[np.float32], window_bins: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means over windows of a stretch, of the bins that have both data and a value: (windows, size) and (windows,)."""
    windows = len(values) // window_bins
    used = windows * window_bins
    both = (mask & np.isfinite(values))[:used].reshape(windows, window_bins)
    count = both.sum(axis=1)
    enough = 2 * count >= window_bins
    kept = both.reshape(-1)
    sums = np.where(kept, values[:used], 0).astype(np.float64).reshape(windows, window_bins).sum(axis=1)
    spread = np.where(kept[:, None], vectors[:used], 0).reshape(windows, window_bins, -1).sum(axis=1, dtype=np.float64)
    return spread[enough] / count[enough, None], sums[enough] / count[enough]


def _moments(
    vectors: NDArray[np.floating], values: NDArray[np.floating], owner: NDArray[np.int64], stretches: int
) -> dict[str, NDArray[np.float64]]:
    """Sums over the windows of each stretch, about the overall means: (stretches,) or (stretches, size) arrays."""
    x, y = vectors - vectors.mean(axis=0), values - values.mean()

    def by_stretch(each: NDArray[np.floating]) -> NDArray[np.float64]:
        sums = np.zeros((stretches, *each.shape[1:]))
        np.add.at(sums, owner, each)
        return sums

    return {
        "n": by_stretch(np.ones((len(y), 1))),
        "x": by_stretch(x),
        "y": by_stretch(y[:, None]),
        "xx": by_stretch(x * x),
        "yy": by_stretch((y * y)[:, None]),
        "xy": by_stretch(x * y[:, None]),
    }


def _correlation(moments: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    count = np.maximum(moments["n"], 1)
    x, y = moments["x"] / count, moments["y"] / count
    spread_x, spread_y = moments["xx"] / count - x * x, moments["yy"] / count - y * y
    product = spread_x * spread_y
    shared = moments["xy"] / count - x * y
    ok = product > 1e-18
    undefined: NDArray[np.float64] = np.full(shared.shape, np.nan)
    np.divide(shared, np.sqrt(np.where(ok, product, 1)), out=undefined, where=ok)
    return undefined
