"""The champion on the challenger's data: can it take them, and what does it make of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from epilstm.datasets import MatrixManifest, Scaler
from epilstm.embed.core_encoder import CoreEncoder, load_core, windows_by_time
from epilstm.evaluate.matrix import Matrix
from epilstm.evaluate.representations import Network
from epilstm.model.encoder_folder import ENCODER, EncoderManifest, checked_file
from epilstm.model.windows import CONTEXT_BINS, chunks_of

#: Chunks per call of the encoder.
BATCH = 8
#: Largest finite float16, in which an encoder's core takes its input.
LARGEST = float(np.finfo(np.float16).max)


def why_incomparable(matrix: MatrixManifest, encoder: EncoderManifest) -> str | None:
    """Why a champion cannot take a data set; None where it can."""
    if matrix.bin_size != encoder.bin_size:
        return f"it takes bins of {encoder.bin_size} bp, the data have {matrix.bin_size}"
    if matrix.assembly != encoder.assembly:
        return f"it was trained on the assembly {encoder.assembly}, the data are of {matrix.assembly}"
    missing = [track for track in encoder.tracks if track not in matrix.tracks]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        return f"it needs the track {missing[0]}{more}, which the data lack"
    return None


class Restandardised:
    """From rows of one matrix to what another scaler would have made of the same signal.

    Both are affine in arcsinh(signal), so one is affine in the other; tracks are found by name.

    Parameters
    ----------
    have, wanted : Scaler
        The matrix's, and the other one; each of its tracks is in the matrix.
    """

    def __init__(self, have: Scaler, wanted: Scaler) -> None:
        self.columns = [have.tracks.index(track) for track in wanted.tracks]
        mean, scale = (np.array(values)[self.columns] for values in (have.mean, have.scale))
        self.factor = (scale / np.array(wanted.scale)).astype(np.float32)
        self.offset = ((mean - np.array(wanted.mean)) / np.array(wanted.scale)).astype(np.float32)

    def __call__(self, rows: NDArray[np.float32]) -> NDArray[np.float16]:
        """(bins, tracks of the other scaler) of (bins, tracks of the matrix)."""
        values = rows[:, self.columns] * self.factor + self.offset
        clipped: NDArray[np.float32] = np.clip(values, -LARGEST, LARGEST)
        return clipped.astype(np.float16)


def champion_representation(matrix: Matrix, scaler: Scaler, folder: Path, encoder: EncoderManifest) -> Network:
    """The champion's embedding of the matrix's bins.

    Raises
    ------
    ModelError
        Its encoder is damaged.
    """
    core = load_core(checked_file(folder, encoder, ENCODER), "cpu")
    size, restandardised = encoder.config.embedding_size, Restandardised(scaler, encoder.scaler)
    return Network(matrix, lambda rows: encode(core, restandardised(rows), size), size, CONTEXT_BINS)


def encode(core: CoreEncoder, rows: NDArray[np.float16], size: int) -> NDArray[np.float32]:
    """Embedding (bins, size) of consecutive bins (bins, tracks), in chunks that have warmed up."""
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
