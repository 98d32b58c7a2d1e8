"""The champion on the challenger's data: can it take them, and what does it make of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from epilstm.files.outputs import ENCODER
from epilstm.model.chunks import chunks_of, context_bins
from epilstm.model.core_encoder import CoreEncoder, load_context, load_core, windows_by_time
from epilstm.model.encoder_folder import EncoderManifest, checked_file
from epilstm.representations.features import Network
from epilstm.store.manifests import MatrixManifest, Scaler
from epilstm.store.matrix import Matrix
from epilstm.store.standardisation import clipped, missing_where_uncovered, standardise, stored, to_signal
from epilstm.tracks.identity import missing_tracks
from epilstm.tracks.signal_transform import binned_alike

#: Chunks per call of the encoder.
BATCH = 8


def why_incomparable(matrix: MatrixManifest, scaler: Scaler, encoder: EncoderManifest) -> str | None:
    """Why a champion cannot take a data set; None where it can."""
    if matrix.bin_size != encoder.bin_size:
        return f"it takes bins of {encoder.bin_size} bp, the data have {matrix.bin_size}"
    if matrix.assembly != encoder.assembly:
        return f"it was trained on the assembly {encoder.assembly}, the data are of {matrix.assembly}"
    missing = missing_tracks(matrix.track_set, encoder.track_set)
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        return f"it needs the track {missing[0]}{more}, which the data lack"
    binned = [scaler.uncovered_bases[place] for place in columns_of(scaler, encoder.scaler)]
    for track, uncovered, own in zip(encoder.tracks, encoder.scaler.uncovered_bases, binned, strict=True):
        if not binned_alike(own, uncovered):
            return f"uncovered bases of the track {track} are {uncovered} to it, {own} in the data"
    return None


def columns_of(have: Scaler, wanted: Scaler) -> list[int]:
    """Column of one matrix for each track of another; all are there."""
    return [place for place in have.track_set.places_of(wanted.track_set) if place is not None]


class Restandardised:
    """From rows of one matrix to what another scaler would have made of the same signal.

    Where both take the same transform, both are affine in it, so one is affine in the other.

    Parameters
    ----------
    have, wanted : Scaler
        The matrix's, and the other one; each of its tracks is in the matrix, and binned alike.
    """

    def __init__(self, have: Scaler, wanted: Scaler) -> None:
        self.columns = columns_of(have, wanted)
        self.have, self.wanted = have.select(self.columns), wanted
        self.missing = missing_where_uncovered(wanted)
        mean, scale = np.array(self.have.mean), np.array(self.have.scale)
        self.factor = (scale / np.array(wanted.scale)).astype(np.float32)
        self.offset = ((mean - np.array(wanted.mean)) / np.array(wanted.scale)).astype(np.float32)

    def __call__(self, rows: NDArray[np.float32]) -> NDArray[np.float16]:
        """(bins, tracks of the other scaler) of (bins, tracks of the matrix)."""
        rows = rows[:, self.columns]
        if self.have.transform == self.wanted.transform:
            values = rows * self.factor + self.offset
            clipped(values, self.wanted)
        else:
            values = standardise(to_signal(rows, self.have), self.wanted)
        if self.missing.any():
            values[(rows == 0) & self.missing] = 0  # no data, to either
        return stored(values)


def champion_representation(matrix: Matrix, scaler: Scaler, folder: Path, encoder: EncoderManifest) -> Network:
    """The champion's embedding of the matrix's bins.

    Raises
    ------
    ModelError
        Its encoder is damaged.
    """
    file, config = checked_file(folder, encoder, ENCODER), encoder.config
    core, context = load_core(file, "cpu"), load_context(file, "cpu", config.frame_bins)
    restandardised = Restandardised(scaler, encoder.scaler)

    def run(rows: NDArray[np.float32]) -> NDArray[np.float32]:
        bins = restandardised(rows)
        codes = encode(core, bins, config.bin_code_size)
        return codes if context is None else np.concatenate([codes, context.of_bins(bins)], axis=1)

    frame = config.frame_bins if config.context_size else 1
    return Network(matrix, run, config.embedding_size, context_bins(config), frame)


def encode(core: CoreEncoder, rows: NDArray[np.float16], size: int) -> NDArray[np.float32]:
    """Code (bins, size) of consecutive bins (bins, tracks), in chunks that have warmed up."""
    same_length: dict[int, list[tuple[int, int, int, int]]] = {}
    for chunk in chunks_of(len(rows)):
        same_length.setdefault(chunk[1] - chunk[0], []).append(chunk)
    out = np.empty((len(rows), size), np.float32)
    for chunks in same_length.values():
        for start in range(0, len(chunks), BATCH):
            group = chunks[start : start + BATCH]
            embedding = core(windows_by_time([rows[a:b] for a, b, _, _ in group]))
            for column, (a, _, first, last) in enumerate(group):
                out[first:last] = embedding[first - a : last - a, column]
    return out
