"""What the dataset folders say of themselves: one manifest model per kind of folder.

A dataset is a folder with a ``manifest.json`` and, beside it, the Zarr group that holds its arrays:

========== ===================== ================================ =========================
folder     group                 arrays                           further files
========== ===================== ================================ =========================
signal     ``signal.zarr``       ``<chrom>`` (track, bin) float32 ``histograms.npy``
..         ``mask.zarr``         ``<chrom>`` (bin,) bool
matrix     ``matrix.zarr``       ``<chrom>`` (bin, track) float16 ``scaler.json``, ``histograms.json``
..         ``mask.zarr``         ``<chrom>`` (bin,) bool
embeddings ``embeddings.zarr``   ``<chrom>`` (bin, dim) float32
========== ===================== ================================ =========================

Arrays span the chromosome, those of a matrix (and of its embeddings) up to a whole frame; bins outside the manifest's
regions hold the fill value, NaN or False, and take no space. Inside the regions a signal is NaN where a track has no
data; a matrix is never NaN there: no data in a track is what the track's `Uncovered` says. ``mask.zarr`` says which
bins have data in any track. The signal's ``histograms.npy`` counts arcsinh(signal), whatever the track's transform,
over covered bins: (track, chromosome, histogram bin) int64, between the manifest's ``histogram_edges``; the matrix's
``histograms.json`` is a `ReferenceHistograms`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self, TypeVar, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from epilstm.errors import DataError, ParamsError
from epilstm.files.outputs import MANIFEST, read_json, sha256_file, to_json
from epilstm.genome.assembly import Region, RegionIndex, bin_count, bins_of, is_region
from epilstm.store.packing import Place, arrays_of, length_of, places_of
from epilstm.tracks.identity import TrackIdentity, TrackSet, require_known_tracks
from epilstm.tracks.signal_transform import Transform, Uncovered, binned_alike

#: What the places of a split are used for.
Use = Literal["train", "validation", "test"]
USES: tuple[Use, ...] = get_args(Use)

#: Files of a matrix beside its arrays.
SCALER_FILE, REFERENCE_FILE = "scaler.json", "histograms.json"
NOT_THE_MANIFESTS = "not the one that the manifest names; pull the dataset again or run preprocess again"


def _lies_in(place: str, index: RegionIndex) -> bool:
    return is_region(place) and bool(index.overlapping(Region.parse(place)))


class Manifest(BaseModel):
    """What every dataset folder states."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    assembly: str
    bin_size: int
    chromosome_sizes: dict[str, int]
    regions: list[tuple[str, int, int]]

    def region_list(self, places: Sequence[str] | None = None) -> list[Region]:
        """Regions as objects: all, or what of them lies in some places.

        Parameters
        ----------
        places : sequence of str, optional
            Chromosomes, or intervals of them as ``chrom:start-end``, 0-based and half-open. The split of a model may
            name some that this dataset does not have.
        """
        regions = [Region(*region) for region in self.regions]
        if places is None:
            return regions
        whole = {place for place in places if place in self.chromosome_sizes}
        intervals: dict[str, list[Region]] = {}
        for interval in sorted(Region.parse(place) for place in places if place not in whole and is_region(place)):
            intervals.setdefault(interval.chrom, []).append(interval)
        found: list[Region] = []
        for region in regions:
            if region.chrom in whole:
                found.append(region)
                continue
            for interval in intervals.get(region.chrom, []):
                # The last frame may reach past the chromosome's end; an interval up to the end has all of it.
                end = region.end if interval.end >= self.chromosome_sizes[region.chrom] else interval.end
                inside = region.overlap(Region(region.chrom, interval.start, end))
                if inside is not None:
                    found.append(inside)
        return found

    def places_with_regions(self, places: Sequence[str]) -> list[str]:
        """Those of some places (see `region_list`) in which the dataset has regions."""
        index = RegionIndex(self.region_list())
        return [
            place
            for place in places
            if (place in self.bin_ranges if place in self.chromosome_sizes else _lies_in(place, index))
        ]

    def bins(self, chrom: str) -> int:
        """Number of bins of a chromosome."""
        return bin_count(self.chromosome_sizes[chrom], self.bin_size)

    @cached_property
    def chromosomes(self) -> list[str]:
        """Chromosomes that have regions, in the assembly's order."""
        return list(dict.fromkeys(region[0] for region in self.regions))  # the keys of a JSON file have no order

    @cached_property
    def bin_ranges(self) -> dict[str, list[tuple[int, int]]]:
        """First and one-past-last bin of each region, by chromosome."""
        ranges: dict[str, list[tuple[int, int]]] = {}
        for region in self.regions:
            ranges.setdefault(region[0], []).append(bins_of(Region(*region), self.bin_size))
        return ranges

    @cached_property
    def places(self) -> dict[str, Place]:
        """Where each chromosome lies in the dataset's arrays."""
        bins = {chrom: bin_count(self.chromosome_sizes[chrom], self.bin_size) for chrom in self.chromosomes}
        return places_of(bins, {chrom: self.bins(chrom) for chrom in bins})

    @cached_property
    def arrays(self) -> dict[str, list[str]]:
        """Chromosomes of each of the dataset's arrays."""
        return arrays_of(self.places)

    def array_bins(self, array: str) -> int:
        """Number of bins of an array."""
        return length_of(self.places, self.arrays[array])

    def region_bins(self, array: str) -> int:
        """Bins of all regions that lie in an array."""
        return sum(last - first for first, last in self.array_ranges(array))

    def array_ranges(self, array: str) -> list[tuple[int, int]]:
        """First and one-past-last bin of each region that lies in an array, counted along the array."""
        return [
            (self.places[chrom].first + first, self.places[chrom].first + last)
            for chrom in self.arrays[array]
            for first, last in self.bin_ranges[chrom]
        ]


