"""The training loop: truncated back-propagation through time over parallel streams.

Every step takes each stream's next window, starting from the recurrent state its last one ended with (zero at the edge
of a region), and propagates the gradient back to the window's start.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from epilstm.console import Progress as ProgressBar
from epilstm.console import log
from epilstm.errors import LossNotFiniteError
from epilstm.genome.bin_range import BinRange
from epilstm.model.networks import Autoencoder
from epilstm.model.recurrence import State
from epilstm.params import TrainParams
from epilstm.steps.train import checkpoint
from epilstm.steps.train.checkpoint import Epoch, Progress
from epilstm.steps.train.gradients import Gradients, GradientWorkers
from epilstm.steps.train.objective import Objective
from epilstm.steps.train.streams import WindowSource, plan_epoch

#: Steps between checks of the loss on a GPU, where each check waits for it.
GPU_CHECK_STEPS = 25

#: Share of the steps before the learning rate falls, by schedule. The trapezoid is a constant rate with a cooldown
#: (Haegele et al. 2024, arXiv:2405.18392); its share was compared with the others (docs/lab-notebook.md), not tuned.
FLAT = {"cosine": 0.0, "constant": 1.0, "trapezoid": 0.7}


@dataclass(frozen=True)
class TrainingRun:
    """What a training run is made of.

    Parameters
    ----------
    windows : sequence of BinRange
        Of the training chromosomes.
    source : WindowSource
        Reads them.
    streams : slice
        Columns of the plan that this process takes; all of them unless there are several processes.
    validate : callable
        Mean squared error and R2 on the validation chromosomes.
    on_epoch : callable
        Called with each finished epoch.
    stopping : callable
        True once the process was asked to stop.
    folder : Path or None
        Where checkpoints go.
    identity : str
        Digest of params, data and code; a checkpoint of another run is not resumed.
    """

    windows: Sequence[BinRange]
    source: WindowSource
    streams: slice
    validate: Callable[[], tuple[float, float]]
    on_epoch: Callable[[Epoch], None]
    stopping: Callable[[], bool]
    folder: Path | None
    identity: str


def learning_rate(params: TrainParams, taken: int, total: int) -> float:
    """Linear warm-up, then a constant rate or cosine decay to zero: of all steps, or (trapezoid) of the last ones.

    Parameters
    ----------
    params : TrainParams
    taken, total : int
        Steps taken so far and steps of the whole run.
    """
    warmup = min(1.0, (taken + 1) / (params.warmup_steps + 1))
    flat = FLAT[params.schedule] * total
    decay = 0.5 * (1 + math.cos(math.pi * max(0.0, taken - flat) / max(total - flat, 1)))
    return params.learning_rate * warmup * decay


def forward_backward(
    objective: Objective,
    x: Tensor,
    mask: Tensor,
    state: State,
    generator: torch.Generator | None = None,
    bfloat16: bool = False,
) -> Gradients:
    """Gradients of a step, summed over some streams.

    Parameters
    ----------
    objective : Objective
    x, mask : Tensor (time, stream, track), (time, stream)
        As of `Objective`.
    state : tuple of Tensor (stream, hidden)
        Recurrent state before the step.
    generator : torch.Generator, optional
        Source of dropout masks.
    bfloat16 : bool
        Run the forward pass in bfloat16.
    """
    with torch.autocast(x.device.type, torch.bfloat16, enabled=bfloat16):
        loss = objective(x, mask, state, generator)
    gradients = torch.autograd.grad(loss.total, list(objective.parameters()))
    last = tuple(part.detach() for part in loss.state)
    return Gradients(list(gradients), loss.squared_error.detach(), mask.sum() * x.shape[2], last)


def train(
    network: Autoencoder,
    params: TrainParams,
    run: TrainingRun,
    workers: GradientWorkers,
    resume: bool,
    bar: ProgressBar,
) -> Progress:
    """Train a network in place; it ends with the weights of its best epoch.

    Parameters
    ----------
    network : Autoencoder
        On the device of `workers`.
    params : TrainParams
    run : TrainingRun
    workers : GradientWorkers
    resume : bool
        Resume from the run's checkpoint if it has one.
    bar : progress bar
        Counts steps.

    Returns
    -------
    Progress
        With the training curve.

    Raises
    ------
    TrainingError
        The loss is not finite, or there are fewer windows than streams.
    KeyboardInterrupt
        The process was asked to stop; the checkpoint was written.
    """
    device, bfloat16 = workers.device, use_bfloat16(params, workers.device)
    streams = len(range(params.streams)[run.streams])
    steps = len(plan_epoch(len(run.windows), params.streams, params.seed, 0))
    total = steps * params.epochs
    starts_region = torch.tensor([window.begins_region for window in run.windows])
    objective = Objective(network, params)
    optimizer = _optimizer(objective, params)
    progress = _resumed(objective, optimizer, run, device) if resume else None
    if progress is None:
        progress = Progress.at_start(network.zero_state(streams), device)
    bar.advance(progress.taken)

    def save() -> None:
        if run.folder:
            _check_finite(progress, params, total)
            checkpoint.save(run.folder, run.identity, progress, objective.state_dict(), optimizer.state_dict())

    while progress.epoch < params.epochs and not _out_of_patience(progress, params):
        plan = plan_epoch(len(run.windows), params.streams, params.seed, progress.epoch)[:, run.streams]
        run.source.start(plan, progress.step)
        objective.train()
        for step in range(progress.step, steps):
            run.source.prefetch(step)
            fresh = starts_region[plan[step]].to(device) | (step == 0 or not params.carry_state)
            state = _zero_where(progress.state, fresh)
            seed = params.seed + 100_000 * progress.taken + run.streams.start

            def share(rows: slice, number: int, step: int = step, state: State = state, seed: int = seed) -> Gradients:
                x, mask = run.source.read(step, rows)
                generator = torch.Generator(device).manual_seed(seed + number) if objective.draws else None
                return forward_backward(objective, x, mask, tuple(part[rows] for part in state), generator, bfloat16)

            found = workers.mean(share, streams)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(params, progress.taken, total)
            for parameter, gradient in zip(objective.parameters(), found.gradients, strict=True):
                parameter.grad = gradient
            clip_grad_norm_(objective.parameters(), params.clip_norm)
            optimizer.step()

            progress.add(found.state, found.squared_error, found.values)
            bar.advance()
            if device.type == "cpu" or progress.taken % GPU_CHECK_STEPS == 0:
                _check_finite(progress, params, total)
            if run.stopping():
                save()
                raise KeyboardInterrupt
            if progress.taken % params.checkpoint_steps == 0:
                save()
        save()  # validation may take longer than a process that is asked to stop is given
        _check_finite(progress, params, total)
        network.eval()
        row = _epoch(*run.validate(), progress, params, total)
        progress.end_epoch(row, network.state_dict())
        run.on_epoch(row)
        bar.note(f"validation R2 {row.validation_r2:.3f}")
        save()
    network.load_state_dict(progress.best)
    return progress


def _resumed(
    objective: Objective, optimizer: torch.optim.Optimizer, run: TrainingRun, device: torch.device
) -> Progress | None:
    """Load the run's checkpoint into network and optimiser; None where all processes start from the beginning."""
    found = checkpoint.load(run.folder, run.identity, device) if run.folder else None
    if not (checkpoint.same_everywhere(found[0].taken if found else -1, device) and found):
        return None
    progress, weights, moments = found
    objective.load_state_dict(weights)
    optimizer.load_state_dict(moments)
    log.info(f"resumed at epoch {progress.epoch + 1}, step {progress.step}")
    return progress


