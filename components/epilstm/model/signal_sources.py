"""Where signal comes from: an array, a samplesheet's bigWigs, a signal dataset, a matrix dataset."""

from __future__ import annotations

import tempfile
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from epilstm.errors import DataError, GenomeError, ModelError, ParamsError, SamplesheetError
from epilstm.files.outputs import MANIFEST, put_back, read_json
from epilstm.genome.assembly import (
    BUILT_IN_ASSEMBLIES,
    Assembly,
    Region,
    RegionIndex,
    bin_count,
    bins_of,
    load_assembly,
    read_blacklist,
)
from epilstm.genome.bin_range import BinRange
from epilstm.model.folder import ModelManifest
from epilstm.store.manifests import (
    Manifest,
    Scaler,
    SignalManifest,
    read_manifest,
    read_scaler,
    scaler_digest,
)
from epilstm.store.standardisation import standardise, stored
from epilstm.tracks.identity import TrackSet, missing_tracks, same_tracks

#: What to do about a model's tracks that the signal lacks.
Missing = Literal["error", "mask"]

#: Tracks that a message names at most.
NAMED = 3


@dataclass(frozen=True)
class Rows:
    """Consecutive bins as the model sees them.

    Parameters
    ----------
    values : (bin, track) float16 array
        Standardised; hidden tracks are at their mean, 0, or NaN for a model by cell type.
    mask : (bin,) bool array
        Any shown track has data.
    """

    values: NDArray[np.float16]
    mask: NDArray[np.bool_]


@dataclass(frozen=True)
class Wanted:
    """What a model takes, and what of it is hidden.

    Parameters
    ----------
    manifest : ModelManifest
    hidden : frozenset of str
        Tracks that the caller hides.
    missing : str
        ``error``, or ``mask`` to hide tracks that the signal lacks.
    """

    manifest: ModelManifest
    hidden: frozenset[str] = frozenset()
    missing: Missing = "error"

    @property
    def scaler(self) -> Scaler:
        """The model's."""
        return self.manifest.scaler

    def shown(self, there: TrackSet, where: str) -> NDArray[np.bool_]:
        """Which tracks are shown, (track,): among those that are there, and not hidden.

        Raises
        ------
        SamplesheetError
            Tracks are missing, or none is left.
        """
        tracks = self.manifest.tracks
        lacking = [name for name in missing_tracks(there, self.manifest.track_set) if name not in self.hidden]
        if lacking:
            names = ", ".join(lacking[:NAMED]) + (", ..." if len(lacking) > NAMED else "")
            of = f"{len(lacking)} of the model's {len(tracks)} tracks"
            if self.missing == "error":
                raise SamplesheetError(
                    f"{where}: has no {names}: {of}; add them, with the cell types and assays of training, or hide "
                    "them with missing='mask'"
                )
            warnings.warn(f"{where}: has no {names}: {of} hidden", stacklevel=6)
        places = there.places_of(self.manifest.track_set)
        shown = np.array(
            [place is not None and name not in self.hidden for name, place in zip(tracks, places, strict=True)], bool
        )
        if not shown.any():
            raise SamplesheetError(f"{where}: none of the model's {len(tracks)} tracks is there and shown")
        return shown

    def rows(self, raw: NDArray[np.floating], shown: NDArray[np.bool_]) -> Rows:
        """Raw signal (bin, track), NaN for no data, as the model sees it: rounded to float16, as a matrix is."""
        mask = ~np.isnan(raw[:, shown]).all(axis=1)
        values = standardise(np.ascontiguousarray(raw, np.float32), self.scaler)
        values[:, ~shown] = 0 if self.manifest.config.cell_types is None else np.nan
        return Rows(stored(values), mask)


class Source(ABC):
    """Signal along a genome. A context manager, for what it holds open."""

    assembly: Assembly

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *exception: object) -> None:  # noqa: B027 - not every source holds files open
        """Let go of files."""

    @abstractmethod
    def regions(self) -> list[Region] | None:
        """Regions to take where the caller names none; None where there is no such thing."""

    @abstractmethod
    def prepare(self, regions: Sequence[Region]) -> None:
        """Check that the regions can be read."""

    @abstractmethod
    def reach(self, region: Region) -> tuple[int, int]:
        """First and one-past-last bin around a region that context may come from; whole frames.

        Raises
        ------
        GenomeError
            The region is not all there.
        """

    @abstractmethod
    def rows(self, chrom: str, first: int, last: int) -> Rows:
        """Bins `first` to before `last`, within reach."""


