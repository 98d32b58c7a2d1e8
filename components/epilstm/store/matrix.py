"""The matrix dataset, read a range of bins at a time.

All that reads a matrix reads it here, but for ``embed``: a part of it may have the arrays of its own chromosomes alone,
and it goes through them shard by shard (`epilstm.steps.embed.command`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from epilstm.errors import DataError
from epilstm.files.outputs import fingerprint
from epilstm.genome.assembly import Region, bins_of
from epilstm.genome.bin_range import BinRange
from epilstm.store.arrays import Masks
from epilstm.store.bin_ranges import block_bins, read_rows
from epilstm.store.manifests import MatrixManifest, Split, read_manifest
from epilstm.store.shards import open_bins


class Matrix:
    """Reads a matrix dataset; several threads may read values at once, and masks once they are held.

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
        self.folder = folder
        self.manifest = read_manifest(folder, MatrixManifest)
        self.fingerprint = fingerprint(folder)
        self._values = open_bins(folder / "matrix.zarr", whole=True)
        self._masks: Mapping[str, NDArray[np.bool_]] = Masks(folder / "mask.zarr", self.manifest.bins_with_data)
        self.regions = self.regions_in(None)
        for group, there in (("matrix.zarr", self._values), ("mask.zarr", self._masks)):
            absent = sorted({region.chrom for region in self.regions} - set(there))
            if absent:
                raise DataError(f"{folder / group}: no array for {absent[0]}; run preprocess again")

    def with_split(self, split: Split) -> Matrix:
        """The same matrix with other places to fit on and to test on."""
        other = copy(self)
        other.manifest = self.manifest.with_split(split)
        return other

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
        return [block for region in self.regions_in(places) for block in self.cut(region)]

    def blocks_on(self, chrom: str) -> list[BinRange]:
        """Regions of one chromosome, cut into blocks of whole chunks."""
        return [block for region in self.regions_on(chrom) for block in self.cut(region)]

    def cut(self, region: BinRange) -> list[BinRange]:
        """A region cut into blocks of whole chunks."""
        return region.cut(block_bins(self.tracks, self.chunk_bins(region.chrom)))

    def chunk_bins(self, chrom: str) -> int:
        """Bins of a chunk, which is decompressed whole."""
        return int(self._values[chrom].chunks[0])

    def hold_masks(self, chromosomes: Iterable[str]) -> None:
        """Hold the masks of some chromosomes in memory, a byte per bin; no others are read from here on."""
        self._masks = {chrom: self._masks[chrom] for chrom in dict.fromkeys(chromosomes)}

    def mask(self, block: BinRange) -> NDArray[np.bool_]:
        """Which bins of a block have data."""
        return self._masks[block.chrom][block.slice]

    def values(self, block: BinRange) -> NDArray[np.float16]:
        """Standardised (bin, track) values of a block as they are stored: in bins without data, a signal of 0.

        Raises
        ------
        DataError
            A file is missing or damaged.
        """
        return read_rows(self.folder, self._values[block.chrom], block.first, block.last)

    def rows(self, block: BinRange) -> NDArray[np.float32]:
        """The same in the precision that is computed in."""
        return self.values(block).astype(np.float32)

    def covered(self) -> list[Region]:
        """Regions from their first bin with data to their last; those without any are left out.

        The matrix's own regions are wider: they are whole frames, and their edges may have no data.
        """
        bounds: dict[BinRange, tuple[int, int]] = {}
        for region in self.regions:
            for block in self.cut(region):
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
