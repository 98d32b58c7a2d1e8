"""The signal dataset, read a block of bins at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from epilstm.errors import DataError
from epilstm.genome.assembly import bins_of
from epilstm.genome.bin_range import BinRange
from epilstm.store.arrays import Masks, open_signal
from epilstm.store.manifests import SignalManifest, read_manifest
from epilstm.store.matrix_writing import require_files
from epilstm.tracks.identity import TrackSet, named_as

#: Tracks read at once, which bounds what zarr decompresses at a time.
TRACKS_AT_ONCE = 32


class SignalReader:
    """Reads a signal dataset.

    Parameters
    ----------
    reference : TrackSet, optional
        Tracks that are the same have the names they have there.

    Raises
    ------
    DataError
        The folder is missing, incomplete or of another kind.
    """

    def __init__(self, folder: Path, reference: TrackSet | None = None) -> None:
        self.folder = folder
        self.manifest = read_manifest(folder, SignalManifest)
        own = self.manifest.track_set
        self.track_set = own if reference is None else named_as(own, reference)
        require_files(folder / "signal.zarr", self.manifest, self.manifest.chromosomes)
        self.regions = [
            BinRange(region.chrom, *bins_of(region, self.manifest.bin_size)) for region in self.manifest.region_list()
        ]
        self._values = open_signal(folder / "signal.zarr")
        self._masks = Masks(folder / "mask.zarr", self.manifest.bins_with_data)

    @property
    def tracks(self) -> list[str]:
        """Track names in the order of rows."""
        return list(self.track_set.names)

    def ranges(self) -> dict[str, list[tuple[int, int]]]:
        """First and one-past-last bin of each region, by chromosome."""
        return self.manifest.bin_ranges

    def regions_on(self, chrom: str) -> list[BinRange]:
        """Regions of one chromosome."""
        return [BinRange(chrom, first, last) for first, last in self.manifest.bin_ranges.get(chrom, [])]

    def mask(self, block: BinRange) -> NDArray[np.bool_]:
        """Which bins of a block have data in any track."""
        return self._masks[block.chrom][block.first : block.last]

    def signal(self, block: BinRange) -> NDArray[np.float32]:
        """Raw signal of a block, (bin, track), NaN where a track has no data.

        Raises
        ------
        DataError
            A file is damaged, or a value is not finite.
        """
        stored = self._values[block.chrom]
        rows = np.empty((block.bins, len(self.manifest.tracks)), np.float32)
        for first in range(0, rows.shape[1], TRACKS_AT_ONCE):
            columns = slice(first, first + TRACKS_AT_ONCE)
            rows[:, columns] = stored[columns, block.first : block.last].T
        if np.isinf(rows).any():
            track = self.tracks[int(np.isinf(rows).any(axis=0).argmax())]
            raise DataError(f"{self.folder}: {block.chrom}: {track} is infinite somewhere; run ingest again")
        return rows