def use_bfloat16(params: TrainParams, device: torch.device) -> bool:
    """Whether the forward pass runs in bfloat16."""
    return params.precision == "bfloat16" or (params.precision == "auto" and device.type == "cuda")


def _optimizer(objective: Objective, params: TrainParams) -> torch.optim.Optimizer:
    kind = torch.optim.AdamW if params.optimizer == "adamw" else torch.optim.Adam
    return kind(objective.parameters(), lr=params.learning_rate, weight_decay=params.weight_decay)


def _zero_where(state: State, starts: Tensor) -> State:
    return tuple(part.masked_fill(starts[:, None], 0.0) for part in state)


def _check_finite(progress: Progress, params: TrainParams, total: int) -> None:
    if not torch.isfinite(progress.squared_error):
        rate = learning_rate(params, max(progress.taken - 1, 0), total)
        raise LossNotFiniteError(
            f"the loss is not finite at epoch {progress.epoch + 1}, step {progress.step}{_or_before(progress)} "
            f"(learning rate {rate:.2g}); "
            "lower train.learning_rate or train.clip_norm"
        )


def _or_before(progress: Progress) -> str:
    return " or shortly before" if progress.squared_error.is_cuda else ""


def _epoch(mse: float, r2: float, progress: Progress, params: TrainParams, total: int) -> Epoch:
    """Row of the training curve for the epoch that has just ended, from its validation error."""
    row = Epoch(
        epoch=progress.epoch + 1,
        steps=progress.taken,
        learning_rate=learning_rate(params, max(progress.taken - 1, 0), total),
        train_mse=float(progress.squared_error / progress.values.clamp(min=1)),
        validation_mse=mse,
        validation_r2=r2,
    )
    if not math.isfinite(mse):
        raise LossNotFiniteError(
            f"the validation loss is not finite after epoch {row.epoch} (learning rate {row.learning_rate:.2g}); "
            "lower train.learning_rate"
        )
    return row


def _out_of_patience(progress: Progress, params: TrainParams) -> bool:
    # A trapezoid's gain comes at the end, when its rate falls; until then epochs differ by noise.
    if params.schedule == "trapezoid" or not progress.history:
        return False
    return progress.epoch - progress.best_epoch.epoch >= params.patience
