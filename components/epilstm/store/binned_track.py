"""One track, binned: computed once, kept in a folder named after everything that it follows from."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from epilstm.errors import TrackError
from epilstm.files.outputs import read_json, sha256_json, write_json
from epilstm.genome.assembly import Assembly, Region, bin_count, bins_of, chromosomes_of
from epilstm.genome.name_matching import likely_cause, named
from epilstm.params import Codec
from epilstm.runtime.code_fingerprint import fingerprint_of
from epilstm.store.arrays import (
    SIGNAL_CHUNK_BINS,
    SIGNAL_SHARD_BINS,
    create_group,
    create_signal_array,
    write_absent_shards,
)
from epilstm.store.packing import Place, arrays_of, length_of, places_of
from epilstm.tracks.bigwig import BigWig
from epilstm.tracks.binning import HISTOGRAM_EDGES, FloatArray, SignalSummary, UnusableSignal, bin_means_and_empty
from epilstm.tracks.signal_transform import Transform, Uncovered

#: Bins averaged at once, a divisor of the shard; small enough for a processor's cache.
WINDOW_BINS = 200_000


@dataclass(frozen=True)
class Binning:
    """What is read of each track, and how it is stored: the same for all tracks of a data set.

    Parameters
    ----------
    assembly : str
        Name, for messages.
    sizes : dict of str to int
        All chromosomes of the assembly.
    regions : tuple of Region
        What to read: whole bins, sorted and merged.
    blacklist : tuple of Region
        Bins that any of these touches are without data.
    bin_size : int
        In base pairs.
    codec : str
        Of the signal store.
    """

    assembly: str
    sizes: dict[str, int]
    regions: tuple[Region, ...]
    blacklist: tuple[Region, ...]
    bin_size: int
    codec: Codec

    @classmethod
    def of(
        cls, assembly: Assembly, regions: list[Region], blacklist: list[Region], bin_size: int, codec: Codec
    ) -> Binning:
        """Build from an assembly and regions of it."""
        return cls(assembly.name, dict(assembly.sizes), tuple(regions), tuple(blacklist), bin_size, codec)

    @cached_property
    def chromosomes(self) -> list[str]:
        """Chromosomes that have regions, in the assembly's order."""
        return chromosomes_of(self.regions)

    def bins(self, chrom: str) -> int:
        """Number of bins of a chromosome."""
        return bin_count(self.sizes[chrom], self.bin_size)

    def bin_ranges(self, chrom: str) -> list[tuple[int, int]]:
        """First and one-past-last bin of each region of a chromosome."""
        return self._bin_ranges.get(chrom, [])

    def blacklisted(self, chrom: str) -> list[tuple[int, int]]:
        """First and one-past-last bin that each blacklisted interval of a chromosome touches."""
        return self._blacklisted.get(chrom, [])

    @cached_property
    def places(self) -> dict[str, Place]:
        """Where each chromosome lies in the arrays of the signal."""
        return places_of({chrom: self.bins(chrom) for chrom in self.chromosomes})

    @cached_property
    def arrays(self) -> dict[str, list[str]]:
        """Chromosomes of each array."""
        return arrays_of(self.places)

    def array_bins(self, array: str) -> int:
        """Number of bins of an array."""
        return length_of(self.places, self.arrays[array])

    def array_ranges(self, array: str) -> list[tuple[int, int]]:
        """First and one-past-last bin of each region that lies in an array, counted along the array."""
        return [
            (self.places[chrom].first + first, self.places[chrom].first + last)
            for chrom in self.arrays[array]
            for first, last in self.bin_ranges(chrom)
        ]

    @cached_property
    def _bin_ranges(self) -> dict[str, list[tuple[int, int]]]:
        return self._ranges_of(self.regions)

    @cached_property
    def _blacklisted(self) -> dict[str, list[tuple[int, int]]]:
        return self._ranges_of(self.blacklist)

    def _ranges_of(self, regions: Sequence[Region]) -> dict[str, list[tuple[int, int]]]:
        ranges: dict[str, list[tuple[int, int]]] = {}
        for region in regions:
            ranges.setdefault(region.chrom, []).append(bins_of(region, self.bin_size))
        return ranges

    @cached_property
    def region_bins(self) -> int:
        """Number of bins in all regions."""
        return sum(last - first for chrom in self.chromosomes for first, last in self.bin_ranges(chrom))

    @cached_property
    def blacklisted_bins(self) -> int:
        """Number of bins of the regions that the blacklist touches."""
        count = 0
        for chrom in self.chromosomes:
            outside = np.ones(self.bins(chrom), bool)
            for first, last in self.bin_ranges(chrom):
                outside[first:last] = False
            before = int(outside.sum())
            for first, last in self.blacklisted(chrom):
                outside[first:last] = True
            count += int(outside.sum()) - before
        return count

    @cached_property
    def blacklist_sha256(self) -> str:
        """Digest of the blacklisted intervals of the chromosomes that are read."""
        known = set(self.chromosomes)
        return sha256_json([[*asdict(region).values()] for region in self.blacklist if region.chrom in known])

    @cached_property
    def _settings(self) -> str:
        return sha256_json(
            {
                "code": fingerprint_of(__name__).sha256,
                "bin_size": self.bin_size,
                "sizes": {chrom: self.sizes[chrom] for chrom in self.chromosomes},
                "regions": [[*asdict(region).values()] for region in self.regions],
                "blacklist": self.blacklist_sha256,
                "codec": self.codec,
                "histogram_edges": HISTOGRAM_EDGES.tolist(),
            }
        )

    def key(self, digest: str, transform: Transform = "arcsinh", uncovered: Uncovered = "zero") -> str:
        """Name of the binned form of a file with a given SHA-256, treated as its track is."""
        settings = [] if (transform, uncovered) == ("arcsinh", "zero") else [transform, uncovered]
        return sha256_json([self._settings, digest, *settings])