class NamedTracks(BaseModel):
    """Tracks in an order: a name for each (`epilstm.tracks.identity.unique_names`), and the fields that it is made of.

    Files that an older version wrote have names alone, and `identities` is None; what is written has both.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    tracks: list[str]
    identities: list[TrackIdentity] | None = None

    @model_validator(mode="after")
    def _names_and_fields_agree(self) -> Self:
        if self.identities is not None:
            require_known_tracks(self.tracks, self.identities)
        return self

    @model_serializer(mode="wrap")
    def _without_unknown_fields(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = serialise(self)
        if self.identities is None:
            content.pop("identities", None)
        return content

    @property
    def track_set(self) -> TrackSet:
        """The tracks with their fields; of an older file, with those that its names suggest."""
        if self.identities is None:
            return TrackSet.of_names(self.tracks)
        return TrackSet(tuple(self.tracks), tuple(self.identities))


class TrackEntry(BaseModel):
    """One ingested track.

    `moments` maps a chromosome to (covered bins, sum, sum of squares) of the transformed signal over covered bins;
    `metadata` has the samplesheet's further columns.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    cell_type: str
    assay: str
    replicate: str | None = None
    uri: str
    transform: Transform = "arcsinh"
    uncovered: Uncovered = "zero"
    sha256: str
    bytes: int
    covered_fraction: float
    moments: dict[str, tuple[int, float, float]]
    metadata: dict[str, str] = {}

    @property
    def identity(self) -> TrackIdentity:
        """Which track it is."""
        return TrackIdentity(self.cell_type, self.assay, self.replicate)

    @property
    def name(self) -> str:
        """Name of its identity, for messages; among the others its name is that of the data set's `track_set`."""
        return self.identity.name


class SignalManifest(Manifest):
    """Written by ingest."""

    format: Literal["epilstm.signal/1"] = "epilstm.signal/1"
    tracks: list[TrackEntry]
    blacklist_sha256: str
    bins_with_data: dict[str, int]
    histogram_edges: list[float]
    histograms_sha256: str | None = None

    @property
    def track_set(self) -> TrackSet:
        """The tracks with their names and fields."""
        return TrackSet.of([track.identity for track in self.tracks])


