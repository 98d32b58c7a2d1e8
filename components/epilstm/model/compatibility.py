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
    frame_bins = encoder.config.frame_bins if encoder.config.context_size else None
    reason = input_difference(matrix, scaler, encoder.scaler, encoder.bin_size, frame_bins, "encoder")
    if reason is not None:
        raise ModelError(
            f"the encoder does not belong to the matrix: {reason}; "
            "use the matrix that the model was trained on, or train and export again"
        )


def input_difference(
    matrix: MatrixManifest, scaler: Scaler, own: Scaler, bin_size: int, frame_bins: int | None, what: str
) -> str | None:
    """The first difference between a matrix and what a model or an encoder takes; None where there is none.

    Parameters
    ----------
    matrix : MatrixManifest
    scaler : Scaler
        The matrix's.
    own : Scaler
        That of the model or the encoder.
    bin_size : int
        Its bins.
    frame_bins : int or None
        Bins of its frames; None without a context level.
    what : str
        What it is, for the message.

    Raises
    ------
    ModelError
        The matrix's files contradict each other.
    """
    if matrix.tracks != scaler.tracks:
        raise ModelError("the matrix and its scaler.json name different tracks; run preprocess again")
    if matrix.bin_size != bin_size:
        return f"bins are {matrix.bin_size} bp in the matrix, {bin_size} bp in the {what}"
    if frame_bins and matrix.frame_bins % frame_bins:
        return f"frames are {matrix.frame_bins} bins in the matrix, {frame_bins} bins in the {what}"
    if same_tracks(matrix.track_set, own.track_set) and scaler_digest(scaler) == scaler_digest(own):
        return None
    have, wanted = matrix.track_set, own.track_set
    for number, (one, other) in enumerate(zip_longest(have.names, wanted.names), 1):
        if one != other:
            return f"track {number} is {one or 'missing'} in the matrix, {other or 'missing'} in the {what}"
    for number, (this, that) in enumerate(zip(have.identities, wanted.identities, strict=True), 1):
        if have.known and wanted.known and this != that:
            return f"track {number} is {' + '.join(this.fields)} in the matrix, {' + '.join(that.fields)} in the {what}"
    for key in ("mean", "scale"):
        values = zip(scaler.tracks, getattr(scaler, key), getattr(own, key), strict=True)
        for track, one, other in values:
            if one != other:
                return f"the {key} of track {track} is {one!r} in the matrix, {other!r} in the {what}"
    for key, word in (("transforms", "transform"), ("uncovered_bases", "uncovered")):
        for track, one, other in zip(scaler.tracks, getattr(scaler, key), getattr(own, key), strict=True):
            if one != other:
                return f"{word} of track {track} is {one} in the matrix, {other} in the {what}"
    return "their scalers differ"