class ChromosomeSummary(BaseModel):
    """Counts of one track on one chromosome; see `SignalSummary`. `histogram` lists the bins that are not empty."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    covered: int
    total: float
    squares: float
    histogram: dict[int, int]

    @classmethod
    def of(cls, summary: SignalSummary) -> ChromosomeSummary:
        """The counts as they are kept."""
        filled = np.flatnonzero(summary.histogram)
        return cls(
            covered=summary.covered,
            total=summary.total,
            squares=summary.squares,
            histogram=dict(zip(filled.tolist(), summary.histogram[filled].tolist(), strict=True)),
        )


class BinnedTrack(BaseModel):
    """What a binned track's folder says of itself, in ``track.json``.

    `absent` lists chromosomes with regions that the file does not have; `empty_intervals` counts intervals of length 0,
    which were skipped.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    sha256: str
    bytes: int
    chromosomes: dict[str, ChromosomeSummary]
    absent: list[str]
    empty_intervals: int = 0

    @property
    def covered(self) -> int:
        """Bins that the file covers."""
        return sum(summary.covered for summary in self.chromosomes.values())

    @property
    def without_data(self) -> list[str]:
        """Chromosomes with regions of which the file covers nothing."""
        return [chrom for chrom, summary in self.chromosomes.items() if not summary.covered]


SUMMARY, COVERAGE, SIGNAL = "track.json", "coverage.bin", "signal.zarr"


def read_binned_track(folder: Path) -> BinnedTrack:
    """Summary of the binned track in a folder."""
    return BinnedTrack.model_validate(read_json(folder / SUMMARY))


def check_chromosomes(bigwig: BigWig, binning: Binning) -> list[str]:
    """Compare a bigWig's chromosomes with the assembly's, as far as they have regions.

    Returns
    -------
    list of str
        Chromosomes with regions that the file lacks: no data there.

    Raises
    ------
    TrackError
        A chromosome with regions has another size, or none of them is in the file.
    """
    there = [chrom for chrom in binning.chromosomes if chrom in bigwig.chromosomes]
    differ = [chrom for chrom in there if bigwig.chromosomes[chrom] != binning.sizes[chrom]]
    if differ:
        chrom, few = differ[0], 2 * len(differ) < len(there)
        more = f" (and {len(differ) - 1} more differ)" if len(differ) > 1 else ""
        raise TrackError(
            f"{bigwig.name}: chromosome {chrom} is {bigwig.chromosomes[chrom]} bp in the file but "
            f"{binning.sizes[chrom]} in {binning.assembly}{more}: "
            + (
                f"leave it out of the regions (ingest.regions); the other {len(there) - len(differ)} chromosomes agree"
                if few
                else "wrong assembly? Set ingest.assembly to the one that the tracks were made with"
            )
        )
    absent = [chrom for chrom in binning.chromosomes if chrom not in bigwig.chromosomes]
    if len(absent) == len(binning.chromosomes):
        cause = likely_cause(list(bigwig.chromosomes), absent)
        raise TrackError(
            f"{bigwig.name}: none of the regions' chromosomes ({named(absent)}) is in the file (it has "
            f"{named(bigwig.chromosomes)}); {cause or 'check the assembly and the regions'}"
        )
    return absent


