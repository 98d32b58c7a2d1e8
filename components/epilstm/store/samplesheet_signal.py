"""Raw signal of a samplesheet's bigWigs, as ingest bins it, in the order of a served model's tracks."""

from __future__ import annotations

import hashlib
import resource
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from epilstm.console import log
from epilstm.errors import SamplesheetError
from epilstm.files.outputs import sha256_file, sha256_json
from epilstm.runtime.cores import available_cores
from epilstm.store.binned_track import Binning, check_chromosomes, empty_intervals_skipped, window_means
from epilstm.tracks.bigwig import BigWig
from epilstm.tracks.converting import as_bigwig, needs_converting
from epilstm.tracks.fetching import check_digest, download, name_of
from epilstm.tracks.identity import TrackSet, missing_tracks
from epilstm.tracks.samplesheet import Track, is_local, read_samplesheet, resolve_uri
from epilstm.tracks.signal_transform import Uncovered

#: Values (bins x tracks) of signal held at once, which bounds memory whatever the number of tracks.
HELD_VALUES = 8_000_000

#: File descriptors that are not bigWigs.
OTHER_DESCRIPTORS = 128

Signal = NDArray[np.float32]


@dataclass(frozen=True)
class TrackFile:
    """A track and its bigWig, a local file.

    Parameters
    ----------
    name : str
        What messages call the file.
    """

    track: Track
    path: Path
    name: str


def files_of(
    tracks: TrackSet, sheet: Path, downloads: Path, retries: int = 5, uncovered: Sequence[Uncovered] = ()
) -> list[TrackFile]:
    """The file of each of a model's tracks; remote ones are brought here first.

    Parameters
    ----------
    tracks : TrackSet
        In the model's order.
    sheet : Path
        Samplesheet; its further tracks are left out.
    downloads : Path
        Folder for remote files, which are not fetched again where they are there.
    retries : int
        Further attempts at a remote read.
    uncovered : sequence of Uncovered
        What uncovered bases of each are to the model, whatever the samplesheet says; a signal of 0 where it is empty.

    Raises
    ------
    SamplesheetError
        Tracks are missing.
    TrackError
        A remote file is unavailable, or is not the one that the samplesheet says.
    """
    listed = read_samplesheet(sheet)
    there = TrackSet.of([track.identity for track in listed])
    missing = missing_tracks(there, tracks)
    if missing:
        shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise SamplesheetError(
            f"{sheet}: has no {shown}: {len(missing)} of the model's {len(tracks)} tracks; add their rows, with the "
            "cell types and assays of training"
        )
    all_zero: list[Uncovered] = ["zero"] * len(tracks)
    rows = [listed[place] for place in there.places_of(tracks) if place is not None]
    by_row = zip(rows, uncovered or all_zero, strict=True)
    return [_local(replace(track, uncovered=each), sheet, downloads, retries) for track, each in by_row]


def _local(track: Track, sheet: Path, downloads: Path, retries: int) -> TrackFile:
    uri = resolve_uri(track.uri, sheet)
    if is_local(uri):
        return TrackFile(track, Path(uri), uri)
    path = downloads / f"{name_of(uri)}.bigwig"
    if not path.is_file():
        download(uri, path, retries)
    check_digest(sha256_file(path), track.sha256, uri)
    return TrackFile(track, path, uri)


def check_files(files: Sequence[TrackFile], binning: Binning, scratch: Path) -> list[TrackFile]:
    """Refuse files that hold no signal or are of another assembly, before any work.

    Parameters
    ----------
    scratch : Path
        Folder for what is converted to bigWig; it has to stay while the files are read.

    Returns
    -------
    list of TrackFile
        The files as bigWigs.

    Raises
    ------
    TrackError
        Names the first one.
    """
    found = []
    for number, file in enumerate(files):
        if needs_converting(file.path, file.name):
            folder = scratch / f"converted-{number}"
            folder.mkdir()
            file = replace(file, path=as_bigwig(file.path, file.name, binning.sizes, folder))
        with BigWig(file.path, file.name) as bigwig:
            check_chromosomes(bigwig, binning)
        found.append(file)
    return found


class ChromosomeSignal:
    """Signal of all tracks along one chromosome, read forward."""

    def __init__(self, files: Sequence[TrackFile], binning: Binning, chrom: str) -> None:
        self.files, self.binning, self.chrom = files, binning, chrom
        self._open = ExitStack()
        self._bigwigs: list[BigWig] = []
        self._first = 0
        self._rows: Signal = np.empty((0, len(files)), np.float32)

    def __enter__(self) -> ChromosomeSignal:
        _allow_open_files(len(self.files))
        with ExitStack() as opening:
            for file in self.files:
                bigwig = opening.enter_context(BigWig(file.path, file.name, only=self.chrom))
                self._bigwigs.append(bigwig)
            self._threads = opening.enter_context(ThreadPoolExecutor(min(available_cores(), len(self.files))))
            self._open = opening.pop_all()
        return self

    def __exit__(self, *details: object) -> None:
        self._open.close()
        for bigwig in self._bigwigs:
            if bigwig.empty_intervals:
                log.warning(empty_intervals_skipped(f"{bigwig.name}: {self.chrom}", bigwig.empty_intervals))
        self._bigwigs.clear()

    def rows(self, first: int, last: int, needed: int) -> Signal:
        """Raw signal of bins `first` to before `last`; those to before `needed` will be asked for next.

        Returns
        -------
        (bin, track) float32 array, NaN where a track has no data

        Raises
        ------
        TrackError
            A file is damaged.
        """
        held = self._first + len(self._rows)
        if not self._first <= first <= held:
            self._rows, self._first, held = self._rows[:0], first, first
        if last > held:
            end = max(last, min(needed, held + HELD_VALUES // len(self.files)))
            self._rows = np.concatenate([self._rows[first - self._first :], self._read(held, end)])
            self._first = first
        return self._rows[first - self._first : last - self._first]

    def _read(self, first: int, last: int) -> Signal:
        rows = np.full((last - first, len(self.files)), np.nan, np.float32)

        def fill(column: int) -> None:
            bigwig, uncovered = self._bigwigs[column], self.files[column].track.uncovered
            rows[:, column] = window_means(bigwig, self.binning, self.chrom, first, last, uncovered)

        for _ in self._threads.map(fill, range(len(self.files))):
            pass
        return rows


class Digest:
    """SHA-256 over tracks, bins and raw signal: what identifies a matrix that was never written.

    Parameters
    ----------
    binning : Binning
        Its regions say which bins the signal is of.
    """

    def __init__(self, tracks: TrackSet, binning: Binning) -> None:
        regions = [str(region) for region in binning.regions]
        fields = [each.fields for each in tracks.identities] if tracks.known else tracks.names
        self._sha256 = hashlib.sha256(sha256_json([fields, binning.bin_size, regions]).encode())

    def add(self, signal: Signal) -> None:
        """Add the next bins, (bin, track)."""
        self._sha256.update(np.ascontiguousarray(signal).data)

    def hexdigest(self) -> str:
        """As hexadecimal."""
        return self._sha256.hexdigest()


def _allow_open_files(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + OTHER_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
        )


def chromosomes(files: Sequence[TrackFile], binning: Binning) -> Iterator[ChromosomeSignal]:
    """Each chromosome that has regions, open while it is at hand."""
    for chrom in binning.chromosomes:
        with ChromosomeSignal(files, binning, chrom) as signal:
            yield signal