class SamplesheetSource(Source):
    """The bigWigs of a samplesheet, binned as ingest does it.

    Parameters
    ----------
    sheet : Path
    wanted : Wanted
    assembly : Assembly
    blacklist : Path or None
        BED of bins to take as without data.
    downloads : Path or None
        Folder that remote files are kept in; forgotten if None.
    """

    def __init__(
        self, sheet: Path, wanted: Wanted, assembly: Assembly, blacklist: Path | None, downloads: Path | None
    ) -> None:
        from epilstm.tracks.samplesheet import read_samplesheet

        self.sheet, self.wanted, self.assembly, self.downloads = sheet, wanted, assembly, downloads
        there = TrackSet.of([track.identity for track in read_samplesheet(sheet)])
        self.shown = wanted.shown(there, str(sheet))
        self.places = np.flatnonzero(self.shown)
        self.blacklist = [] if blacklist is None else read_blacklist(blacklist, assembly)
        self._open = ExitStack()
        self._signal: Any = None

    def __exit__(self, *exception: object) -> None:
        self._open.close()

    def regions(self) -> list[Region] | None:
        """There is no end to a samplesheet's genome but the genome's."""
        return None

    def prepare(self, regions: Sequence[Region]) -> None:
        """Fetch remote files, and refuse those that are no bigWigs or of another assembly."""
        from epilstm.genome.assembly import merge
        from epilstm.store.binned_track import Binning
        from epilstm.store.samplesheet_signal import check_files, files_of

        manifest = self.wanted.manifest
        kept = self.downloads or Path(self._open.enter_context(tempfile.TemporaryDirectory(prefix="epilstm-")))
        self.files = files_of(
            manifest.track_set.select(self.places.tolist()),
            self.sheet,
            kept,
            uncovered=[manifest.scaler.uncovered_bases[place] for place in self.places],
        )
        self.binning = Binning.of(
            self.assembly, merge(regions, self.assembly), self.blacklist, manifest.bin_size, "none"
        )
        scratch = Path(self._open.enter_context(tempfile.TemporaryDirectory(prefix="epilstm-")))
        self.files = check_files(self.files, self.binning, scratch)

    def reach(self, region: Region) -> tuple[int, int]:
        """All of the chromosome."""
        return 0, _whole_frames(self._bins(region.chrom), self.wanted.manifest)

    def rows(self, chrom: str, first: int, last: int) -> Rows:
        """Read and standardise; tracks that are not there are hidden."""
        raw = np.full((last - first, len(self.shown)), np.nan, np.float32)
        known = min(last, self._bins(chrom))
        raw[: known - first, self.places] = self._along(chrom).rows(first, known, known)
        return self.wanted.rows(raw, self.shown)

    def _bins(self, chrom: str) -> int:
        return bin_count(self.assembly[chrom], self.wanted.manifest.bin_size)

    def _along(self, chrom: str) -> Any:
        from epilstm.store.samplesheet_signal import ChromosomeSignal

        if self._signal is None or self._signal.chrom != chrom:
            if self._signal is not None:
                self._signal.__exit__(None, None, None)
                self._signal = None
            self._signal = ChromosomeSignal(self.files, self.binning, chrom).__enter__()
            self._open.push(self._signal)
        return self._signal


class _Dataset(Source):
    """A dataset folder; context stays within its regions, as in embed."""

    def __init__(self, folder: Path, wanted: Wanted, manifest: Manifest) -> None:
        from epilstm.genome.frames import widen_to_frames

        self.folder, self.wanted, self.manifest = folder, wanted, manifest
        frame = wanted.manifest.frame_bins * manifest.bin_size
        self._around = RegionIndex(widen_to_frames(manifest.region_list(), frame))
        self.assembly = Assembly(str(folder), manifest.chromosome_sizes)
        if manifest.bin_size != wanted.manifest.bin_size:
            raise DataError(
                f"{folder}: bins are {manifest.bin_size} bp, {wanted.manifest.bin_size} bp in the model; ingest again "
                f"with ingest.bin_size: {wanted.manifest.bin_size}"
            )

    def regions(self) -> list[Region]:
        """The dataset's, no further than their chromosomes."""
        sizes = self.manifest.chromosome_sizes
        return [Region(r.chrom, r.start, min(r.end, sizes[r.chrom])) for r in self.manifest.region_list()]

    def prepare(self, regions: Sequence[Region]) -> None:
        """Each must lie in the dataset."""
        for region in regions:
            self.reach(region)

    def reach(self, region: Region) -> tuple[int, int]:
        """The region of the dataset that it lies in, widened to whole frames as preprocess does it."""
        for around in self._around.overlapping(region):
            if around.start <= region.start and region.end <= around.end:
                return bins_of(around, self.manifest.bin_size)
        raise GenomeError(f"{self.folder}: region {region} is not in it; ingest it, or name one of its regions")


class SignalDatasetSource(_Dataset):
    """A signal dataset, as ingest writes it."""

    def __init__(self, folder: Path, wanted: Wanted) -> None:
        from epilstm.store.arrays import open_signal
        from epilstm.store.manifests import require_binned_alike

        manifest = read_manifest(folder, SignalManifest)
        super().__init__(folder, wanted, manifest)
        require_binned_alike(manifest, wanted.scaler)
        there = manifest.track_set
        self.shown = wanted.shown(there, str(folder))
        self.places = np.flatnonzero(self.shown)
        rows = there.places_of(wanted.manifest.track_set)
        self.places_there = [rows[place] for place in self.places]
        self.arrays = open_signal(folder / "signal.zarr")

    def rows(self, chrom: str, first: int, last: int) -> Rows:
        """Read and standardise."""
        raw = np.full((last - first, len(self.shown)), np.nan, np.float32)
        known = min(last, self.manifest.bins(chrom))
        if chrom not in self.arrays:
            raise DataError(f"{self.folder}: {chrom} is missing; run ingest again")
        for place, row in zip(self.places, self.places_there, strict=True):
            raw[: known - first, place] = self.arrays[chrom][row, first:known]
        return self.wanted.rows(raw, self.shown)


