"""How well a network gives back what it was shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from epilstm.genome.bin_range import BinRange
from epilstm.model.chunks import CONTEXT_BINS, chunks_of
from epilstm.model.networks import Autoencoder
from epilstm.model.windows import reconstruct_bins
from epilstm.store.matrix import Matrix

#: A track's squared distance from its mean is taken for rounding below this share of its sum of squares.
CONSTANT_SPREAD = 1e-9

#: Values (bins x tracks) held at a time: 80 MB in float32.
BLOCK_VALUES = 20_000_000


@dataclass
class ReconstructionError:
    """Squared error and spread per track, summed over bins with data.

    R2 is ``1 - squared error / squared distance from the track's own mean`` over the same bins.

    Parameters
    ----------
    squared_error, total, total_squares : array (track,), float64
        Sums of the squared error, of the values and of their squares.
    bins : int
        Bins with data.
    """

    squared_error: NDArray[np.float64]
    total: NDArray[np.float64]
    total_squares: NDArray[np.float64]
    bins: int = 0

    @classmethod
    def empty(cls, tracks: int) -> ReconstructionError:
        """Nothing added yet."""
        return cls(np.zeros(tracks), np.zeros(tracks), np.zeros(tracks))

    def add(self, block: NDArray[np.floating], reconstruction: NDArray[np.floating], mask: NDArray[np.bool_]) -> None:
        """Add a block (bins, track) and its reconstruction; `mask` (bins,) is true where there is data."""
        truth = block[mask].astype(np.float64)
        self.squared_error += np.square(truth - reconstruction[mask]).sum(0)
        self.total += truth.sum(0)
        self.total_squares += np.square(truth).sum(0)
        self.bins += int(mask.sum())

    @property
    def spread(self) -> NDArray[np.float64]:
        """Squared distance from the track's mean, summed over bins, per track."""
        return self.total_squares - np.square(self.total) / max(self.bins, 1)

    @property
    def mse(self) -> float:
        """Mean squared error over bins and tracks."""
        return float(self.squared_error.sum() / max(self.bins * len(self.squared_error), 1))

    @property
    def r2(self) -> float:
        """R2 over all tracks together."""
        return float(1 - self.squared_error.sum() / max(self.spread.sum(), 1e-12))

    @property
    def mse_per_track(self) -> list[float]:
        """Mean squared error of each track."""
        return [float(error) / max(self.bins, 1) for error in self.squared_error]

    @property
    def r2_per_track(self) -> list[float | None]:
        """R2 of each track; None for one that does not vary, up to rounding."""
        varies = self.spread > CONSTANT_SPREAD * np.maximum(self.total_squares, 1)
        return [
            float(1 - error / spread) if varied else None
            for error, spread, varied in zip(self.squared_error, self.spread, varies, strict=True)
        ]


@dataclass(frozen=True)
class Block:
    """Values and mask of a range of bins, of which those of ``keep`` count; the others are context."""

    values: NDArray[np.float16]
    mask: NDArray[np.bool_]
    keep: slice


def matrix_blocks(
    matrix: Matrix,
    places: Sequence[str],
    context: int = CONTEXT_BINS,
    share: tuple[int, int] = (0, 1),
    most: int | None = None,
) -> Iterator[Block]:
    """Blocks that cover the regions in some places, bounded in size, with context on both sides.

    Parameters
    ----------
    matrix : Matrix
    places : sequence of str
        See `epilstm.store.manifests.Manifest.region_list`.
    context : int
        Bins on each side, as far as the region goes, and no further than the place.
    share : (int, int)
        Which share of how many: several processes take turns.
    most : int, optional
        About so many bins are enough: blocks spread evenly over the places.
    """
    size = max(1_000, BLOCK_VALUES // matrix.tracks)
    cuts = [
        (BinRange(region.chrom, region.first + start, region.first + stop), slice(first - start, last - start))
        for region in matrix.regions_in(places)
        for start, stop, first, last in chunks_of(region.bins, size, context)
    ]
    total = sum(region.bins for region in matrix.regions_in(places))
    if most is not None and total > most:
        count = max(1, len(cuts) * most // total)
        cuts = [cuts[int((number + 0.5) * len(cuts) / count)] for number in range(count)]
    for bins, keep in cuts[share[0] :: share[1]]:
        yield Block(matrix.values(bins), matrix.mask(bins), keep)


def reconstruction_error(
    network: Autoencoder, tracks: int, blocks: Iterable[Block], run: Callable[..., Iterable[Any]] = map
) -> ReconstructionError:
    """Error of a network on blocks of the matrix; `run` as for `reconstruct_bins`."""
    error = ReconstructionError.empty(tracks)
    for block in blocks:
        reconstruction = reconstruct_bins(network, block.values, run)
        error.add(block.values[block.keep], reconstruction[block.keep], block.mask[block.keep])
    return error
