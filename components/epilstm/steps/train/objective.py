"""The loss of training: the squared error of the reconstruction, and the terms that the params add to it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from epilstm.model.networks import Autoencoder
from epilstm.model.readout import readout_squared_error
from epilstm.model.recurrence import State
from epilstm.params import TrainParams

#: Standard deviations above its mean from which a track's bin is a peak.
PEAK = 3.0


@dataclass(frozen=True)
class Loss:
    """Of some streams at a step.

    Parameters
    ----------
    total : Tensor ()
        The loss, summed over bins with data and tracks.
    squared_error : Tensor ()
        Of the reconstruction alone, summed likewise; a bin counts with its weight.
    state : tuple of Tensor (stream, hidden)
        After the step.
    """

    total: Tensor
    squared_error: Tensor
    state: State


class Objective(nn.Module):
    """A network and its loss.

    Parameters
    ----------
    network : Autoencoder
    params : TrainParams, optional
        `track_dropout`, `peak_weight`, `neighbour_bins`, and `seed` for the weights of what is trained along; the plain
        squared error without.
    """

    def __init__(self, network: Autoencoder, params: TrainParams | None = None) -> None:
        super().__init__()
        self.network = network
        self.track_dropout = params.track_dropout if params else 0.0
        self.peak_weight = params.peak_weight if params else 0.0
        self.distance = params.neighbour_bins if params else 0
        width, tracks = network.readout.in_features, network.readout.out_features
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(params.seed if params else 0)
            self.neighbours = nn.Linear(width, 2 * tracks) if self.distance else None
        if self.neighbours is not None:
            self.neighbours.to(network.readout.weight.device)

    @property
    def draws(self) -> bool:
        """Whether a step depends on a draw of random numbers."""
        return bool(self.track_dropout or self.network.config.dropout)

    def forward(self, x: Tensor, mask: Tensor, state: State, generator: torch.Generator | None = None) -> Loss:
        """Loss of a step.

        Parameters
        ----------
        x : Tensor (time, stream, track)
        mask : Tensor (time, stream)
            1 where the bin has data, else 0.
        state : tuple of Tensor (stream, hidden)
            Before the step.
        generator : torch.Generator, optional
            Source of dropout masks.
        """
        features, last = self.network.features(self._shown(x, generator), state, generator)
        readout = self.network.readout
        weight = mask * (1 + self.peak_weight * (x.amax(2) > PEAK)) if self.peak_weight else mask
        error = squared_error(features, readout.weight, readout.bias, x, weight)
        total = (
            error if self.neighbours is None else error + self._neighbour_error(self.neighbours, features, x, weight)
        )
        return Loss(total, error, last)

    def _neighbour_error(self, readout: nn.Linear, features: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        """Error of the tracks ahead, and of those behind, each as far as the step goes."""
        far = self.distance
        ahead, behind = readout.weight.chunk(2)
        bias_ahead, bias_behind = readout.bias.chunk(2)
        return squared_error(features[:-far], ahead, bias_ahead, x[far:], weight[far:]) + squared_error(
            features[far:], behind, bias_behind, x[:-far], weight[:-far]
        )

    def _shown(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        """What the encoder sees: some tracks are hidden (`Autoencoder.hidden_value`)."""
        if not (self.track_dropout and self.training):
            return x
        keep = torch.empty(x.shape[1:], device=x.device).bernoulli_(1 - self.track_dropout, generator=generator)
        return x * keep if self.network.hidden_value == 0 else x.masked_fill(keep == 0, self.network.hidden_value)


def squared_error(features: Tensor, weight: Tensor, bias: Tensor, target: Tensor, counts: Tensor) -> Tensor:
    """Squared error of a read-out of features (time, stream, width) against (time, stream, track), bins weighted."""
    return readout_squared_error(features.flatten(0, 1), weight, bias, target.flatten(0, 1), counts.flatten())
