"""The autoencoders. Tensors are time-major: (time, batch, feature); input is the standardised matrix.

An architecture is one small class in `ARCHITECTURES`: an encoder from tracks to an embedding per bin and a decoder
from embeddings to features, which a linear read-out turns back into tracks.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from epilstm.model.by_cell_type import ByCellType, SharedReadout
from epilstm.model.cell_type_context import CellTypeContext
from epilstm.model.cell_types import CellTypes
from epilstm.model.config import ModelConfig
from epilstm.model.context import ContextLevel
from epilstm.model.recurrence import LSTMStack, SoftsignLSTM, State


class Autoencoder(nn.Module, ABC):
    """What every architecture offers.

    `encoder_states` is how many tensors of a state belong to the encoder; the decoder's follow.
    """

    readout: nn.Linear | SharedReadout
    encoder_states: int

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config

    @property
    def hidden_value(self) -> float:
        """What stands for a track that is hidden from the encoder: its mean."""
        return 0.0

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


class Bottleneck(Autoencoder):
    """Wide LSTM, linear bottleneck, wide LSTM, linear read-out, with a linear path around each LSTM.

    Recurrent width and embedding size are separate: the decoder reads both ways along the embedding, so that
    neighbouring bins share what they know, and each embedding carries more than its own size would allow. The encoder
    has one direction (it can stream) or two.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        inputs, k, hidden = self._inputs(config), config.bin_code_size // config.groups, config.hidden_size
        self.encoder = LSTMStack(inputs, hidden, config.layers, config.directions, config.dropout, config.layer_norm)
        self.bottleneck = nn.Linear(self.encoder.output_size, k)
        self.around_encoder = nn.Linear(inputs, k, bias=False)
        self.decoder = LSTMStack(k, hidden, config.layers, 2, config.dropout, config.layer_norm)
        self.readout = self._make_readout(self.decoder.output_size + k, config)
        self.encoder_states = 2 * config.layers

    def _inputs(self, config: ModelConfig) -> int:
        return config.tracks

    def _make_readout(self, width: int, config: ModelConfig) -> nn.Linear | SharedReadout:
        return nn.Linear(width, config.tracks)

    @property
    def linear_readout(self) -> nn.Linear:
        """The weights of the read-out."""
        return self.readout.shared if isinstance(self.readout, SharedReadout) else self.readout

    @override
    def zero_state(self, batch: int) -> State:
        like = self.bottleneck.weight
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


class CellTypeBottleneck(Bottleneck):
    """A bottleneck that cell types share: it sees the assays of one at a time, and which of them were observed.

    The embedding has the codes of all cell types side by side, and so have states and features. A track that is NaN
    was not observed.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.by_cell_type = ByCellType(_cell_types(config))

    @property
    @override
    def hidden_value(self) -> float:
        return math.nan

    @override
    def _inputs(self, config: ModelConfig) -> int:
        return 2 * len(_cell_types(config).assays)

    @override
    def _make_readout(self, width: int, config: ModelConfig) -> SharedReadout:
        return SharedReadout(width, _cell_types(config))

    @override
    def zero_state(self, batch: int) -> State:
        return self._joined(super().zero_state(batch * self.config.groups))

    @override
    def encode(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        code, last = super().encode(self.assays(x), self._apart(state or self.zero_state(x.shape[1])))
        return self.by_cell_type.side_by_side(code), self._joined(last)

    @override
    def features(
        self, x: Tensor, state: State | None = None, generator: torch.Generator | None = None
    ) -> tuple[Tensor, State]:
        state = self._apart(state or self.zero_state(x.shape[1]))
        features, last = super().features(self.assays(x), state, generator)
        return self.by_cell_type.side_by_side(features), self._joined(last)

    def encode_some(self, x: Tensor, places: Sequence[int]) -> Tensor:
        """Codes of some cell types, by their places: the columns that `encode` makes of these, from a zero state."""
        shown = self.assays(x, places)
        code, _ = super().encode(shown, super().zero_state(shown.shape[1]))
        some: Tensor = code.unflatten(1, (-1, len(places))).flatten(2)
        return some

    def assays(self, x: Tensor, places: Sequence[int] | None = None) -> Tensor:
        """What the shared network sees (time, batch * cell type, 2 * assay): values, and whether they were observed."""
        return torch.cat(self.by_cell_type.of_assays(x, places=places), dim=2)

    def _apart(self, state: State) -> State:
        return tuple(part.reshape(len(part) * self.config.groups, -1) for part in state)

    def _joined(self, state: State) -> State:
        return tuple(part.reshape(len(part) // self.config.groups, -1) for part in state)


def _cell_types(config: ModelConfig) -> CellTypes:
    if config.cell_types is None:
        raise ValueError("a network by cell type needs cell types")
    return config.cell_types


class Published(Autoencoder):
    """The published form: the embedding is the encoder's hidden state.

    The decoder starts each frame from the encoder's last state and gets the embedding at each step.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        hidden = config.hidden_size
        self.encoder = LSTMStack(config.tracks, hidden, config.layers, 1, config.dropout, config.layer_norm)
        self.decoder = LSTMStack(hidden, hidden, config.layers, 1, config.dropout, config.layer_norm)
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

    The decoder's hidden state starts from the encoder's last; at each step it continues from the *encoder's* cell.
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


class TwoLevels(Autoencoder):
    """A network of bins and a context level of frames: an embedding is the code of the bin, then that of its context.

    Only the bin level has a state and reconstructs; the context level sees what it is shown as a whole bin range, whose
    first bin is a frame's first.
    """

    def __init__(self, bin_level: Autoencoder) -> None:
        config = bin_level.config
        super().__init__(config)
        self.bin_level = bin_level
        self.context_level = _context_level(config)
        self.encoder_states = bin_level.encoder_states

    @property
    @override
    def readout(self) -> nn.Linear | SharedReadout:  # type: ignore[override]
        return self.bin_level.readout

    @property
    @override
    def hidden_value(self) -> float:
        return self.bin_level.hidden_value

    @override
    def zero_state(self, batch: int) -> State:
        return self.bin_level.zero_state(batch)

    @override
    def encode(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        code, last = self.bin_level.encode(x, state)
        return torch.cat([code, self.context_level(x)], dim=2), last

    @override
    def features(
        self, x: Tensor, state: State | None = None, generator: torch.Generator | None = None
    ) -> tuple[Tensor, State]:
        return self.bin_level.features(x, state, generator)


def bin_level_of(network: Autoencoder) -> Autoencoder:
    """The network of bins: what is trained first and reconstructs."""
    return network.bin_level if isinstance(network, TwoLevels) else network


def _context_level(config: ModelConfig) -> ContextLevel | CellTypeContext:
    if config.cell_types is not None:
        return CellTypeContext(config)
    return ContextLevel(config.tracks, config.context_size, config.context_hidden, config.frame_bins)


def context_level_of(network: Autoencoder) -> ContextLevel | CellTypeContext | None:
    """The context level, where a network has one."""
    return network.context_level if isinstance(network, TwoLevels) else None


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
        network = CellTypeBottleneck(config) if config.cell_types else ARCHITECTURES[config.architecture](config)
        return TwoLevels(network) if config.context_size else network


def load_weights(network: Autoencoder, weights: dict[str, Any]) -> None:
    """Put weights into a network; every one must be there and fit."""
    network.load_state_dict(weights, strict=True)
