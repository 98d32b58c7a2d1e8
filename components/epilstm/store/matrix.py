"""The matrix dataset, read a block of bins at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from epilstm.errors import DataError
from epilstm.files.outputs import fingerprint
from epilstm.genome.assembly import Region, bins_of
from epilstm.store.arrays import Masks
from epilstm.store.manifests import MatrixManifest, read_manifest
from epilstm.store.shards import open_bins

#: Values (bins x tracks) of a block, which bounds memory whatever the number of tracks; the fewest bins are a chunk.
BLOCK_VALUES = 2_500_000
BLOCK_BINS_MIN, BLOCK_BINS_MAX = 2_000, 100_000


@dataclass(frozen=True)
class Block:
    """Consecutive bins of one region: ``first`` up to but not including ``last``."""

    chrom: str
    first: int
    last: int

    @property
    def bins(self) -> int:
        """Number of bins."""
        return self.last - self.first


def cut(region: Block, size: int) -> list[Block]:
    """Consecutive blocks of a region that end at multiples of `size` bins, the last where the region does.

    With whole chunks of the stored array as size, each chunk is in one block and so decompressed once.
    """
    ends = [*range((region.first // size + 1) * size, region.last, size), region.last]
    firsts = [region.first, *ends[:-1]]
    return [Block(region.chrom, first, last) for first, last in zip(firsts, ends, strict=True)]


def widened(block: Block, regions: Iterable[Block], margin: int, frame: int = 1) -> Block:
    """A block with `margin` bins more on either side, as far as the region that it lies in goes.

    It begins at a multiple of `frame` bins from the region's first, for which the margin may be a little wider.
    """
    for region in regions:
        if region.chrom == block.chrom and region.first <= block.first and block.last <= region.last:
            first = max(region.first, block.first - margin)
            first -= (first - region.first) % frame
            return Block(block.chrom, first, min(region.last, block.last + margin))
    raise ValueError(f"{block} is not inside a region")


def read_block(arrays: Mapping[str, Any], block: Block) -> NDArray:
    """Rows of a block from the array of its chromosome."""
    return np.asarray(arrays[block.chrom][block.first : block.last])


class Matrix:
    """Reads a matrix dataset.

    Parameters
    ----------
    folder : Path
        Matrix dataset.

    Raises
    ------
    DataError
        The folder is missing, incomplete or of another kind.
    """

    def __init__(self, folder: Path) -> None:
        self.manifest = read_manifest(folder, MatrixManifest)
        self.fingerprint = fingerprint(folder)
        self._values = open_bins(folder / "matrix.zarr", whole=True)
        self._masks = Masks(folder / "mask.zarr", self.manifest.bins_with_data)
        self.regions = self.regions_in(None)
        absent = sorted({region.chrom for region in self.regions} - (set(self._values) & set(self._masks)))
        if absent:
            raise DataError(f"{folder}: no array for {absent[0]}; run preprocess again")

    @property
    def tracks(self) -> int:
        """Number of tracks."""
        return len(self.manifest.tracks)

    def regions_in(self, places: Sequence[str] | None) -> list[Block]:
        """Regions, all or what lies in some places (see `Manifest.region_list`)."""
        size = self.manifest.bin_size
        return [Block(region.chrom, *bins_of(region, size)) for region in self.manifest.region_list(places)]

    def blocks(self, places: Sequence[str] | None = None) -> list[Block]:
        """Regions, all or what lies in some places, cut into blocks of whole chunks; in the manifest's order."""
        return [block for region in self.regions_in(places) for block in self._cut(region)]

    def _cut(self, region: Block) -> list[Block]:
        size = int(np.clip(BLOCK_VALUES // max(self.tracks, 1), BLOCK_BINS_MIN, BLOCK_BINS_MAX))
        chunk = self._values[region.chrom].chunks[0]
        return cut(region, max(1, size // chunk) * chunk)

    def mask(self, block: Block) -> NDArray[np.bool_]:
        """Which bins of a block have data."""
        return read_block(self._masks, block)

    def rows(self, block: Block) -> NDArray[np.float32]:
        """Standardised (bin, track) values of a block, as the model sees them: in bins without data, a signal of 0."""
        return read_block(self._values, block).astype(np.float32)

    def covered(self) -> list[Region]:
        """Regions from their first bin with data to their last; those without any are left out.

        The matrix's own regions are wider: they are whole frames, and their edges may have no data.
        """
        bounds: dict[Block, tuple[int, int]] = {}
        for region in self.regions:
            for block in self._cut(region):
                filled = np.flatnonzero(self.mask(block))
                if len(filled):
                    first, _ = bounds.get(region, (block.first + int(filled[0]), 0))
                    bounds[region] = first, block.first + int(filled[-1]) + 1
        size, sizes = self.manifest.bin_size, self.manifest.chromosome_sizes
        return [
            Region(region.chrom, first * size, min(last * size, sizes[region.chrom]))
            for region, (first, last) in bounds.items()
        ]

    def widened(self, block: Block, margin: int, frame: int = 1) -> Block:
        """A block with more bins around it (see `widened`), as far as its region goes."""
        return widened(block, self.regions_on(block.chrom), margin, frame)

    def regions_on(self, chrom: str) -> list[Block]:
        """Regions of one chromosome."""
        return [Block(chrom, first, last) for first, last in self.manifest.bin_ranges.get(chrom, [])]
