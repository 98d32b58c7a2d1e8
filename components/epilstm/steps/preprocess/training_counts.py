"""What the training bins hold of each track: moments, histograms, and tracks with hardly any distinct values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from epilstm.console import log
from epilstm.genome.assembly import Region, bins_of, chromosomes_of
from epilstm.store.arrays import SIGNAL_CHUNK_BINS, Masks, TrackRows, open_signal
from epilstm.store.manifests import SignalManifest, Split
from epilstm.store.signal_histograms import read_histograms
from epilstm.tracks.transforms import transformed

#: Distinct values of a track in its training bins up to which preprocess warns.
FEW_VALUES = 10

#: Bins read at once.
BINS_AT_ONCE = 1_000_000


@dataclass(frozen=True)
class TrainingCounts:
    """The signal's manifest and histograms, as they would be if the signal were that of the training bins alone.

    Parameters
    ----------
    manifest : SignalManifest
        Its chromosomes' moments and `bins_with_data` are those of the training bins.
    histograms : (track, histogram bin) int64 array
        Over the training bins that a track covers.
    regions : tuple of Region
        Training regions.
    """

    manifest: SignalManifest
    histograms: npt.NDArray[np.int64]
    regions: tuple[Region, ...]

    @classmethod
    def of_all(cls, signal: Path, manifest: SignalManifest) -> TrainingCounts:
        """Counts of a whole signal dataset, where nothing is held out; errors as for `training_counts`."""
        histograms = read_histograms(signal, manifest, manifest.chromosomes)
        return cls(manifest, histograms, tuple(manifest.region_list()))

    @property
    def chromosomes(self) -> list[str]:
        """Chromosomes with training bins."""
        return chromosomes_of(self.regions)


def training_counts(signal: Path, manifest: SignalManifest, split: Split) -> TrainingCounts:
    """Counts of the training bins.

    Those of chromosomes that train as a whole are the signal's own. The signal of a chromosome of which a part is held
    out is read.

    Parameters
    ----------
    signal : Path
        Signal dataset.
    manifest : SignalManifest
        Its own.

    Raises
    ------
    DataError
        Its files are damaged.
    """
    regions = tuple(manifest.region_list(split.train))
    held_out = {region.chrom for region in manifest.region_list([*split.validation, *split.test])}
    partial = [chrom for chrom in chromosomes_of(regions) if chrom in held_out]
    whole = [chrom for chrom in chromosomes_of(regions) if chrom not in held_out]
    counts = read_histograms(signal, manifest, whole)
    if not partial:
        return TrainingCounts(manifest, counts, regions)
    bins, masks = dict(manifest.bins_with_data), Masks(signal / "mask.zarr", manifest.bins_with_data)
    moments = [dict(track.moments) for track in manifest.tracks]
    edges = np.array(manifest.histogram_edges)
    to_read = set(partial)
    own = [region for region in regions if region.chrom in to_read]
    bins.update(dict.fromkeys(partial, 0))
    for region in own:
        bins[region.chrom] += int(masks[region.chrom][slice(*bins_of(region, manifest.bin_size))].sum())
    arrays = open_signal(signal / "signal.zarr")
    reads = _reads(arrays, manifest.bin_size, own)
    for row, track in enumerate(manifest.tracks):
        sums = dict.fromkeys(partial, (0, 0.0, 0.0))
        for read in reads:
            pieces = {piece: values[~np.isnan(values)] for piece, values in _signal(arrays, row, read)}
            for piece, known in pieces.items():
                exact = transformed(known, track.transform).astype(np.float64)
                count, total, squares = sums[piece.chrom]
                sums[piece.chrom] = count + len(known), total + exact.sum(), squares + np.square(exact).sum()
            together = np.arcsinh(np.concatenate([*pieces.values()]))
            counts[row] += np.histogram(together.clip(edges[0], edges[-1]), edges)[0]
        moments[row] |= {
            chrom: (count, float(total), float(squares)) for chrom, (count, total, squares) in sums.items()
        }
    tracks = [track.model_copy(update={"moments": each}) for track, each in zip(manifest.tracks, moments, strict=True)]
    counted = manifest.model_copy(update={"tracks": tracks, "bins_with_data": bins})
    return TrainingCounts(counted, counts, regions)


def warn_of_few_values(signal: Path, counts: TrainingCounts) -> None:
    """Warn of each track that has hardly any distinct values in the training bins.

    Such a track is nearly constant, or nearly so but for a few bins, whose standardised values are then extreme.

    Raises
    ------
    DataError
        The signal's files are damaged.
    """
    # Distinct values in more than so many bins of the histogram cannot be few; nearly every track ends here, unread.
    occupied = (counts.histograms > 0).sum(axis=1)
    for row, track in enumerate(counts.manifest.tracks):
        if occupied[row] > FEW_VALUES:
            continue
        found = _distinct(signal, counts, row)
        if len(found) <= FEW_VALUES:
            shown = ", ".join(f"{value:g}" for value in sorted(found))
            log.warning(
                f"track {track.name}: {track.uri}: only {len(found)} distinct values in the training bins ({shown}): "
                "check that it is signal, and leave it out if it is not; what lies beyond preprocess.clip is cut "
                "off"
            )


def _distinct(signal: Path, counts: TrainingCounts, row: int) -> set[float]:
    """Distinct values of a track in the training bins; more than `FEW_VALUES` are not all of them."""
    found: set[float] = set()
    arrays = open_signal(signal / "signal.zarr")
    for read in _reads(arrays, counts.manifest.bin_size, counts.regions):
        values = np.concatenate([values for _, values in _signal(arrays, row, read)])
        if counts.manifest.tracks[row].uncovered == "missing":
            values = values[~np.isnan(values)]
        found.update(np.unique(np.nan_to_num(values)).tolist())
        if len(found) > FEW_VALUES:
            break
    return found


class _Piece(NamedTuple):
    """Bins of a region: where they lie in the array that holds its chromosome."""

    array: str
    first: int
    last: int
    chrom: str


def _reads(arrays: Mapping[str, TrackRows], bin_size: int, regions: Iterable[Region]) -> list[list[_Piece]]:
    """Regions in pieces, those together that are read at once: near each other in one array.

    Small chromosomes share an array, and a read takes a chunk of it at least.
    """
    pieces = []
    for region in regions:
        place = arrays[region.chrom].place
        first, last = (place.first + end for end in bins_of(region, bin_size))
        pieces += [
            _Piece(place.array, begin, min(begin + BINS_AT_ONCE, last), region.chrom)
            for begin in range(first, last, BINS_AT_ONCE)
        ]
    reads: list[list[_Piece]] = []
    for piece in sorted(pieces):
        begun = reads[-1] if reads else [piece]
        near = piece.array == begun[0].array and piece.first - begun[-1].last < SIGNAL_CHUNK_BINS
        if reads and near and piece.last - begun[0].first <= BINS_AT_ONCE:
            begun.append(piece)
        else:
            reads.append([piece])
    return reads


def _signal(
    arrays: Mapping[str, TrackRows], row: int, read: Sequence[_Piece]
) -> Iterator[tuple[_Piece, npt.NDArray[np.float32]]]:
    """Raw signal of a track in pieces that are read at once."""
    first = read[0].first
    values = arrays[read[0].chrom].whole()[row, first : read[-1].last]
    for piece in read:
        yield piece, values[piece.first - first : piece.last - first]
