"""Does an encoder belong to a matrix? It does if both have the same tracks in the same order, and the same scaler."""

from __future__ import annotations

from itertools import zip_longest

from epilstm.errors import ModelError
from epilstm.model.encoder_folder import EncoderManifest
from epilstm.store.manifests import MatrixManifest, Scaler, scaler_digest
from epilstm.tracks.identity import same_tracks


def require_same_input(matrix: MatrixManifest, scaler: Scaler, encoder: EncoderManifest) -> None:
    """Refuse an encoder that was made for another matrix's kind of input.

    Parameters
    ----------
    matrix : MatrixManifest
    scaler : Scaler
        The matrix's.
    encoder : EncoderManifest

    Raises
    ------
    ModelError
        Names the first difference.
    """
    if matrix.tracks != scaler.tracks:
        raise ModelError("the matrix and its scaler.json name different tracks; run preprocess again")
    frames_fit = not encoder.config.context_size or matrix.frame_bins % encoder.config.frame_bins == 0
    same = same_tracks(matrix.track_set, encoder.track_set) and scaler_digest(scaler) == encoder.scaler_sha256
    if same and matrix.bin_size == encoder.bin_size and frames_fit:
        return
    raise ModelError(
        f"the encoder does not belong to the matrix: {_first_difference(matrix, scaler, encoder)}; "
        "use the matrix that the model was trained on, or train and export again"
    )


def _first_difference(matrix: MatrixManifest, scaler: Scaler, encoder: EncoderManifest) -> str:
    if matrix.bin_size != encoder.bin_size:
        return f"bins are {matrix.bin_size} bp in the matrix, {encoder.bin_size} bp in the encoder"
    if encoder.config.context_size and matrix.frame_bins % encoder.config.frame_bins:
        return f"frames are {matrix.frame_bins} bins in the matrix, {encoder.config.frame_bins} bins in the encoder"
    have, wanted = matrix.track_set, encoder.track_set
    for number, (one, other) in enumerate(zip_longest(have.names, wanted.names), 1):
        if one != other:
            return f"track {number} is {one or 'missing'} in the matrix, {other or 'missing'} in the encoder"
    for number, (this, that) in enumerate(zip(have.identities, wanted.identities, strict=True), 1):
        if have.known and wanted.known and this != that:
            return (
                f"track {number} is {' + '.join(this.fields)} in the matrix, {' + '.join(that.fields)} in the encoder"
            )
    for what in ("mean", "scale"):
        values = zip(scaler.tracks, getattr(scaler, what), getattr(encoder.scaler, what), strict=True)
        for track, one, other in values:
            if one != other:
                return f"the {what} of track {track} is {one!r} in the matrix, {other!r} in the encoder"
    for what in ("transforms", "uncovered_bases"):
        for track, one, other in zip(scaler.tracks, getattr(scaler, what), getattr(encoder.scaler, what), strict=True):
            if one != other:
                key = {"transforms": "transform", "uncovered_bases": "uncovered"}[what]
                return f"{key} of track {track} is {one} in the matrix, {other} in the encoder"
    return "their scalers differ"
