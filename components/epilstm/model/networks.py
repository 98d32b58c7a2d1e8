"""The autoencoders. Tensors are time-major: (time, batch, feature); input is the standardised matrix.

An architecture is one small class in `ARCHITECTURES`: an encoder from tracks to an embedding per bin and a decoder
from embeddings to features, which a linear read-out turns back into tracks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from epilstm.model.config import ModelConfig
from epilstm.model.readout import readout_squared_error
from epilstm.model.recurrence import LSTMStack, SoftsignLSTM, State


class Autoencoder(nn.Module, ABC):
    """What every architecture offers.

    `encoder_states` is how many tensors of a state belong to the encoder; the decoder's follow.
    """

    readout: nn.Linear
    encoder_states: int

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config

    @abstractmethod
    def zero_state(self, batch: int) -> State:
        """State at the start of a region: tensors (batch, hidden), the encoder's first."""

    @abstractmethod
    def encode(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Embedding (time, batch, dim) of x (time, batch, track), and the encoder's state after it."""

    @abstractmethod
    def features(
        self, x: Tensor, state: State | None = None, generator: torch.Generator | None = None
    ) -> tuple[Tensor, State]:
        """Encode and decode up to the read-out: (time, batch, width), and the state after it."""

    def reconstruct(self, x: Tensor, state: State | None = None) -> Tensor:
        """Reconstruction (time, batch, track) of x."""
        return self.readout(self.features(x, state)[0])  # type: ignore[no-any-return]

    def squared_error(
        self, x: Tensor, mask: Tensor, state: State, generator: torch.Generator | None = None
    ) -> tuple[Tensor, State]:
        """Summed squared error of the reconstruction over bins with data, and the state after x.

        Parameters
        ----------
        x : Tensor (time, batch, track)
        mask : Tensor (time, batch)
            1 where the bin has data, else 0.
        state : tuple of Tensor (batch, hidden)
        generator : torch.Generator, optional
            Source of dropout masks.
        """
        features, state = self.features(x, state, generator)
        error = readout_squared_error(
            features.flatten(0, 1), self.readout.weight, self.readout.bias, x.flatten(0, 1), mask.flatten()
        )
        return error, state


class Bottleneck(Autoencoder):
    """Wide LSTM, linear bottleneck, wide LSTM, linear read-out, with a linear path around each LSTM.

    Recurrent width and embedding size are separate: the decoder reads both ways along the embedding, so that
    neighbouring bins share what they know, and each embedding carries more than its own size would allow. The encoder
    has one direction (it can stream) or two.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        k, hidden = config.embedding_size, config.hidden_size
        self.encoder = LSTMStack(config.tracks, hidden, config.layers, config.directions, config.dropout)
        self.bottleneck = nn.Linear(self.encoder.output_size, k)
        self.around_encoder = nn.Linear(config.tracks, k, bias=False)
        self.decoder = LSTMStack(k, hidden, config.layers, 2, config.dropout)
        self.readout = nn.Linear(self.decoder.output_size + k, config.tracks)
        self.encoder_states = 2 * config.layers

    @override
    def zero_state(self, batch: int) -> State:
        like = self.readout.weight
        return self.encoder.zero_state(batch, like) + self.decoder.zero_state(batch, like)

    @override
    def encode(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        return self._encode(x, state or self.zero_state(x.shape[1]), None)

    def _encode(self, x: Tensor, state: State, generator: torch.Generator | None) -> tuple[Tensor, State]:
        hidden, last = self.encoder(x, state[: self.encoder_states], generator)
        return self.bottleneck(hidden) + self.around_encoder(x), last

    @override
    def features(
        self, x: Tensor, state: State | None = None, generator: torch.Generator | None = None
    ) -> tuple[Tensor, State]:
        state = state or self.zero_state(x.shape[1])
        embedding, encoder_last = self._encode(x, state, generator)
        hidden, decoder_last = self.decoder(embedding, state[self.encoder_states :], generator)
        return torch.cat([hidden, embedding], dim=2), encoder_last + decoder_last


class Published(Autoencoder):
    """The published form: the embedding is the encoder's hidden state.

    The decoder starts each frame from the encoder's last state and gets the embedding at each step.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        hidden = config.hidden_size
        self.encoder = LSTMStack(config.tracks, hidden, config.layers, 1, config.dropout)
        self.decoder = LSTMStack(hidden, hidden, config.layers, 1, config.dropout)
        self.readout = nn.Linear(hidden, config.tracks)
        self.encoder_states = 2 * config.layers

    @override
    def zero_state(self, batch: int) -> State:
        return self.encoder.zero_state(batch, self.readout.weight)

    @override
    def encode(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        embedding, last = self.encoder(x, state or self.zero_state(x.shape[1]))
        return embedding, last

    @override
    def features(
        self, x: Tensor, state: State | None = None, generator: torch.Generator | None = None
    ) -> tuple[Tensor, State]:
        embedding, last = self.encoder(x, state or self.zero_state(x.shape[1]), generator)
        hidden, _ = self.decoder(embedding, last, generator)
        return hidden, last


class PublishedSoftsign(Autoencoder):
    """The published cell, exactly: softsign in place of tanh.

    The decoder's hidden state starts from the encoder's last; at each step it goes on from the *encoder's* cell.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        hidden = config.hidden_size
        self.encoder = SoftsignLSTM(config.tracks, hidden)
        self.decoder = SoftsignLSTM(hidden, hidden)
        self.readout = nn.Linear(hidden, config.tracks)
        self.encoder_states = 2

    @override
    def zero_state(self, batch: int) -> State:
        zeros = self.readout.weight.new_zeros(batch, self.config.hidden_size)
        return zeros, zeros

    @override
    def encode(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        hidden, cells = self.encoder(x, state or self.zero_state(x.shape[1]))
        return hidden, (hidden[-1], cells[-1])

    @override
    def features(
        self, x: Tensor, state: State | None = None, generator: torch.Generator | None = None
    ) -> tuple[Tensor, State]:
        hidden, cells = self.encoder(x, state or self.zero_state(x.shape[1]))
        last = (hidden[-1], cells[-1])
        decoded, _ = self.decoder(hidden, last, cells)
        return decoded, last


#: Name in ``train.architecture`` -> class.
ARCHITECTURES: dict[str, type[Autoencoder]] = {
    "bottleneck": Bottleneck,
    "published": Published,
    "published_softsign": PublishedSoftsign,
}


def build(config: ModelConfig, seed: int) -> Autoencoder:
    """A network with initial weights that depend on config and seed alone.

    Parameters
    ----------
    config : ModelConfig
    seed : int
        Torch's global random state is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ARCHITECTURES[config.architecture](config)


def load_weights(network: Autoencoder, weights: dict[str, Any]) -> None:
    """Put weights into a network; every one must be there and fit."""
    network.load_state_dict(weights, strict=True)
