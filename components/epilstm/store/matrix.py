"""The matrix dataset, read a block of bins at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from epilstm.errors import DataError
from epilstm.files.outputs import fingerprint
from epilstm.genome.assembly import Region, bins_of
from epilstm.genome.bin_range import BinRange
from epilstm.store.arrays import Masks
from epilstm.store.manifests import MatrixManifest, read_manifest
from epilstm.store.shards import open_bins

#: Values (bins x tracks) of a block, which bounds memory whatever the number of tracks; the fewest bins are a chunk.
BLOCK_VALUES = 2_500_000
BLOCK_BINS_MIN, BLOCK_BINS_MAX = 2_000, 100_000


def read_block(arrays: Mapping[str, Any], block: BinRange) -> NDArray:
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

    def regions_in(self, places: Sequence[str] | None) -> list[BinRange]:
        """Regions, all or what lies in some places (see `Manifest.region_list`)."""
        size = self.manifest.bin_size
        return [BinRange(region.chrom, *bins_of(region, size)) for region in self.manifest.region_list(places)]

    def blocks(self, places: Sequence[str] | None = None) -> list[BinRange]:
        """Regions, all or what lies in some places, cut into blocks of whole chunks; in the manifest's order."""
        return [block for region in self.regions_in(places) for block in self._cut(region)]

    def blocks_on(self, chrom: str) -> list[BinRange]:
        """Regions of one chromosome, cut into blocks of whole chunks."""
        return [block for region in self.regions_on(chrom) for block in self._cut(region)]

    def _cut(self, region: BinRange) -> list[BinRange]:
        size = int(np.clip(BLOCK_VALUES // max(self.tracks, 1), BLOCK_BINS_MIN, BLOCK_BINS_MAX))
        chunk = self._values[region.chrom].chunks[0]
        return region.cut(max(1, size // chunk) * chunk)

    def mask(self, block: BinRange) -> NDArray[np.bool_]:
        """Which bins of a block have data."""
        return read_block(self._masks, block)

    def rows(self, block: BinRange) -> NDArray[np.float32]:
        """Standardised (bin, track) values of a block, as the model sees them: in bins without data, a signal of 0."""
        return read_block(self._values, block).astype(np.float32)

    def covered(self) -> list[Region]:
        """Regions from their first bin with data to their last; those without any are left out.

        The matrix's own regions are wider: they are whole frames, and their edges may have no data.
        """
        bounds: dict[BinRange, tuple[int, int]] = {}
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

    def widened(self, block: BinRange, margin: int, frame: int = 1) -> BinRange:
        """A block with more bins around it (see `widened`), as far as its region goes."""
        return block.widened(self.regions_on(block.chrom), margin, frame)

    def regions_on(self, chrom: str) -> list[BinRange]:
        """Regions of one chromosome."""
        return [BinRange(chrom, first, last) for first, last in self.manifest.bin_ranges.get(chrom, [])]
