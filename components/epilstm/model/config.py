"""What an autoencoder is built from."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveInt, model_validator

from epilstm.model.cell_types import CellTypes, codes_side_by_side
from epilstm.params import Architecture


class ModelConfig(BaseModel):
    """Shape of an autoencoder; together with its weights, all that is needed to run it.

    Parameters
    ----------
    architecture : str
        Name in `epilstm.model.networks.ARCHITECTURES`.
    tracks, embedding_size, hidden_size, layers : int
        Input width, numbers per bin in the embedding, recurrent width, stacked recurrent layers.
    directions : int
        1, or 2 for an encoder that reads both ways along the chromosome.
    dropout : float
        Share of hidden units dropped between recurrent layers in training.
    layer_norm : bool
        Normalise the output of each recurrent layer over its units.
    context_size, context_hidden : int
        Numbers of the embedding that come from the context level (0: there is none), and its recurrent width.
    frame_bins : int
        Bins per frame, which is what the context level sees.
    cell_types : CellTypes or None
        Of a network that cell types share: the embedding holds the codes of all cell types side by side, first those of
        the bin, then those of its context, and sizes are those of all cell types together.
    linear_size, consensus_size : int
        Of a cell type's context code, the numbers that are a linear map of its own means and of other cell types'; the
        recurrent layer makes the rest.
    context_reaches : tuple of int
        Frames on either side over which these means are taken, beside the frame itself.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    architecture: Architecture
    tracks: PositiveInt
    embedding_size: PositiveInt
    hidden_size: PositiveInt
    layers: PositiveInt = 1
    directions: int = 1
    dropout: float = 0.0
    layer_norm: bool = False
    context_size: NonNegativeInt = 0
    context_hidden: PositiveInt = 64
    frame_bins: PositiveInt = 100
    cell_types: CellTypes | None = None
    linear_size: NonNegativeInt = 0
    consensus_size: NonNegativeInt = 0
    context_reaches: tuple[PositiveInt, ...] = ()

    @property
    def groups(self) -> int:
        """Codes side by side in the embedding: one per cell type, or one of all tracks."""
        return 1 if self.cell_types is None else self.cell_types.count

    @property
    def code_columns(self) -> dict[str, list[int]] | None:
        """Columns of each cell type's code, of the bin, then of its context; None where all tracks have one code."""
        if self.cell_types is None:
            return None
        return codes_side_by_side(
            self.cell_types.names, self.bin_code_size // self.groups, self.context_size // self.groups
        )

    @property
    def context_blocks(self) -> dict[str, int]:
        """Numbers of each block of a cell type's context code, in order."""
        whole = self.context_size // self.groups
        recurrent = whole - self.linear_size - self.consensus_size
        return {"linear": self.linear_size, "recurrent": recurrent, "consensus": self.consensus_size}

    @property
    def bin_code_size(self) -> int:
        """Numbers of the embedding that come from the bin level."""
        return self.embedding_size - self.context_size

    @property
    def streams(self) -> bool:
        """Whether the embedding of a bin follows from that bin and those before it."""
        return self.directions == 1 and not self.context_size and self.cell_types is None

    @model_validator(mode="after")
    def _context_form(self) -> ModelConfig:
        if self.context_size and self.architecture != "bottleneck":
            raise ValueError(
                f"architecture '{self.architecture}' has no context level; set context_size to 0 or take 'bottleneck'"
            )
        if self.context_size >= self.embedding_size:
            raise ValueError(
                f"context_size ({self.context_size}) is a part of embedding_size ({self.embedding_size}) and must be "
                "smaller"
            )
        return self

    @model_validator(mode="after")
    def _cell_type_form(self) -> ModelConfig:
        blocks = self.linear_size + self.consensus_size
        if self.cell_types is None:
            if blocks:
                raise ValueError("linear_size and consensus_size need kind: cell_types; set them to 0")
            return self
        if self.architecture != "bottleneck":
            raise ValueError(f"architecture '{self.architecture}' has no kind cell_types; take 'bottleneck'")
        if self.embedding_size % self.groups or self.context_size % self.groups:
            raise ValueError("embedding_size and context_size should be multiples of the number of cell types")
        means = (1 + len(self.context_reaches)) * len(self.cell_types.assays)
        if max(self.linear_size, self.consensus_size) > means:
            raise ValueError(
                f"linear_size ({self.linear_size}) and consensus_size ({self.consensus_size}) count components of the"
                f" {means} means that a cell type has; set them to {means} or less"
            )
        if blocks and blocks >= self.context_size // self.groups:
            raise ValueError(
                f"linear_size ({self.linear_size}) and consensus_size ({self.consensus_size}) are parts of context_size"
                f" ({self.context_size // self.groups} per cell type) and should be smaller together"
            )
        return self

    @model_validator(mode="after")
    def _published_form(self) -> ModelConfig:
        if self.architecture == "bottleneck":
            return self
        if self.embedding_size != self.hidden_size:
            raise ValueError(
                f"in architecture '{self.architecture}' the embedding is the hidden state: embedding_size "
                f"({self.embedding_size}) and hidden_size ({self.hidden_size}) must be equal"
            )
        if self.directions != 1:
            raise ValueError(f"architecture '{self.architecture}' has one direction; set directions to 1")
        if self.architecture == "published_softsign" and self.layers != 1:
            raise ValueError("architecture 'published_softsign' has one layer; set layers to 1")
        if self.architecture == "published_softsign" and self.layer_norm:
            raise ValueError("architecture 'published_softsign' has no layer norm; set layer_norm to false")
        return self