class Split(BaseModel):
    """Places by what they are used for; all empty in a matrix made with an encoder's scaler, which is to embed.

    A place is a chromosome, or an interval of one as ``chrom:start-end``; `Manifest.region_list` finds what lies in it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    train: list[str]
    validation: list[str]
    test: list[str]


class Scaler(NamedTracks):
    """How raw signal becomes the matrix: ``(transform(x) - mean) / scale``, per track; see `epilstm.tracks.transforms`.

    `mean` and `scale` are those of the training chromosomes' bins with data (for an encoder's: of its own matrix).
    `transform` and `uncovered` are one value for all tracks or, where tracks differ, one per track. Values beyond
    `clip`, either way, are cut off there; None, in scalers made before there was a clip, cuts nothing off.
    """

    transform: Transform | list[Transform] = "arcsinh"
    uncovered: Uncovered | list[Uncovered] = "zero"
    mean: list[float]
    scale: list[float]
    clip: float | None = None

    @field_validator("transform", "uncovered")
    @classmethod
    def _one_if_all_agree(cls, value: Any) -> Any:
        # One way to write a scaler, and so one digest.
        return value[0] if isinstance(value, list) and len(set(value)) == 1 else value

    @model_validator(mode="after")
    def _one_per_track(self) -> Self:
        for key in ("transform", "uncovered"):
            value = getattr(self, key)
            if isinstance(value, list) and len(value) != len(self.tracks):
                raise ValueError(f"{len(value)} values of {key} for {len(self.tracks)} tracks")
        return self

    @model_serializer(mode="wrap")
    def _without_the_usual(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Scalers of before there was a choice keep their bytes, and so their digests.
        content: dict[str, Any] = serialise(self)
        if self.uncovered == "zero":
            del content["uncovered"]
        if self.identities is None:
            content.pop("identities", None)
        if self.clip is None:
            del content["clip"]
        return content

    @property
    def transforms(self) -> list[Transform]:
        """Transform of each track."""
        return self.transform if isinstance(self.transform, list) else [self.transform] * len(self.tracks)

    @property
    def uncovered_bases(self) -> list[Uncovered]:
        """What uncovered bases are in each track."""
        return self.uncovered if isinstance(self.uncovered, list) else [self.uncovered] * len(self.tracks)

    def select(self, places: Sequence[int]) -> Scaler:
        """The scaler of some of the tracks, by their places."""
        one_per_track = {
            key: [value[place] for place in places] if isinstance(value := getattr(self, key), list) else value
            for key in ("tracks", "identities", "transform", "uncovered", "mean", "scale")
        }
        return Scaler.model_validate({**one_per_track, "clip": self.clip})


def scaler_digest(scaler: Scaler) -> str:
    """What identifies a scaler: the SHA-256 of its content, by the tracks' names and without their fields.

    An encoder of an older version, whose tracks have no fields, so fits the same matrix made anew.
    """
    return hashlib.sha256(to_json(scaler.model_dump(mode="json", exclude={"identities"})).encode()).hexdigest()


class ReferenceHistograms(NamedTracks):
    """Counts of arcsinh(signal) over the training chromosomes' bins with data, per track; what drift is compared with.

    arcsinh is here the axis, whatever a track's transform: it holds signal of any sign and size.
    `counts` is per track, between `edges`; values beyond the edges are counted in the first and the last bin. With an
    empty split, counts are over all chromosomes.
    """

    transform: Literal["arcsinh"] = "arcsinh"
    edges: list[float]
    counts: list[list[int]]


class MatrixManifest(Manifest, NamedTracks):
    """Written by preprocess; regions are widened to whole frames of the chromosome.

    `bins_by_use` counts bins with data where the split is by region; empty where it is by chromosome.
    `scaler_sha256` is the scaler's `scaler_digest`; `histograms_sha256`, of the file, is None in an older version's.

    The last frame of a chromosome may reach past its end, and the region with it.
    """

    format: Literal["epilstm.matrix/1"] = "epilstm.matrix/1"
    frame_bins: int
    split: Split
    bins_with_data: dict[str, int]
    bins_by_use: dict[Use, int] = {}
    signal_fingerprint: str
    scaler_sha256: str
    histograms_sha256: str | None = None

    def with_split(self, split: Split) -> Self:
        """The same with the places that a model was trained without, where these are others."""
        if split == self.split:
            return self
        return self.model_validate(self.model_dump() | {"split": split.model_dump(), "bins_by_use": {}})

    def bins_used_for(self, use: Use) -> int:
        """Bins with data that are used for training, validation or test."""
        if self.bins_by_use:
            return self.bins_by_use[use]
        places: list[str] = getattr(self.split, use)
        return sum(self.bins_with_data.get(chrom, 0) for chrom in places)

    def use_of(self, region: Region) -> Use | None:
        """What a region is used for; None if it does not lie in the places of one use."""
        for use, places in self._places_by_use.items():
            if any(r.start <= region.start and region.end <= r.end for r in places.overlapping(region)):
                return use
        return None

    @cached_property
    def _places_by_use(self) -> dict[Use, RegionIndex]:
        return {use: RegionIndex(self.region_list(getattr(self.split, use))) for use in USES}

    def bins(self, chrom: str) -> int:
        """Number of bins of a chromosome's array: whole frames."""
        return -(-super().bins(chrom) // self.frame_bins) * self.frame_bins


def dimension_names(size: int) -> list[str]:
    """Names of an embedding's numbers wherever they have names: ``e0``, ``e1``, ... in the order of the array."""
    return [f"e{number}" for number in range(size)]


def code_columns_of(names: Sequence[str]) -> dict[str, list[int]]:
    """Columns of each cell type's code, by names of dimensions such as ``E116.bin.01``."""
    columns: dict[str, list[int]] = {}
    for column, name in enumerate(names):
        columns.setdefault(name.rsplit(".", 2)[0], []).append(column)
    return columns


class EmbeddingsManifest(Manifest, NamedTracks):
    """Written by embed.

    `tracks` are those that were embedded, and empty in a file of an older version. `split` is that of the model's
    training, whatever matrix was embedded; None where it is not known (an imported checkpoint, embeddings from a
    server or of an encoder that did not say). `code_columns` has the columns of each cell type's code, where a model by
    cell type made them. `context_frame_bins` is how many bins a stored context code is of, where there is one per
    frame (`epilstm.store.framed_codes`); None where the array of bins has all numbers. `dimensions` names the
    numbers, where they have others than `dimension_names` gives.
    """

    format: Literal["epilstm.embeddings/1"] = "epilstm.embeddings/1"
    tracks: list[str] = []
    size: int
    matrix_fingerprint: str
    model_fingerprint: str
    encoder_fingerprint: str
    split: Split | None = None
    code_columns: dict[str, list[int]] | None = None
    context_frame_bins: int | None = None
    dimensions: list[str] | None = None

    @model_validator(mode="after")
    def _a_name_for_each_number(self) -> Self:
        if self.dimensions is not None and len(self.dimensions) != self.size:
            raise ValueError(f"{len(self.dimensions)} names of dimensions for {self.size} numbers")
        return self

    @property
    def names(self) -> list[str]:
        """Names of the numbers, wherever they have names."""
        return self.dimensions or dimension_names(self.size)

    def of_cell_type(self, cell_type: str, option: str = "--cell-type") -> EmbeddingsManifest:
        """The same with the code of one cell type alone, its columns as `code_columns` of the whole has them.

        Raises
        ------
        ParamsError
            There is none; the message names the option.
        """
        if self.code_columns is None:
            raise ParamsError(f"{option} {cell_type}: the embeddings have one code of all tracks; leave {option} out")
        if cell_type not in self.code_columns:
            raise ParamsError(
                f"{option} {cell_type}: the embeddings have no such cell type; they have {', '.join(self.code_columns)}"
            )
        columns = self.code_columns[cell_type]
        own = {
            "size": len(columns),
            "code_columns": {cell_type: list(range(len(columns)))},
            "dimensions": [self.names[column] for column in columns],
        }
        return self.model_copy(update=own)

    @field_validator("code_columns")
    @classmethod
    def _in_order_of_columns(cls, columns: dict[str, list[int]] | None) -> dict[str, list[int]] | None:
        # The file has them by name.
        return None if columns is None else dict(sorted(columns.items(), key=lambda item: item[1]))

    @property
    def cell_types(self) -> list[str] | None:
        """Cell types that have a code, in the order of their columns; None where all tracks have one code."""
        return None if self.code_columns is None else list(self.code_columns)

    @model_serializer(mode="wrap")
    def _without_cell_types(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = serialise(self)
        for key in ("code_columns", "context_frame_bins", "dimensions"):
            if getattr(self, key) is None:
                content.pop(key, None)
        if self.identities is None:
            content.pop("identities", None)
        return content


M = TypeVar("M", bound=BaseModel)


def read_manifest(folder: Path, model: type[M]) -> M:
    """Manifest of a dataset folder.

    Raises
    ------
    DataError
        The folder is missing, incomplete or of another kind.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; run the step that writes it")
    return parse_manifest(read_json(folder / MANIFEST), model, folder / MANIFEST)


def parse_manifest(content: object, model: type[M], source: Path) -> M:
    """Check parsed JSON against a manifest model.

    Raises
    ------
    DataError
        It does not fit; the message names the first key.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        article = "an" if model.__name__[0] in "AEIOU" else "a"
        raise DataError(
            f"{source}: not {article} {model.__name__} ({key}: {first['msg']}); is it the right folder?"
        ) from error


def read_scaler(folder: Path, manifest: MatrixManifest) -> Scaler:
    """Scaler of a matrix.

    Raises
    ------
    DataError
        Missing, damaged or not the manifest's.
    """
    path = folder / SCALER_FILE
    scaler = parse_manifest(read_json(path), Scaler, path)
    if scaler_digest(scaler) != manifest.scaler_sha256:
        raise DataError(f"{path}: {NOT_THE_MANIFESTS}")
    return scaler


def read_reference_histograms(folder: Path, manifest: MatrixManifest) -> ReferenceHistograms:
    """Histograms of a matrix; errors as for `read_scaler`."""
    path = folder / REFERENCE_FILE
    histograms = parse_manifest(read_json(path), ReferenceHistograms, path)
    if manifest.histograms_sha256 is not None and sha256_file(path) != manifest.histograms_sha256:
        raise DataError(f"{path}: {NOT_THE_MANIFESTS}")
    if histograms.tracks != manifest.tracks:
        raise DataError(f"{path}: is of other tracks than the matrix; run preprocess again")
    return histograms


def write_manifest(folder: Path, manifest: BaseModel) -> None:
    """Write a folder's manifest; call it last, when everything it stands for is there."""
    (folder / MANIFEST).write_text(to_json(manifest.model_dump(mode="json")), encoding="utf-8")


def require_binned_alike(manifest: SignalManifest, scaler: Scaler) -> None:
    """Refuse signal whose bins are other means than the training data's: over all bases, or over covered ones.

    Raises
    ------
    DataError
        Names the first track that differs.
    """
    tracks, rows = manifest.track_set, manifest.track_set.places_of(scaler.track_set)
    for row, transform, uncovered in zip(rows, scaler.transforms, scaler.uncovered_bases, strict=True):
        if row is not None and not binned_alike(manifest.tracks[row].uncovered, uncovered):
            raise DataError(
                f"track {tracks.names[row]}: its uncovered bases are {manifest.tracks[row].uncovered} in the signal, "
                f"{uncovered} in the training data; set its transform to {transform} and uncovered to {uncovered} in "
                "the samplesheet, and ingest again"
            )
