"""Gradients of one step of the training loop."""

import torch
from torch import Tensor

from epilstm.model.networks import Autoencoder
from epilstm.model.recurrence import State
from epilstm.steps.train.gradients import Gradients, GradientWorkers
from epilstm.steps.train.loop import forward_backward
from epilstm.steps.train.objective import Objective


def step_gradients(
    network: Autoencoder, x: Tensor, mask: Tensor, state: State, threads: int, device: str = "cpu"
) -> Gradients:
    """Of the plain squared error over all streams, shared out to some threads."""
    objective = Objective(network)

    def share(rows: slice, number: int) -> Gradients:
        return forward_backward(objective, x[:, rows], mask[:, rows], tuple(part[rows] for part in state))

    with GradientWorkers(torch.device(device), threads) as workers:
        return workers.mean(share, x.shape[1])
