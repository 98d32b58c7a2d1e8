"""How many numbers per bin: what the number of tracks chooses where the params do not say."""

from __future__ import annotations

from dataclasses import dataclass

from epilstm.params import MAX_CODE_SIZE, TrainParams


@dataclass(frozen=True)
class Sizes:
    """Numbers of an embedding, and how many of them describe the context of a bin."""

    embedding_size: int
    context_size: int


def choose_sizes(params: TrainParams, tracks: int) -> Sizes:
    """Size of the embedding and of its context code.

    The bin code has half as many numbers as there are tracks, at most `MAX_CODE_SIZE`, and the context code as many,
    or one fewer where both together would not be fewer than the tracks. A size that the params give is taken as it is.

    Parameters
    ----------
    params : TrainParams
        Params of the step.
    tracks : int
        Tracks of the matrix.
    """
    if params.architecture != "bottleneck":
        # The embedding is the hidden state, and there is no context level.
        embedding = params.hidden_size if params.embedding_size == "auto" else params.embedding_size
        return Sizes(embedding, 0 if params.context_size == "auto" else params.context_size)
    if params.embedding_size != "auto":
        half = min(MAX_CODE_SIZE, params.embedding_size // 2)
        return Sizes(params.embedding_size, half if params.context_size == "auto" else params.context_size)
    code = max(1, min(MAX_CODE_SIZE, tracks // 2))
    context = min(code, max(0, tracks - 1 - code)) if params.context_size == "auto" else params.context_size
    return Sizes(code + context, context)


def expansion_warning(sizes: Sizes, tracks: int) -> str | None:
    """What to say of an embedding that is no smaller than the data; None of one that is."""
    if sizes.embedding_size < tracks:
        return None
    if tracks == 1:
        return "the matrix has one track: an embedding cannot be smaller; give more tracks, 10 or more are useful"
    return (
        f"the embedding has {sizes.embedding_size} numbers per bin for {tracks} tracks: it compresses nothing; leave "
        f"train.embedding_size out to have it chosen, set it below {tracks}, or give more tracks"
    )