def bin_track(
    path: Path,
    digest: str,
    binning: Binning,
    folder: Path,
    name: str | None = None,
    transform: Transform = "arcsinh",
    uncovered: Uncovered = "zero",
    size: int | None = None,
) -> BinnedTrack:
    """Bin one bigWig into a folder.

    Parameters
    ----------
    path : Path
        Local bigWig.
    digest : str
        Its SHA-256.
    binning : Binning
        What to read.
    folder : Path
        Written: ``signal.zarr`` with a (1, bin) float32 array per chromosome (NaN where there is no data or no region;
        where uncovered bases are `zero`, a bin of a region has no data only if it is blacklisted),
        ``coverage.bin`` (see `read_coverage`) and ``track.json``.
    name : str, optional
        What messages call the file, where that is not its path.
    transform, uncovered
        The track's, as in `epilstm.tracks.samplesheet.Track`.
    size : int, optional
        Bytes of the file that the user gave, where the bigWig was converted from it.

    Raises
    ------
    TrackError
        The file is unusable, of another assembly, without any signal (or any in the regions, where what it does not
        cover is no signal of 0), or has signal that its transform cannot take.
    """
    summaries: dict[str, ChromosomeSummary] = {}
    coverage: list[bytes] = []
    with BigWig(path, name) as bigwig:
        absent = check_chromosomes(bigwig, binning)
        group = create_group(folder / SIGNAL, binning.places)
        without = set(absent)
        for name_of_array, chroms in binning.arrays.items():
            length = binning.array_bins(name_of_array)
            ranges = binning.array_ranges(name_of_array)
            array = create_signal_array(group, name_of_array, 1, length, binning.codec, ranges)
            # Small chromosomes that share an array are written to it at once.
            together = np.full(length, np.nan, np.float32) if name_of_array not in chroms else None
            for chrom in chroms:
                summary = SignalSummary.empty(transform)
                covered = np.zeros(binning.bins(chrom), bool)
                empty = chrom in without and uncovered != "zero"
                for first, signal in () if empty else _shards(bigwig, binning, chrom, summary, covered, uncovered):
                    into = array if together is None else together[None]
                    start = binning.places[chrom].first + first
                    into[0, start : start + len(signal)] = signal
                summaries[chrom] = ChromosomeSummary.of(summary)
                coverage += [np.packbits(covered[first:last]).tobytes() for first, last in binning.bin_ranges(chrom)]
            if together is not None:
                array[0] = together
            write_absent_shards(folder / SIGNAL, array)
        has_intervals = bigwig.has_intervals
    track = BinnedTrack(
        sha256=digest,
        bytes=path.stat().st_size if size is None else size,
        chromosomes=summaries,
        absent=absent,
        empty_intervals=bigwig.empty_intervals,
    )
    if not has_intervals:
        raise TrackError(f"{bigwig.name}: the file holds no signal at all; make or download it again")
    if track.covered == 0 and uncovered != "zero":
        raise TrackError(f"{bigwig.name}: no data in any region; check the file, the regions and the blacklist")
    (folder / COVERAGE).write_bytes(zlib.compress(b"".join(coverage), level=1))
    write_json(folder / SUMMARY, track.model_dump(mode="json"))
    return track


