"""What an autoencoder is built from."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveInt, model_validator

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

    @property
    def bin_code_size(self) -> int:
        """Numbers of the embedding that come from the bin level."""
        return self.embedding_size - self.context_size

    @property
    def streams(self) -> bool:
        """Whether the embedding of a bin follows from that bin and those before it."""
        return self.directions == 1 and not self.context_size

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
