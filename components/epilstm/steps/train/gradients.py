"""Gradients of one step, streams shared out to CPU threads and to processes.

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
from epilstm.steps.train.objective import Objective

Read = Callable[[slice], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class StepGradients:
    """Summed over all streams of all processes.

    Parameters
    ----------
    gradients : list of Tensor
        Of the loss over the number of values, one per parameter.
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
    """Threads that compute gradients side by side; one without threads on a GPU."""

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

    def gradients(
        self, objective: Objective, read: Read, state: State, seed: int, autocast: bool = False
    ) -> StepGradients:
        """Gradients of one step.

        Parameters
        ----------
        objective : Objective
        read : callable
            Values (time, stream, track) and mask (time, stream) of a slice of the streams.
        state : tuple of Tensor (stream, hidden)
            Recurrent state before the step.
        seed : int
            Of this step's dropout masks.
        autocast : bool
            Run the forward pass in bfloat16.
        """
        streams = len(state[0])
        parameters = list(objective.parameters())
        bounds = [streams * share // self.threads for share in range(self.threads + 1)]
        shares = [slice(a, b) for a, b in pairwise(bounds) if a < b]

        def share(number: int) -> tuple[list[Tensor], Tensor, Tensor, State]:
            rows = shares[number]
            x, mask = read(rows)
            generator = torch.Generator(self.device).manual_seed(seed + number) if objective.draws else None
            with torch.autocast(self.device.type, torch.bfloat16, enabled=autocast):
                loss = objective(x, mask, tuple(part[rows] for part in state), generator)
            gradients = torch.autograd.grad(loss.total, parameters)
            last = tuple(part.detach() for part in loss.state)
            return list(gradients), loss.squared_error.detach(), mask.sum() * x.shape[2], last

        done = [share(0)] if len(shares) == 1 else list(self.pool.map(share, range(len(shares))))
        summed = [torch.stack(parts).sum(0) for parts in zip(*(part[0] for part in done), strict=True)]
        error = torch.stack([part[1] for part in done]).sum()
        values = torch.stack([part[2] for part in done]).sum()
        summed, error, values = _over_processes(summed, error, values)
        last = tuple(torch.cat(parts).float() for parts in zip(*(part[3] for part in done), strict=True))
        # A step whose streams are all without data has no gradient rather than an undefined one.
        scale = 1 / values.clamp(min=1)
        return StepGradients([gradient * scale for gradient in summed], error, values, last)


def _over_processes(gradients: list[Tensor], error: Tensor, values: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
    if not distributed.is_initialized():
        return gradients, error, values
    flat = torch.cat([*(gradient.flatten() for gradient in gradients), error[None], values[None]])
    distributed.all_reduce(flat)
    pieces = flat[:-2].split([gradient.numel() for gradient in gradients])
    return [piece.view_as(like) for piece, like in zip(pieces, gradients, strict=True)], flat[-2], flat[-1]