class MatrixSource(_Dataset):
    """A matrix dataset, as preprocess writes it; it must be the model's kind."""

    def __init__(self, folder: Path, wanted: Wanted) -> None:
        from epilstm.store.matrix import Matrix

        self.matrix = Matrix(folder)
        manifest = self.matrix.manifest
        super().__init__(folder, wanted, manifest)
        scaler = read_scaler(folder, manifest)
        same = same_tracks(manifest.track_set, wanted.manifest.track_set)
        if not same or scaler_digest(scaler) != scaler_digest(wanted.scaler):
            what = "another standardisation" if same else "other tracks"
            raise ModelError(
                f"{folder}: the matrix has {what} than the model was trained with; give the signal dataset, or "
                "preprocess again with the model's encoder (--encoder)"
            )
        self.shown = wanted.shown(manifest.track_set, str(folder))

    def rows(self, chrom: str, first: int, last: int) -> Rows:
        """Read."""
        bins = BinRange(chrom, first, last)
        values = self.matrix.values(bins)
        values[:, ~self.shown] = 0
        return Rows(values, self.matrix.mask(bins))


def open_source(
    path: Path, wanted: Wanted, assembly: str | Path | None, blacklist: Path | None, downloads: Path | None
) -> Source:
    """Signal that lies at a path.

    Raises
    ------
    EpilstmError
        Nothing usable there.
    """
    put_back(path)
    if path.is_dir():
        for name, given in (("assembly", assembly), ("blacklist", blacklist), ("downloads", downloads)):
            if given is not None:
                raise ParamsError(f"{name}={str(given)!r} goes with a samplesheet; the dataset {path} has its own")
        kind = str(read_json(path / MANIFEST).get("format", "")) if (path / MANIFEST).is_file() else ""
        if kind.startswith("epilstm.signal/"):
            return SignalDatasetSource(path, wanted)
        if kind.startswith("epilstm.matrix/"):
            return MatrixSource(path, wanted)
        raise DataError(
            f"{path}: holds {kind.partition('/')[0] or 'no dataset'}; give a samplesheet, a signal or a matrix dataset"
        )
    if not path.is_file():
        raise DataError(f"{path}: no such file or folder; give a samplesheet (CSV), a signal or a matrix dataset")
    return SamplesheetSource(path, wanted, _assembly(assembly, wanted.manifest), blacklist, downloads)


def raw_array(signal: Any, wanted: Wanted) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """A caller's array or table of raw signal.

    Parameters
    ----------
    signal : array-like (bin, track), or pandas.DataFrame with columns named for tracks
    wanted : Wanted

    Returns
    -------
    (bin, track) float32 array, NaN where there is no data, and which tracks are shown

    Raises
    ------
    DataError
        Wrong number of tracks, not numbers, or infinite.
    """
    tracks = wanted.manifest.tracks
    if hasattr(signal, "columns"):
        shown = wanted.shown(TrackSet.of_names([str(name) for name in signal.columns]), "the table")
        if len(set(signal.columns)) < len(signal.columns):
            raise DataError("the table has columns of the same name; each track has one")
        signal = signal.reindex(columns=tracks)
    else:
        shown = wanted.shown(wanted.manifest.track_set, "the array")
    if np.iscomplexobj(signal):
        raise DataError("not an array of numbers: they are complex")
    try:
        with np.errstate(over="ignore"):
            values: NDArray[np.float32] = np.asarray(signal, np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"not an array of numbers: {error}") from None
    if values.ndim != 2 or values.shape[1] != len(tracks):
        turned = "; transpose it" if values.ndim == 2 and values.shape[0] == len(tracks) else ""
        raise DataError(
            f"the array is of shape {values.shape}, expected (bins, {len(tracks)}): a column per track, in the order "
            f"of model.tracks{turned}"
        )
    if np.isinf(values).any():
        raise DataError("the array holds infinite values, or some too large for float32; NaN stands for no data")
    return values, shown


def _assembly(given: str | Path | None, manifest: ModelManifest) -> Assembly:
    name = str(given) if given is not None else manifest.assembly
    if given is None and name not in BUILT_IN_ASSEMBLIES and not Path(name).is_file():
        raise ParamsError(f"the model's assembly is {name}, no file here; give its chrom.sizes file (assembly=...)")
    return load_assembly(name)


def _whole_frames(bins: int, manifest: ModelManifest) -> int:
    return -(-bins // manifest.frame_bins) * manifest.frame_bins
