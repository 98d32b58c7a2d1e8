"""Sums of gradients over the streams of a step, which CPU threads and processes share out.

torch's own threads help little with many small matrix products. Streams are independent of each other, so each
thread takes a share of them through the whole step, forward and backward: on two cores twice as fast.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from types import TracebackType

import torch
from torch import Tensor, distributed

from epilstm.model.recurrence import State


@dataclass(frozen=True)
class Gradients:
    """Gradients of some streams at a step.

    Parameters
    ----------
    gradients : list of Tensor
        One per parameter: of the loss summed over values, or (`mean`) over their number.
    squared_error : Tensor ()
        Of the reconstruction, summed over bins with data and tracks.
    values : Tensor ()
        How many values that sum runs over.
    state : tuple of Tensor (stream, hidden)
        Recurrent state after the step, detached, of this process's streams.
    """

    gradients: list[Tensor]
    squared_error: Tensor
    values: Tensor
    state: State


class GradientWorkers:
    """Threads that compute gradients side by side; a single one on a GPU."""

    def __init__(self, device: torch.device, threads: int) -> None:
        self.device = device
        self.threads = threads if device.type == "cpu" else 1
        self.before = torch.get_num_threads()
        if device.type == "cpu":
            torch.set_num_threads(1)
        self.pool = ThreadPoolExecutor(
            self.threads, thread_name_prefix="gradients", initializer=torch.set_num_threads, initargs=(1,)
        )

    def __enter__(self) -> GradientWorkers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.pool.shutdown(cancel_futures=True)
        if self.device.type == "cpu":
            torch.set_num_threads(self.before)

    def mean(self, forward_backward: Callable[[slice, int], Gradients], streams: int) -> Gradients:
        """Gradients of the loss per value, over all streams of all processes.

        Parameters
        ----------
        forward_backward : callable
            From a slice of the streams and the number of that share to its sums; called in several threads.
        streams : int
            Streams of this process.
        """
        bounds = [streams * share // self.threads for share in range(self.threads + 1)]
        shares = [slice(a, b) for a, b in pairwise(bounds) if a < b]
        if len(shares) == 1:
            parts = [forward_backward(shares[0], 0)]
        else:
            parts = list(self.pool.map(forward_backward, shares, range(len(shares))))
        return _per_value(_over_processes(_over_shares(parts)))


def _over_shares(parts: list[Gradients]) -> Gradients:
    return Gradients(
        [torch.stack(each).sum(0) for each in zip(*(part.gradients for part in parts), strict=True)],
        torch.stack([part.squared_error for part in parts]).sum(),
        torch.stack([part.values for part in parts]).sum(),
        tuple(torch.cat(each).float() for each in zip(*(part.state for part in parts), strict=True)),
    )


def _over_processes(own: Gradients) -> Gradients:
    if not distributed.is_initialized():
        return own
    flat = torch.cat([*(each.flatten() for each in own.gradients), own.squared_error[None], own.values[None]])
    distributed.all_reduce(flat)
    pieces = flat[:-2].split([each.numel() for each in own.gradients])
    summed = [piece.view_as(like) for piece, like in zip(pieces, own.gradients, strict=True)]
    return Gradients(summed, flat[-2], flat[-1], own.state)


def _per_value(summed: Gradients) -> Gradients:
    # A step whose streams are all without data has no gradient rather than an undefined one.
    scale = 1 / summed.values.clamp(min=1)
    return Gradients([each * scale for each in summed.gradients], summed.squared_error, summed.values, summed.state)
