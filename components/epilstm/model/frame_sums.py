"""Sums over the frames around each frame of a sequence, from running sums. Tensors are time-major."""

from __future__ import annotations

import torch
from torch import Tensor


def running_sum(values: Tensor) -> Tensor:
    """Sum of what lies before each place of the first axis, and of all at the end, in float64."""
    return torch.cat([values.new_zeros(1, *values.shape[1:], dtype=torch.float64), values.double().cumsum(0)])


def sum_around(running: Tensor, reach: int) -> Tensor:
    """Sum over up to `reach` frames before and behind each, as far as the sequence goes, in float64."""
    count = len(running) - 1
    frames = torch.arange(count, device=running.device)
    return running[(frames + reach + 1).clamp(max=count)] - running[(frames - reach).clamp(min=0)]
