"""From decoder features back to tracks, and how far off that is."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

#: Rows per block: the block's error (rows x tracks) stays in a core's cache.
BLOCK_ROWS = 512

#: Tracks from which the blockwise form is faster on a CPU.
BLOCKWISE_TRACKS = 128


def readout_squared_error(features: Tensor, weight: Tensor, bias: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Summed squared error of ``features @ weight.T + bias`` against `target`, rows weighted.

    Parameters
    ----------
    features : Tensor (rows, width)
    weight : Tensor (tracks, width)
    bias : Tensor (tracks,)
    target : Tensor (rows, tracks)
    mask : Tensor (rows,)
        Weight of each row; 0 where the bin has no data.

    Returns
    -------
    Tensor ()
    """
    if features.is_cuda or target.shape[1] < BLOCKWISE_TRACKS:
        error = functional.linear(features, weight, bias).float() - target
        return (error.square().sum(1) * mask).sum()
    return _BlockwiseSquaredError.apply(features, weight, bias, target, mask)  # type: ignore[no-any-return]


class _BlockwiseSquaredError(torch.autograd.Function):
    """The same, one block of rows at a time and with its gradients at once: no (rows, tracks) tensor is ever made."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, bias: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        total = features.new_zeros(())
        by_features = torch.empty_like(features)
        by_weight, by_bias = torch.zeros_like(weight), torch.zeros_like(bias)
        for start in range(0, len(features), BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            error = torch.addmm(bias, features[rows], weight.t()).sub_(target[rows])
            weighted = error * mask[rows, None]
            total += torch.dot(error.view(-1), weighted.view(-1))
            torch.mm(weighted, weight, out=by_features[rows])
            by_weight.addmm_(weighted.t(), features[rows])
            by_bias += weighted.sum(0)
        ctx.save_for_backward(by_features, by_weight, by_bias)
        return total

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        by_features, by_weight, by_bias = ctx.saved_tensors
        factor = 2 * upstream[0]
        return factor * by_features, factor * by_weight, factor * by_bias, None, None
