"""Recurrent layers. Tensors are time-major: (time, batch, feature).

All layers name and order their weights as `torch.nn.LSTM` does (gates input, forget, candidate, output), so that one
exporter and one model format serve them all.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

#: State carried along a chromosome: h and c of each layer's forward direction, each (batch, hidden).
State = tuple[Tensor, ...]


class LSTMLayer(nn.LSTM):
    """One `torch.nn.LSTM` layer that multiplies a wide input in a single matrix product on a CPU.

    torch's CPU kernel spends most of its time in the input product once the input is much wider than the gates. Here
    that product is taken out and its result is fed to the same kernel through an identity, which gives the same
    numbers: 2 to 3 times faster with 1,014 tracks and 24 hidden units.
    """

    def __init__(self, input_size: int, hidden_size: int, directions: int = 1) -> None:
        super().__init__(input_size, hidden_size, bidirectional=directions == 2)
        self.directions = directions
        self.identity: Tensor
        self.register_buffer("identity", torch.eye(4 * hidden_size * directions), persistent=False)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:  # type: ignore[override]
        """Run along time.

        Parameters
        ----------
        x : Tensor (time, batch, input)
        state : (h, c), each (batch, hidden)
            Start of the forward direction; the backward direction starts from zero.

        Returns
        -------
        Tensor (time, batch, hidden * directions), and the forward direction's last (h, c)
        """
        first = (_with_backward(state[0], self.directions), _with_backward(state[1], self.directions))
        if x.is_cuda:
            # cuDNN has no bfloat16 LSTM; under autocast torch would take float16, whose range the gradients leave.
            with torch.autocast("cuda", enabled=False):
                y, (h, c) = super().forward(x.float(), first)
        elif self.input_size <= 4 * self.hidden_size * self.directions:
            y, (h, c) = super().forward(x, first)
        else:
            y, h, c = self._project_first(x, first)
        return y, (h[0], c[0])

    def _project_first(self, x: Tensor, first: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        suffixes = ("l0", "l0_reverse")[: self.directions]
        weight = torch.cat([getattr(self, f"weight_ih_{suffix}") for suffix in suffixes])
        bias = torch.cat([getattr(self, f"bias_ih_{s}") + getattr(self, f"bias_hh_{s}") for s in suffixes])
        gates = functional.linear(x, weight, bias)
        weights = []
        for part, suffix in zip(self.identity.chunk(self.directions), suffixes, strict=True):
            weights += [part, getattr(self, f"weight_hh_{suffix}")]
        y, h, c = torch.lstm(gates, first, weights, False, 1, 0.0, self.training, self.bidirectional, False)
        return y, h, c


def _with_backward(tensor: Tensor, directions: int) -> Tensor:
    if directions == 1:
        return tensor[None].contiguous()
    return torch.stack([tensor, torch.zeros_like(tensor)])


class LSTMStack(nn.Module):
    """Layers on top of each other, with dropout between them and, if asked for, each one's output normalised."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        layers: int,
        directions: int,
        dropout: float,
        layer_norm: bool = False,
    ) -> None:
        super().__init__()
        widths = [input_size] + [hidden_size * directions] * (layers - 1)
        self.layers = nn.ModuleList(LSTMLayer(width, hidden_size, directions) for width in widths)
        self.norms = nn.ModuleList(nn.LayerNorm(hidden_size * directions) for _ in widths if layer_norm)
        self.hidden_size = hidden_size
        self.output_size = hidden_size * directions
        self.dropout = dropout

    def zero_state(self, batch: int, like: Tensor) -> State:
        """State at the start of a region: zeros."""
        return tuple(like.new_zeros(batch, self.hidden_size) for _ in range(2 * len(self.layers)))

    def forward(self, x: Tensor, state: State, generator: torch.Generator | None = None) -> tuple[Tensor, State]:
        """Run along time; `generator` draws the dropout masks (training only)."""
        last: State = ()
        for depth, layer in enumerate(self.layers):
            if depth and self.dropout and self.training:
                keep = torch.empty(x.shape, device=x.device).bernoulli_(1 - self.dropout, generator=generator)
                x = x * keep / (1 - self.dropout)
            x, end = layer(x, state[2 * depth : 2 * depth + 2])
            x = self.norms[depth](x) if self.norms else x
            last += end
        return x, last


class SoftsignLSTM(nn.Module):
    """The cell published with Epi-LSTM: softsign in place of tanh, for the candidate and for the output.

    Weights are named and ordered as in `torch.nn.LSTM`; the published files order the gates input, forget, output,
    candidate.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.input_size, self.hidden_size = input_size, hidden_size
        self.weight_ih_l0 = self._initial(4 * hidden_size, input_size)
        self.weight_hh_l0 = self._initial(4 * hidden_size, hidden_size)
        self.bias_ih_l0 = self._initial(4 * hidden_size)
        self.bias_hh_l0 = self._initial(4 * hidden_size)

    def _initial(self, *shape: int) -> nn.Parameter:
        bound = self.hidden_size**-0.5
        return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))

    def forward(self, x: Tensor, state: State, cells: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Run along time.

        Parameters
        ----------
        x : Tensor (time, batch, input)
        state : (h, c), each (batch, hidden)
        cells : Tensor (time, batch, hidden), optional
            Cell states to continue from at each step instead of the layer's own: the published decoder takes those of
            the encoder.

        Returns
        -------
        Hidden and cell states at every step, each (time, batch, hidden)
        """
        gates = functional.linear(x, self.weight_ih_l0, self.bias_ih_l0 + self.bias_hh_l0)
        h, c = state
        hidden_states, cell_states = [], []
        recurrent = self.weight_hh_l0.t()
        for step in range(len(x)):
            i, f, g, o = torch.addmm(gates[step], h, recurrent).chunk(4, dim=1)
            before = c if cells is None else cells[step]
            c = torch.sigmoid(f) * before + torch.sigmoid(i) * functional.softsign(g)
            h = torch.sigmoid(o) * functional.softsign(c)
            hidden_states.append(h)
            cell_states.append(c)
        return torch.stack(hidden_states), torch.stack(cell_states)
