"""How many numbers per bin: what the number of tracks chooses where the params do not say."""

from __future__ import annotations

from dataclasses import dataclass

from epilstm.model.cell_types import CellTypes, cell_types_of
from epilstm.params import MAX_CODE_SIZE, TrainParams
from epilstm.tracks.identity import TrackSet

#: Numbers of the blocks of a cell type's context code where the params leave them open: linear, recurrent, consensus.
LINEAR_SIZE, RECURRENT_SIZE, CONSENSUS_SIZE = 20, 16, 20


@dataclass(frozen=True)
class Sizes:
    """Numbers of an embedding, and how many of them describe the context of a bin; of each cell type, where it has any.

    `linear_size` and `consensus_size` are parts of `context_size`.
    """

    embedding_size: int
    context_size: int
    linear_size: int = 0
    consensus_size: int = 0

    @property
    def chosen(self) -> dict[str, int]:
        """For records: sizes by name, those of blocks where there are any."""
        blocks = {"linear_size": self.linear_size, "consensus_size": self.consensus_size}
        return {
            "embedding_size": self.embedding_size,
            "context_size": self.context_size,
            **(blocks if any(blocks.values()) else {}),
        }


@dataclass(frozen=True)
class Shape:
    """What the params and the tracks choose: sizes, and the cell types of a model that they share."""

    sizes: Sizes
    cell_types: CellTypes | None

    @property
    def embedding_size(self) -> int:
        """Numbers of the whole embedding: those of all cell types, where there are any."""
        return self.sizes.embedding_size * (1 if self.cell_types is None else self.cell_types.count)


def choose_shape(params: TrainParams, tracks: TrackSet) -> Shape:
    """Sizes for some tracks, and their cell types where the model is by cell type.

    Raises
    ------
    ParamsError
        A cell type has an assay twice, in a model by cell type.
    """
    if params.kind == "tracks":
        return Shape(choose_sizes(params, len(tracks)), None)
    cell_types = cell_types_of(tracks)
    return Shape(choose_sizes(params, len(cell_types.assays)), cell_types)


def choose_sizes(params: TrainParams, tracks: int) -> Sizes:
    """Sizes of the embedding and its parts.

    The bin code has half as many numbers as there are tracks, at most `MAX_CODE_SIZE`, and the context code as many,
    or one fewer where both together would not be fewer than the tracks. By cell type, the context code has a block of
    each kind. A size that the params give is taken as it is.

    Parameters
    ----------
    params : TrainParams
        Params of the step.
    tracks : int
        Tracks of the matrix; of a model by cell type, its assays.
    """
    if params.kind == "cell_types":
        return _by_cell_type(params, tracks)
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


def _by_cell_type(params: TrainParams, assays: int) -> Sizes:
    code = max(1, min(MAX_CODE_SIZE, assays // 2))
    # Few assays have few means to take components of; of a context code whose size is given, a block takes a third.
    most = None
    if params.context_size != "auto":
        most = params.context_size
    elif params.embedding_size != "auto":
        most = max(0, params.embedding_size - code)
    linear, consensus = min(LINEAR_SIZE, 2 * assays), min(CONSENSUS_SIZE, 2 * assays)
    if most is not None:
        linear, consensus = min(linear, most // 3), min(consensus, most // 3)
    linear = linear if params.linear_size == "auto" else params.linear_size
    consensus = consensus if params.consensus_size == "auto" else params.consensus_size
    context = linear + min(RECURRENT_SIZE, 2 * assays) + consensus if most is None else most
    return Sizes(
        code + context if params.embedding_size == "auto" else params.embedding_size, context, linear, consensus
    )


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
