"""Checkpoints: all that a run needs to resume exactly as if it had never stopped."""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch
from torch import Tensor, distributed

from epilstm.console import log
from epilstm.files.outputs import replacing
from epilstm.model.recurrence import State

CHECKPOINT = "checkpoint.pt"

#: What reading a file that is no checkpoint, or no longer one, raises.
UNREADABLE = (
    *(OSError, RuntimeError, EOFError, KeyError, IndexError, ValueError),
    *(pickle.UnpicklingError, BadZipFile),
)


@dataclass
class Epoch:
    """One row of the training curve."""

    epoch: int
    steps: int
    learning_rate: float
    train_mse: float
    validation_mse: float
    validation_r2: float


@dataclass
class Progress:
    """Where training stands, between two steps.

    Parameters
    ----------
    epoch, step : int
        The next step to take, within its epoch.
    taken : int
        Optimiser steps so far.
    state : tuple of Tensor (stream, hidden)
        Recurrent state of every stream.
    squared_error, values : Tensor ()
        Sums of this epoch so far.
    best : dict of Tensor
        Weights of the best epoch so far.
    history : list of Epoch
    """

    state: State
    squared_error: Tensor
    values: Tensor
    epoch: int = 0
    step: int = 0
    taken: int = 0
    best: dict[str, Tensor] = field(default_factory=dict)
    history: list[Epoch] = field(default_factory=list)

    @classmethod
    def at_start(cls, state: State, device: torch.device) -> Progress:
        """Before the first step."""
        nothing = torch.zeros((), device=device, dtype=torch.float64)
        return cls(state, nothing, nothing)

    def add(self, state: State, squared_error: Tensor, values: Tensor) -> None:
        """Count a step: the state that it ended with, and its sums."""
        self.state = state
        self.squared_error = self.squared_error + squared_error
        self.values = self.values + values
        self.step += 1
        self.taken += 1

    def end_epoch(self, row: Epoch, weights: dict[str, Tensor]) -> None:
        """Count an epoch; `weights` are copied if it is the best one so far."""
        self.history.append(row)
        if row is self.best_epoch:
            self.best = {name: tensor.detach().clone() for name, tensor in weights.items()}
        self.epoch += 1
        self.step = 0
        self.squared_error = torch.zeros_like(self.squared_error)
        self.values = torch.zeros_like(self.values)

    @property
    def best_epoch(self) -> Epoch:
        """Row of the epoch with the lowest validation error."""
        return min(self.history, key=lambda row: row.validation_mse)


def save(folder: Path, identity: str, progress: Progress, weights: dict[str, Any], optimizer: dict[str, Any]) -> None:
    """Write the checkpoint so that a kill at any moment leaves the old one or the new one.

    Parameters
    ----------
    folder : Path
    identity : str
        Digest of params, data and code.
    progress : Progress
    weights, optimizer : dict
        State of network and optimiser.
    """
    content = {
        "identity": identity,
        "progress": {**vars(progress), "history": [vars(row) for row in progress.history]},
        "weights": weights,
        "optimizer": optimizer,
    }
    write(folder / CHECKPOINT, content)


def write(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint file; a kill at any moment leaves the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as successor, open(successor, "wb") as stream:
        torch.save(content, stream)
        stream.flush()
        os.fsync(stream.fileno())


def same_everywhere(taken: int, device: torch.device) -> bool:
    """Whether all processes would resume from the same step; else this is logged, and all start from the beginning.

    Parameters
    ----------
    taken : int
        Steps in this process's checkpoint, -1 if it has none.
    device : torch.device
        Of this process.
    """
    if not distributed.is_initialized():
        return True
    ends = torch.tensor([taken, -taken], device=device)
    distributed.all_reduce(ends, distributed.ReduceOp.MIN)
    least, most = int(ends[0]), -int(ends[1])
    if least != most:
        log.warning("the processes' checkpoints are of different steps, training starts from the beginning")
    return least == most


def load(folder: Path, identity: str, device: torch.device) -> tuple[Progress, dict[str, Any], dict[str, Any]] | None:
    """The checkpoint of this very run, if there is one.

    Returns
    -------
    (progress, weights, optimizer) or None
        None where there is no checkpoint, or one of other params, data or code, or a damaged one; each is logged.
    """
    content = read(folder / CHECKPOINT, identity, device)
    if content is None:
        return None
    stored = content["progress"]
    progress = Progress(**{**stored, "history": [Epoch(**row) for row in stored["history"]]})
    return progress, content["weights"], content["optimizer"]


def read(path: Path, identity: str, device: torch.device) -> dict[str, Any] | None:
    """Content of a checkpoint file of a run; None as for `load`."""
    if not path.is_file():
        return None
    try:
        if (damaged := _damaged_member(path)) is not None:
            log.warning(f"{path}: {damaged} in it is damaged, training starts from the beginning")
            return None
        content: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except UNREADABLE as error:
        log.warning(f"{path}: cannot be read ({type(error).__name__}), training starts from the beginning")
        return None
    if content["identity"] != identity:
        log.info(f"{path}: of a run with other params, data or code, training starts from the beginning")
        return None
    return content


def _damaged_member(path: Path) -> str | None:
    """Name of a tensor whose bytes do not fit the checksum that the file has of it, which torch does not compare."""
    with ZipFile(path) as archive:
        return archive.testzip()
