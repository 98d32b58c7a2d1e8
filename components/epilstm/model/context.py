"""The context level: a second, coarser autoencoder over frames, whose codes describe what surrounds each bin."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from epilstm.genome.frames import frame_weights
from epilstm.model.frames import STATISTICS
from epilstm.model.recurrence import LSTMLayer

#: Units of the decoder, which serves training alone.
DECODER_SIZE = 64

#: Share of the input and of the recurrent layer's output that is dropped in training.
DROPOUT = 0.2


class FrameLevel(nn.Module, ABC):
    """What every context level offers: tokens of frames to codes of frames, and these to bins. Tensors are time-major.

    Parameters
    ----------
    tracks, size, frame_bins : int
        Tracks of the matrix, numbers per frame in the code, bins per frame.
    """

    token_mean: Tensor
    token_scale: Tensor
    weights: Tensor
    encoder: LSTMLayer
    code: nn.Linear
    around_encoder: nn.Linear

    def __init__(self, tracks: int, size: int, frame_bins: int) -> None:
        super().__init__()
        width = STATISTICS * tracks
        self.size, self.frame_bins = size, frame_bins
        self.register_buffer("token_mean", torch.zeros(width))
        self.register_buffer("token_scale", torch.ones(width))
        self.register_buffer("weights", torch.from_numpy(frame_weights(frame_bins)), persistent=False)

    @property
    def reach(self) -> int:
        """Frames on either side that a linear part of the code reads; 0 where only the recurrence reads others."""
        return 0

    def hidden_token(self) -> Tensor:
        """Standardised token (3 * track) of tracks that are hidden: that of a track at its mean, without spread."""
        return self.standardised(torch.zeros_like(self.token_mean))

    @abstractmethod
    def encode(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Code (frame, batch, dim) of standardised tokens (frame, batch, 3 * track); `generator` draws dropout."""

    @abstractmethod
    def decode(self, code: Tensor) -> Tensor:
        """Standardised tokens (frame, batch, 3 * track) from their code."""

    def standardised(self, tokens: Tensor) -> Tensor:
        """Tokens (..., 3 * track) with the training chromosomes' mean and scale."""
        return (tokens - self.token_mean) / self.token_scale

    def forward(self, x: Tensor) -> Tensor:
        """Code of every bin (time, batch, dim) of bins x (time, batch, track); the first bin is a frame's first."""
        return self.spread(self.encode(self.standardised(self.tokens(x))), len(x))

    def tokens(self, x: Tensor) -> Tensor:
        """Tokens (frame, batch, 3 * track) of x (time, batch, track), as `epilstm.model.frames.frame_tokens`."""
        whole = len(x) // self.frame_bins * self.frame_bins
        parts = [_statistics(x[:whole].unflatten(0, (-1, self.frame_bins)))] if whole else []
        if whole < len(x):
            parts.append(_statistics(x[whole:][None]))
        return torch.cat(parts)

    def spread(self, codes: Tensor, bins: int) -> Tensor:
        """Codes of bins (time, batch, dim) from those of frames, as `epilstm.model.frames.spread_codes`."""
        before, behind = torch.cat([codes[:1], codes[:-1]]), torch.cat([codes[1:], codes[-1:]])
        weights = self.weights.to(codes.dtype)[:, None, :, None, None]
        spread = weights[0] * before[:, None] + weights[1] * codes[:, None] + weights[2] * behind[:, None]
        return spread.flatten(0, 1)[:bins]

    def recurrent_code(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        """Code (frame, batch, dim) that the LSTM and the linear path around it make of (frame, batch, column)."""
        zero = x.new_zeros(x.shape[1], self.encoder.hidden_size)
        x = self._dropped(x, generator)
        hidden, _ = self.encoder(x, (zero, zero))
        code: Tensor = self.code(self._dropped(hidden, generator)) + self.around_encoder(x)
        return code

    def _dropped(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        if not self.training:
            return x
        keep = torch.empty(x.shape, device=x.device).bernoulli_(1 - DROPOUT, generator=generator)
        return x * keep / (1 - DROPOUT)


class ContextLevel(FrameLevel):
    """Bidirectional LSTM over the tokens of frames, with a linear path around it.

    Parameters
    ----------
    tracks, size, hidden_size, frame_bins : int
        Tracks of the matrix, numbers per frame in the code, recurrent width, bins per frame.
    """

    def __init__(self, tracks: int, size: int, hidden_size: int, frame_bins: int) -> None:
        super().__init__(tracks, size, frame_bins)
        width = STATISTICS * tracks
        self.encoder = LSTMLayer(width, hidden_size, 2)
        self.code = nn.Linear(2 * hidden_size, size)
        self.around_encoder = nn.Linear(width, size, bias=False)
        self.decoder = nn.Linear(size, DECODER_SIZE)
        self.readout = nn.Linear(DECODER_SIZE, width)
        self.around_decoder = nn.Linear(size, width, bias=False)

    @override
    def encode(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self.recurrent_code(x, generator)

    @override
    def decode(self, code: Tensor) -> Tensor:
        tokens: Tensor = self.readout(functional.gelu(self.decoder(code))) + self.around_decoder(code)
        return tokens


def _statistics(frames: Tensor) -> Tensor:
    """Tokens (frame, batch, 3 * track) of frames (frame, bin, batch, track)."""
    return torch.cat([frames.mean(1), frames.amax(1), frames.std(1, correction=0)], dim=2)
