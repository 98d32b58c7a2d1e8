"""The context level that cell types share: of each cell type's frames, a code of three blocks.

- *linear*: principal components of the cell type's own mean signal in the frame and around it, at several scales. It
  keeps what a linear map can keep, and says what it is.
- *recurrent*: a bidirectional LSTM over the frames' tokens, trained to add what the linear block leaves over.
- *consensus*: principal components of the same means over the other cell types, where they have the assay.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from epilstm.model.by_cell_type import ByCellType
from epilstm.model.config import ModelConfig
from epilstm.model.context import DECODER_SIZE, FrameLevel
from epilstm.model.frame_sums import running_sum, sum_around
from epilstm.model.frames import STATISTICS
from epilstm.model.recurrence import LSTMLayer
from epilstm.store.moments import Moments

#: Least standard deviation of a mean before it is divided by it.
LEAST_SCALE = 1e-3


class CellTypeContext(FrameLevel):
    """Codes of all cell types side by side: of each, its linear, its recurrent and its consensus block.

    A token that is NaN is of a track that was not observed.

    Parameters
    ----------
    config : ModelConfig
        With cell types and a context.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config.tracks, config.context_size, config.frame_bins)
        if config.cell_types is None:
            raise ValueError("a context level by cell type needs cell types")
        self.by_cell_type = ByCellType(config.cell_types)
        self.assays, self.cell_types = len(config.cell_types.assays), config.groups
        self.reaches = config.context_reaches
        self.code_size = config.context_size // config.groups
        self.linear_size, self.consensus_size = config.linear_size, config.consensus_size
        self.recurrent_size = self.code_size - self.linear_size - self.consensus_size
        means, width = (1 + len(self.reaches)) * self.assays, (STATISTICS + 1) * self.assays
        self.linear, self.consensus = (nn.Linear(means, size) for size in (self.linear_size, self.consensus_size))
        for block in (self.linear, self.consensus):
            block.requires_grad_(False)
        self.encoder = LSTMLayer(width, config.context_hidden, 2)
        self.code = nn.Linear(2 * config.context_hidden, self.recurrent_size)
        self.around_encoder = nn.Linear(width, self.recurrent_size, bias=False)
        self.decoder = nn.Linear(self.code_size, DECODER_SIZE)
        self.readout = nn.Linear(DECODER_SIZE, STATISTICS * self.assays)
        self.around_decoder = nn.Linear(self.code_size, STATISTICS * self.assays, bias=False)

    @property
    @override
    def reach(self) -> int:
        return max(self.reaches, default=0)

    @override
    def hidden_token(self) -> Tensor:
        return torch.full_like(self.token_mean, torch.nan)

    @override
    def encode(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        values, observed = self.by_cell_type.of_assays(x, STATISTICS)
        means = around(values[..., : self.assays], self.reaches)
        blocks = [
            self.linear(means),
            self.recurrent_code(torch.cat([values, observed], dim=2), generator),
            self.consensus(self.of_others(means, observed)),
        ]
        return self.by_cell_type.side_by_side(torch.cat(blocks, dim=2))

    @override
    def decode(self, code: Tensor) -> Tensor:
        apart = self.by_cell_type.apart(code)
        tokens = self.readout(functional.gelu(self.decoder(apart))) + self.around_decoder(apart)
        return self.by_cell_type.to_tracks(tokens, STATISTICS)

    @property
    def recurrent_columns(self) -> slice:
        """Columns of a cell type's code that the recurrent block makes."""
        return slice(self.linear_size, self.linear_size + self.recurrent_size)

    def recurrent_block(self, code: Tensor) -> Tensor:
        """Recurrent blocks (frame, batch * cell type, dim) of codes of all cell types side by side."""
        return self.by_cell_type.apart(code)[..., self.recurrent_columns]

    def of_others(self, means: Tensor, observed: Tensor) -> Tensor:
        """Means over the other cell types that have the assay, 0 where none has it; shapes as those of `means`."""
        weight = observed.repeat(1, 1, means.shape[2] // self.assays)
        sums, counts = (part.unflatten(1, (-1, self.cell_types)) for part in (means, weight))
        others = sums.sum(2, keepdim=True) - sums
        mean: Tensor = others / (counts.sum(2, keepdim=True) - counts).clamp(min=1)
        return mean.flatten(1, 2)

    @torch.no_grad()
    def fit(self, sequences: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Set the linear and the consensus block to principal components of means over training frames.

        Parameters
        ----------
        sequences : iterable of (Tensor, Tensor)
            Standardised tokens (frame, batch, 3 * track) and which frames have data (frame, batch).
        """
        width = self.linear.in_features
        own, others = Moments(width), Moments(width)
        for x, mask in sequences:
            values, observed = self.by_cell_type.of_assays(x, STATISTICS)
            means = around(values[..., : self.assays], self.reaches)
            rows = mask.bool().repeat_interleave(self.cell_types, dim=1)
            own.add(means[rows].cpu().numpy())
            others.add(self.of_others(means, observed)[rows].cpu().numpy())
        for block, moments in ((self.linear, own), (self.consensus, others)):
            weight, bias = components(moments, block.out_features)
            block.weight.copy_(torch.from_numpy(weight))
            block.bias.copy_(torch.from_numpy(bias))


def around(x: Tensor, reaches: Sequence[int]) -> Tensor:
    """Values of frames, then their means over so many frames on either side, as far as the sequence goes.

    Parameters
    ----------
    x : Tensor (frame, batch, column)
    reaches : sequence of int

    Returns
    -------
    Tensor (frame, batch, (1 + reach) * column)
    """
    sums, counts = running_sum(x), running_sum(x.new_ones(len(x), 1, 1))
    means = [(sum_around(sums, reach) / sum_around(counts, reach)).to(x.dtype) for reach in reaches]
    return torch.cat([x, *means], dim=2)


def components(moments: Moments, size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weight (size, column) and bias (size,) of the first principal components of standardised columns.

    Components have unit variance, and their largest weight is positive.
    """
    covariance = moments.covariance
    scale = np.maximum(np.sqrt(np.diag(covariance).clip(min=0)), LEAST_SCALE)
    variances, vectors = np.linalg.eigh(covariance / np.outer(scale, scale))
    order = np.argsort(variances)[::-1][:size]
    weight = (vectors[:, order] / np.sqrt(np.maximum(variances[order], LEAST_SCALE))).T
    largest = weight[np.arange(len(weight)), np.abs(weight).argmax(1)]
    weight = weight * np.where(largest < 0, -1.0, 1.0)[:, None] / scale
    return weight.astype(np.float32), (-weight @ moments.mean).astype(np.float32)
