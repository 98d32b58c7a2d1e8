"""What an autoencoder is built from."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, PositiveInt, model_validator

from epilstm.config import Architecture


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
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    architecture: Architecture
    tracks: PositiveInt
    embedding_size: PositiveInt
    hidden_size: PositiveInt
    layers: PositiveInt = 1
    directions: int = 1
    dropout: float = 0.0

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
        return self
