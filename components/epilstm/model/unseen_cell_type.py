"""Assays of a cell type that training never saw: its files, found by assay, and its imputed signal."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from epilstm.console import log
from epilstm.errors import ModelError, ParamsError, SamplesheetError
from epilstm.genome.assembly import Assembly, Region, merge
from epilstm.genome.bin_range import BinRange
from epilstm.model.folder import ModelManifest
from epilstm.model.imputer import Imputer, impute
from epilstm.model.imputer_config import ImputerConfig, by_assay, reference_of
from epilstm.store.bin_ranges import bin_ranges_of, block_bins, sizes_of
from epilstm.store.binned_track import Binning
from epilstm.store.manifests import Scaler
from epilstm.store.matrix import Matrix
from epilstm.store.samplesheet_signal import ChromosomeSignal, TrackFile, check_files, files_of
from epilstm.store.standardisation import standardise, to_signal
from epilstm.tracks.assay_names import matching_assay
from epilstm.tracks.identity import TrackSet
from epilstm.tracks.samplesheet import Track, read_samplesheet

#: Bins whose values are compared with the training tracks'.
COMPARED_BINS = 50_000

#: How far the mean or the spread of an assay may lie outside those of its training tracks, as a factor.
FAR = 2.0


@dataclass(frozen=True)
class Imputed:
    """Imputed bins: means in the units of the files, deviations in the space of the tracks' transform.

    Parameters
    ----------
    bins : BinRange
    mean, deviation : (bin, assay) float32 array
        NaN where neither the cell type nor the reference has data.
    """

    bins: BinRange
    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]


def tracks_of_cell_type(sheet: Path, cell_type: str | None, vocabulary: Sequence[str]) -> tuple[str, dict[str, Track]]:
    """The one cell type of a samplesheet, and its track of each assay of a vocabulary.

    Raises
    ------
    SamplesheetError
        There are several cell types and none is named, an assay is unknown, or one is there twice.
    """
    rows = read_samplesheet(sheet)
    names = list(dict.fromkeys(track.cell_type for track in rows))
    if cell_type is None and len(names) > 1:
        raise SamplesheetError(f"{sheet}: has {len(names)} cell types ({', '.join(names[:5])}); name one of them")
    name = cell_type or names[0]
    if name not in names:
        raise SamplesheetError(f"{sheet}: has no cell type {name!r}; it has {', '.join(names)}")
    found: dict[str, Track] = {}
    for track in rows:
        if track.cell_type == name:
            assay = matching_assay(track.assay, vocabulary, str(sheet))
            if assay in found:
                raise SamplesheetError(
                    f"{sheet}: {name} has {assay} twice ({found[assay].assay}, {track.assay}); leave one of them out"
                )
            found[assay] = track
    return name, found


def chosen_assays(names: Sequence[str], vocabulary: Sequence[str], there: Sequence[str]) -> list[str]:
    """Assays to impute: those named, or all that are not there.

    Raises
    ------
    ParamsError, SamplesheetError
        One is unknown, or there is none to impute.
    """
    if not names:
        missing = [assay for assay in vocabulary if assay not in there]
        if not missing:
            raise ParamsError(
                "the cell type has every assay of the model, so none is left to impute; name the assays to impute: "
                "each is then imputed from the others"
            )
        return missing
    return list(dict.fromkeys(matching_assay(name, vocabulary, "--assays") for name in names))


class UnseenCellType:
    """Imputes a cell type from its bigWigs and from the matrix that the model was trained on. A context manager.

    Parameters
    ----------
    sheet : Path
        Samplesheet.
    matrix : Path
        Of the reference cell types: the matrix that the model was trained on.
    imputer : Imputer
    manifest : ModelManifest
        Of the model.
    cell_type : str, optional
        Of a samplesheet with several.
    assays : sequence of str
        To impute; all that the cell type does not have, if empty.
    regions : sequence of str
        ``chrom:start-end`` or ``chrom``; all of the matrix, if empty.
    downloads : Path, optional
        Folder that remote files are kept in.

    Raises
    ------
    EpilstmError
        What was given cannot be used.
    """

    def __init__(
        self,
        sheet: Path,
        matrix: Path,
        imputer: Imputer,
        manifest: ModelManifest,
        cell_type: str | None = None,
        assays: Sequence[str] = (),
        regions: Sequence[str] = (),
        downloads: Path | None = None,
    ) -> None:
        self.sheet, self.imputer, self.manifest = sheet, imputer, manifest
        self.matrix = Matrix(matrix)
        if self.matrix.fingerprint != manifest.matrix_fingerprint:
            raise ModelError(
                f"{matrix}: not the matrix that the model was trained on, which holds the reference cell types; give "
                "that one"
            )
        config = imputer.config
        self.name, self.tracks = tracks_of_cell_type(sheet, cell_type, config.assays)
        self.assays = chosen_assays(assays, config.assays, [*self.tracks])
        self.bin_ranges = bin_ranges_of(self.matrix.manifest, regions)
        self.left_out = self._among_the_reference()
        self._open = ExitStack()
        self._read(downloads)

    def __enter__(self) -> UnseenCellType:
        return self

    def __exit__(self, *exception: object) -> None:
        self._open.close()

    @property
    def config(self) -> ImputerConfig:
        """The imputer's."""
        return self.imputer.config

    @property
    def bins(self) -> int:
        """Bins in all."""
        return sum(each.bins for each in self.bin_ranges)

    def pieces(self) -> Iterator[Imputed]:
        """Imputed bins, in order along the genome."""
        self._warn_of_another_scale()
        size = block_bins(4 * len(self.config.assays), 1)
        for bin_range in self.bin_ranges:
            for part in bin_range.cut(size):
                yield self._imputed(part)

    def _among_the_reference(self) -> int | None:
        """Place of the cell type where training saw one of this name; its own tracks are no reference for it."""
        cell_types = self.manifest.config.cell_types
        assert cell_types is not None
        if self.name not in cell_types.names:
            return None
        log.warning(f"{self.sheet}: the model was trained on {self.name}; its tracks are left out of the reference")
        return cell_types.names.index(self.name)

    def _read(self, downloads: Path | None) -> None:
        manifest, config = self.matrix.manifest, self.config
        kept = downloads or Path(self._open.enter_context(tempfile.TemporaryDirectory(prefix="epilstm-")))
        scratch = Path(self._open.enter_context(tempfile.TemporaryDirectory(prefix="epilstm-")))
        tracks = TrackSet.of([track.identity for track in self.tracks.values()])
        self.scaler: Scaler = config.scaler([*self.tracks], list(tracks.names))
        files = files_of(tracks, self.sheet, kept, uncovered=self.scaler.uncovered_bases)
        sizes = sizes_of(manifest)
        assembly = Assembly(manifest.assembly, sizes)
        size = manifest.bin_size
        wide = [self.matrix.widened(self._whole(each), self._margin) for each in self.bin_ranges]
        regions = merge(
            [Region(each.chrom, each.first * size, min(each.last * size, sizes[each.chrom])) for each in wide], assembly
        )
        self.binning = Binning.of(assembly, regions, [], size, "none")
        self.files: list[TrackFile] = check_files(files, self.binning, scratch)
        self._signal: ChromosomeSignal | None = None

    @property
    def _margin(self) -> int:
        return max(self.config.window, default=0)

    def _whole(self, bins: BinRange) -> BinRange:
        return BinRange(bins.chrom, bins.first, bins.last)

    def _imputed(self, part: BinRange) -> Imputed:
        wide = self.matrix.widened(self._whole(part), self._margin)
        keep = slice(part.first - wide.first, part.last - wide.first)
        config, cell_types = self.config, self.manifest.config.cell_types
        assert cell_types is not None
        raw = self._raw(wide)
        own = np.full((wide.bins, len(config.assays)), np.nan, np.float32)
        own[:, [config.assays.index(assay) for assay in self.tracks]] = standardise(raw, self.scaler)
        rows = by_assay(self.matrix.rows(wide), self.manifest.scaler, cell_types, config)
        reference = reference_of(rows, self.left_out)
        mean = np.empty((part.bins, len(self.assays)), np.float32)
        deviation = np.empty_like(mean)
        places = [config.assays.index(assay) for assay in self.assays]
        # An assay that the cell type has is imputed from the others.
        for group in self._groups():
            shown = own.copy()
            shown[:, [config.assays.index(assay) for assay in group if assay in self.tracks]] = np.nan
            means, deviations = impute(self.imputer, shown, reference, keep)
            for assay in group:
                column, place = self.assays.index(assay), config.assays.index(assay)
                mean[:, column], deviation[:, column] = means[:, place], deviations[:, place]
        without = ~(self.matrix.mask(part) | ~np.isnan(raw[keep]).all(1))
        signal = to_signal(mean, config.scaler(self.assays, self.assays)).astype(np.float32)
        transformed = np.array([config.transform[place] != "none" for place in places])
        signal[:, transformed] = np.maximum(signal[:, transformed], 0)
        deviation *= np.array(config.scale, np.float32)[places]
        signal[without], deviation[without] = np.nan, np.nan
        return Imputed(part, signal, deviation)

    def _groups(self) -> list[list[str]]:
        """Assays that are imputed from the same others: all that are not there, and each that is."""
        absent = [assay for assay in self.assays if assay not in self.tracks]
        return [*([absent] if absent else []), *([assay] for assay in self.assays if assay in self.tracks)]

    def _raw(self, bins: BinRange) -> NDArray[np.float32]:
        """Raw signal (bin, track) of the cell type's tracks; NaN beyond the chromosome's end."""
        if self._signal is None or self._signal.chrom != bins.chrom:
            if self._signal is not None:
                self._signal.__exit__(None, None, None)
            self._signal = self._open.enter_context(ChromosomeSignal(self.files, self.binning, bins.chrom))
        known = min(bins.last, self.binning.bins(bins.chrom))
        raw = np.full((bins.bins, len(self.files)), np.nan, np.float32)
        raw[: known - bins.first] = self._signal.rows(bins.first, known, known)
        return raw

    def _warn_of_another_scale(self) -> None:
        """Compare the first bins with the training tracks of the same assays, in the same bins."""
        cell_types = self.manifest.config.cell_types
        assert cell_types is not None
        first = self.bin_ranges[0]
        part = BinRange(first.chrom, first.first, min(first.last, first.first + COMPARED_BINS))
        raw = np.nan_to_num(self._raw(part))
        training = np.nan_to_num(to_signal(self.matrix.rows(part), self.manifest.scaler))
        for column, (assay, track) in enumerate(self.tracks.items()):
            place = cell_types.assays.index(assay)
            of_assay = [row[place] for row in cell_types.tracks if row[place] >= 0]
            message = another_scale(raw[:, column], training[:, of_assay])
            if message:
                log.warning(f"{self.sheet}: {track.name}: {message}")


def another_scale(signal: NDArray[np.floating], training: NDArray[np.floating]) -> str:
    """What says that signal is on another scale than the training tracks of its assay; empty where nothing does.

    Parameters
    ----------
    signal : (bin,) array
        Raw.
    training : (bin, track) array
        Likewise, in the same bins.
    """
    for name, measure in (("mean", np.mean), ("99th percentile", _top_percent)):
        own = float(measure(signal, axis=0))
        among = np.asarray(measure(training, axis=0), float)
        low, high = float(among.min()), float(among.max())
        if own > FAR * max(high, 0) or own < low / FAR:
            return (
                f"its {name} is {own:.3g}, that of the assay's training tracks {low:.3g} to {high:.3g} in the same "
                "bins; is it on the same scale (-log10 p, fold enrichment, counts)? What is imputed may be wrong"
            )
    return ""


def _top_percent(values: NDArray[np.floating], axis: int) -> NDArray[np.floating]:
    percentile: NDArray[np.floating] = np.quantile(values, 0.99, axis=axis)
    return percentile
