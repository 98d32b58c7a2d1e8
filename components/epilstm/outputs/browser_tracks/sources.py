"""What is exported: columns of values along the genome, read or computed piece by piece."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from epilstm.errors import ModelError, ParamsError
from epilstm.files.outputs import fingerprint
from epilstm.genome.bin_range import BinRange
from epilstm.runtime.cores import available_cores
from epilstm.store.bin_ranges import bin_ranges_of, block_bins, open_embeddings, read_rows
from epilstm.store.manifests import EmbeddingsManifest, Manifest, MatrixManifest, Scaler
from epilstm.store.matrix import Matrix
from epilstm.tracks.bigwig_columns import BinValues
from epilstm.tracks.identity import TrackSet, same_tracks, select_tracks


def choose_dimensions(names: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Dimensions of an embedding by number or name, in order; all where none are wanted.

    Raises
    ------
    ParamsError
        There is no such dimension.
    """
    places = {text: place for place, name in enumerate(names) for text in (str(place), name)}
    for token in wanted:
        if token not in places:
            raise ParamsError(f"--tracks {token}: no such dimension; there are {names[0]} to {names[-1]}")
    return sorted({places[token] for token in wanted}) if wanted else list(range(len(names)))


class Source(ABC):
    """Columns of values along the genome.

    `what` says what they are, `columns` how each is called, `tracks` which track each is (None for dimensions),
    `manifest` on which bins they lie, and `provenance` what
    they come from.
    """

    what: str
    manifest: Manifest
    columns: list[str]
    tracks: TrackSet | None
    provenance: dict[str, Any]
    bin_ranges: list[BinRange]

    @property
    def bins(self) -> int:
        """Bins that the pieces cover."""
        return sum(bin_range.bins for bin_range in self.bin_ranges)

    @abstractmethod
    def pieces(self) -> Iterator[BinValues]:
        """Pieces in order along the genome."""


class Embeddings(Source):
    """An embeddings dataset.

    Parameters
    ----------
    regions : sequence of str
        As for `bin_ranges_of`.
    dimensions : sequence of str
        Numbers, or names such as ``e0``; all where there are none.
    cell_type : str, optional
        Of a model that cell types share, the one whose code it is.

    Raises
    ------
    DataError
        The folder is missing, incomplete or of another kind.
    GenomeError, ParamsError
        No such region or dimension.
    """

    what = "embedding"
    manifest: EmbeddingsManifest

    def __init__(
        self,
        folder: Path,
        regions: Sequence[str] = (),
        dimensions: Sequence[str] = (),
        cell_type: str | None = None,
    ) -> None:
        self.folder = folder
        self.manifest, self._arrays = open_embeddings(folder, cell_type)
        manifest = self.manifest
        names = manifest.names
        self.places = choose_dimensions(names, dimensions)
        self.tracks = None
        self.columns = [names[place] for place in self.places]
        self.bin_ranges = bin_ranges_of(manifest, regions)
        self.provenance = {"embeddings": fingerprint(folder), "encoder": manifest.encoder_fingerprint}

    def pieces(self) -> Iterator[BinValues]:
        """Rows of the dataset."""
        for bin_range in self.bin_ranges:
            for part in bin_range.cut(block_bins(self.manifest.size, self._arrays[bin_range.chrom].chunks[0])):
                rows = read_rows(self.folder, self._arrays[part.chrom], part.first, part.last)
                yield BinValues(part.chrom, part.first, rows[:, self.places])


class Reconstruction(Source):
    """Tracks as the model gives them back from their embedding, in the units of their files.

    Parameters
    ----------
    matrix, model : Path
        Dataset and model folder.
    regions : sequence of str
        As for `bin_ranges_of`.
    tracks : sequence of str
        As for `epilstm.tracks.identity.select_tracks`.
    hidden : bool
        Impute: each track alone is hidden from the encoder (`Autoencoder.hidden_value`) and read
        off the reconstruction that follows from the others. One run of the model per track.
    signed : bool
        Keep values below 0. Without it they become 0 in all tracks that have a transform: coverage and -log10 p are
        never negative.

    Raises
    ------
    DataError, ModelError
        A folder is missing, incomplete or of another kind, or the model belongs to another matrix.
    GenomeError, ParamsError
        No such region or track.
    """

    manifest: MatrixManifest

    def __init__(
        self,
        matrix: Path,
        model: Path,
        regions: Sequence[str] = (),
        tracks: Sequence[str] = (),
        hidden: bool = False,
        signed: bool = False,
    ) -> None:
        from epilstm.model.folder import load_model
        from epilstm.model.windows import side_by_side

        self.what = "imputation" if hidden else "reconstruction"
        self.folder, self.hidden, self.signed = matrix, hidden, signed
        self.matrix = Matrix(matrix)
        manifest = self.manifest = self.matrix.manifest
        self.network, trained = load_model(model)
        self.run = side_by_side(available_cores())
        if not same_tracks(trained.track_set, manifest.track_set) or trained.bin_size != manifest.bin_size:
            raise ModelError(
                f"{model}: the model does not belong to {matrix}: its tracks or bins are others; use the matrix that "
                "it was trained on"
            )
        self.places = select_tracks(manifest.track_set, tracks)
        self.tracks = manifest.track_set.select(self.places)
        self.columns = list(self.tracks.names)
        self.scaler: Scaler = trained.scaler.select(self.places)
        self.bin_ranges = bin_ranges_of(manifest, regions)
        self.provenance = {"matrix": fingerprint(matrix), "model": fingerprint(model)}

    def pieces(self) -> Iterator[BinValues]:
        """Reconstructed rows; NaN in bins that have data in no track."""
        from epilstm.model.chunks import (
            CONTEXT_BINS,  # all that a reconstruction depends on, whatever the embedding does
        )

        frame = self.manifest.frame_bins
        for bin_range in self.bin_ranges:
            for part in bin_range.cut(block_bins(len(self.manifest.tracks), frame)):
                start = max(part.region_first, (part.first - CONTEXT_BINS) // frame * frame)
                stop = min(part.region_last, -(-(part.last + CONTEXT_BINS) // frame) * frame)
                rows = self.matrix.values(BinRange(part.chrom, start, stop))
                kept = slice(part.first - start, part.last - start)
                values = self._signal(rows, kept)
                values[~self.matrix.mask(part)] = np.nan
                yield BinValues(part.chrom, part.first, values)

    def _signal(self, rows: NDArray[np.float16], kept: slice) -> NDArray[np.float32]:
        from epilstm.model.windows import reconstruct_bins
        from epilstm.store.standardisation import to_signal

        if self.hidden:
            standardised = np.empty((kept.stop - kept.start, len(self.places)), np.float32)
            for column, place in enumerate(self.places):
                shown = rows.copy()
                shown[:, place] = self.network.hidden_value
                standardised[:, column] = reconstruct_bins(self.network, shown, self.run)[kept, place]
        else:
            standardised = reconstruct_bins(self.network, rows, self.run)[kept][:, self.places]
        signal = to_signal(standardised, self.scaler).astype(np.float32, copy=False)
        if not self.signed:
            transformed = np.array([transform != "none" for transform in self.scaler.transforms])
            signal[:, transformed] = np.maximum(signal[:, transformed], 0)
        return signal