def _shards(
    bigwig: BigWig,
    binning: Binning,
    chrom: str,
    summary: SignalSummary,
    covered: npt.NDArray[np.bool_],
    uncovered: Uncovered,
) -> Iterator[tuple[int, FloatArray]]:
    """Signal of a chromosome as (first bin, signal), each of whole chunks of one shard; NaN outside the regions.

    Bins that the file covers are counted in `summary` and noted in `covered`, (bin,).
    """
    bins = binning.bins(chrom)
    for _, group in groupby(_windows(binning, chrom), key=lambda window: window[0] // SIGNAL_SHARD_BINS):
        windows = list(group)
        first = windows[0][0] // SIGNAL_CHUNK_BINS * SIGNAL_CHUNK_BINS
        end = min(-(-windows[-1][1] // SIGNAL_CHUNK_BINS) * SIGNAL_CHUNK_BINS, bins)
        signal = np.full(end - first, np.nan, np.float32)
        for window in windows:
            means = _covered_means(bigwig, binning, chrom, *window, uncovered)
            if summary.transform == "log1p":
                _require_not_negative(bigwig, chrom, window[0] * binning.bin_size, binning.bin_size, means)
            covered[window[0] : window[1]] = ~np.isnan(means)
            summary.add(means)
            if uncovered == "zero":
                _fill_with_zero(means, binning, chrom, window[0])
            signal[window[0] - first : window[1] - first] = means
        yield first, signal


def _require_not_negative(bigwig: BigWig, chrom: str, start: int, bin_size: int, means: FloatArray) -> None:
    below = means < 0
    if below.any():
        place = int(np.nanargmin(means))
        raise TrackError(
            f"{bigwig.name}: {chrom}: signal below 0 ({means[place]:g} at base {start + place * bin_size:,}, in "
            f"{below.sum():,} bins), which log1p does not take; set the track's transform to arcsinh (or none) in the "
            "samplesheet"
        )


def _windows(binning: Binning, chrom: str) -> Iterator[tuple[int, int]]:
    """Regions of a chromosome cut at the edges of windows, and so of shards."""
    for first, last in binning.bin_ranges(chrom):
        while first < last:
            end = min(last, (first // WINDOW_BINS + 1) * WINDOW_BINS)
            yield first, end
            first = end


def window_means(
    bigwig: BigWig, binning: Binning, chrom: str, first: int, end: int, uncovered: Uncovered = "zero"
) -> FloatArray:
    """Mean signal of bins `first` to before `end` of a chromosome; NaN where there is no data.

    Where uncovered bases are `zero`, a bin that the file does not cover is 0, and only what is blacklisted has no data.

    Raises
    ------
    TrackError
        The signal there is unusable.
    """
    means = _covered_means(bigwig, binning, chrom, first, end, uncovered)
    if uncovered == "zero":
        _fill_with_zero(means, binning, chrom, first)
    return means


def _covered_means(
    bigwig: BigWig, binning: Binning, chrom: str, first: int, end: int, uncovered: Uncovered
) -> FloatArray:
    """Mean signal of bins; NaN where the file covers nothing, and in the blacklist."""
    if chrom not in bigwig.chromosomes:
        return np.full(end - first, np.nan, np.float32)
    start, stop = first * binning.bin_size, min(end * binning.bin_size, binning.sizes[chrom])
    try:
        means, empty = bin_means_and_empty(
            bigwig.intervals(chrom, start, stop), start, stop, binning.bin_size, uncovered
        )
    except UnusableSignal as error:
        raise TrackError(f"{bigwig.name}: {chrom}: {error}; make the bigWig again") from error
    bigwig.empty_intervals += empty
    _blank(means, binning, chrom, first)
    return means


def empty_intervals_skipped(name: str, count: int) -> str:
    """Return the warning about a file's intervals of length 0."""
    return f"{name}: {count:,} interval{'' if count == 1 else 's'} of length 0 skipped"


def _fill_with_zero(means: FloatArray, binning: Binning, chrom: str, first: int) -> None:
    """Set bins without data to 0, but for those of the blacklist."""
    means[np.isnan(means)] = 0
    _blank(means, binning, chrom, first)


def _blank(means: FloatArray, binning: Binning, chrom: str, first: int) -> None:
    """Set bins of the blacklist to NaN."""
    for begin, last in binning.blacklisted(chrom):
        means[max(begin - first, 0) : max(last - first, 0)] = np.nan


def read_coverage(folder: Path) -> npt.NDArray[np.uint8]:
    """Which bins of the regions the file covers.

    Returns
    -------
    (byte,) uint8 array
        Eight bins a byte (`numpy.packbits`), region after region, each begun on a new byte.
    """
    return np.frombuffer(zlib.decompress((folder / COVERAGE).read_bytes()), np.uint8)


def unpack_coverage(packed: npt.NDArray[np.uint8], binning: Binning) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """Turn coverage into a (bin,) bool array per chromosome, False outside the regions."""
    at = 0
    for chrom in binning.chromosomes:
        covered = np.zeros(binning.bins(chrom), bool)
        for first, last in binning.bin_ranges(chrom):
            size = -(-(last - first) // 8)
            covered[first:last] = np.unpackbits(packed[at : at + size], count=last - first).view(bool)
            at += size
        yield chrom, covered


def moments(track: BinnedTrack) -> dict[str, tuple[int, float, float]]:
    """(covered bins, sum, sum of squares) of the transformed signal per chromosome."""
    return {chrom: (part.covered, part.total, part.squares) for chrom, part in track.chromosomes.items()}


def histograms(track: BinnedTrack, chromosomes: list[str]) -> npt.NDArray[np.int64]:
    """Counts of each chromosome's histogram bins that are not empty: (count, 3) of chromosome, bin and count."""
    return np.array(
        [
            (place, *filled)
            for place, chrom in enumerate(chromosomes)
            for filled in track.chromosomes[chrom].histogram.items()
        ],
        np.int64,
    ).reshape(-1, 3)
