"""Training of the context level: an autoencoder of frames' tokens, over bin ranges of some hundred frames.

A frame's code is trained to reproduce the frame's own token and the mean signal around it (`ContextTargets`). Errors
are means over a part's columns, summed over parts, the own token counted `OWN_WEIGHT` times.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from epilstm.console import Progress as ProgressBar
from epilstm.console import log
from epilstm.errors import DataError, LossNotFiniteError
from epilstm.genome.bin_range import BinRange
from epilstm.model.cell_type_context import CellTypeContext
from epilstm.model.context import ContextLevel
from epilstm.model.folder import ContextSummary
from epilstm.model.frames import STATISTICS
from epilstm.model.rotation import rotate_context, rotation_of
from epilstm.params import TrainParams
from epilstm.steps.train import checkpoint
from epilstm.steps.train.context_targets import (
    OWN_WEIGHT,
    CellTypeTargets,
    ContextTargets,
    joint_targets,
    reaches_in_frames,
)
from epilstm.steps.train.sampling import cut_evenly, runs_of, spread_evenly, token_sequences
from epilstm.steps.train.streams import windows_of
from epilstm.store.manifests import MatrixManifest
from epilstm.store.moments import Moments

CHECKPOINT = "context.pt"

#: Frames of a sequence: long beside what the level remembers (docs/model.md).
SEQUENCE_FRAMES = 256

#: Sequences are at least so many times as long as the means that blocks of a cell type's code are fitted to reach.
SEQUENCE_REACHES = 3

#: Values (frames x columns) of the tokens held in memory for training, 1 GB in float32, and for validation.
TRAINING_VALUES, VALIDATION_VALUES = 250_000_000, 60_000_000

#: Optimiser steps per epoch, about, and sequences per step at most.
EPOCH_STEPS, BATCH_MOST = 128, 32

LEARNING_RATE, WEIGHT_DECAY, CLIP_NORM = 3e-3, 1e-5, 1.0

#: Epochs without a better validation error before stopping.
PATIENCE = 20

#: Least standard deviation of a column of the tokens.
LEAST_SCALE = 1e-2


@dataclass(frozen=True)
class Sequences:
    """Sequences of one length.

    Parameters
    ----------
    tokens : Tensor (frame, sequence, column)
        Standardised.
    mask : Tensor (frame, sequence)
        1 where the frame has data, else 0.
    """

    tokens: Tensor
    mask: Tensor


@dataclass
class ContextProgress:
    """Where training stands, between two epochs; rows of `history` are the errors in training and validation."""

    history: list[tuple[float, float]] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)

    @property
    def best_epoch(self) -> int:
        """Epoch with the lowest validation error, from 0."""
        return int(np.argmin([validation for _, validation in self.history]))

    def over(self, epochs: int) -> bool:
        """Whether there is no further epoch to train."""
        return len(self.history) >= epochs or (
            bool(self.history) and len(self.history) - 1 - self.best_epoch >= PATIENCE
        )


@dataclass(frozen=True)
class ContextRun:
    """What a training run of the context level is made of.

    Parameters
    ----------
    matrix : Path
    manifest : MatrixManifest
    windows : sequence of BinRange
        Of whole frames.
    folder : Path or None
        Where its checkpoint goes.
    identity : str
        Digest of params, data and code; a checkpoint of another run is not resumed.
    stopping : callable
        True once the process was asked to stop.
    """

    matrix: Path
    manifest: MatrixManifest
    windows: Sequence[BinRange]
    folder: Path | None
    identity: str
    stopping: Callable[[], bool]


def train_context(
    level: ContextLevel | CellTypeContext, params: TrainParams, run: ContextRun, resume: bool, bar: ProgressBar
) -> ContextSummary:
    """Train a context level in place; it ends with the weights of its best epoch, its code rotated.

    Raises
    ------
    DataError
        No training frame has data.
    LossNotFiniteError
        The loss is not finite.
    KeyboardInterrupt
        The process was asked to stop; the checkpoint was written.
    """
    device, frame_bins = level.token_mean.device, run.manifest.frame_bins
    length = max(SEQUENCE_FRAMES, SEQUENCE_REACHES * level.reach)
    tokens = _tokens(run, run.windows, length, TRAINING_VALUES)
    validation_regions = run.manifest.region_list(run.manifest.split.validation)
    held_out = _tokens(
        run, windows_of(validation_regions, run.manifest.bin_size, frame_bins), length, VALIDATION_VALUES
    )
    _standardise(level, tokens)
    training, validation = (_by_length(level, part, device) for part in (tokens, held_out))
    del tokens, held_out
    frames = sum(int(part.mask.sum()) for part in training)
    if not frames:
        raise DataError(
            f"none of the frames that the context level would be trained on has data; raise train.train_bins "
            f"({params.train_bins}), or set train.context_size to 0"
        )
    log.info(f"context level: {frames:,} frames of {frame_bins} bins, {level.token_mean.numel()} columns")

    if isinstance(level, CellTypeContext):
        level.fit(_batches(training))
    around = _context_targets(level, params, run, training)
    trained = [each for each in (*level.parameters(), *around.parameters()) if each.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    progress = _resumed(level, around, optimizer, run) if resume else ContextProgress()
    bar.advance(len(progress.history))
    while not progress.over(params.context_epochs):
        epoch = len(progress.history)
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * epoch / params.context_epochs))
        errors = (
            _epoch(level, around, optimizer, training, [params.seed, epoch], params.context_track_dropout, run),
            error_of(level, validation, around),
        )
        if not all(map(math.isfinite, errors)):
            raise LossNotFiniteError(
                f"the context level's loss is not finite after epoch {epoch + 1}: a value of the matrix is not, or is "
                "extreme; run preprocess again, or set train.context_size to 0"
            )
        progress.history.append(errors)
        if progress.best_epoch == epoch:
            progress.best = {name: tensor.detach().clone() for name, tensor in level.state_dict().items()}
        bar.advance(1)
        _save(level, around, optimizer, progress, run)
    level.load_state_dict(progress.best)
    level.eval()
    if params.rotation == "varimax":
        rotate_context(level, rotation_of(_moments(level, around, training)))
    validation_mse = error_of(level, validation)
    return ContextSummary(
        epochs=len(progress.history),
        best_epoch=progress.best_epoch + 1,
        frames=frames,
        train_mse=error_of(level, training),
        validation_mse=validation_mse,
        validation_r2=1 - validation_mse * _values(validation) / max(_spread(validation), 1e-12),
        surroundings_bp=list(params.context_targets_bp),
    )


def _tokens(
    run: ContextRun, windows: Sequence[BinRange], length: int, values: int
) -> list[tuple[NDArray[Any], NDArray[np.bool_]]]:
    frame_bins = run.manifest.frame_bins
    bins = max(1, values // (STATISTICS * len(run.manifest.tracks))) * frame_bins
    ranges = spread_evenly(cut_evenly(runs_of(windows), length * frame_bins), bins)
    return token_sequences(run.matrix, ranges, frame_bins)


def _context_targets(
    level: ContextLevel | CellTypeContext, params: TrainParams, run: ContextRun, training: Sequence[Sequences]
) -> ContextTargets:
    """What reads the mean signal around a frame off its code, its weights drawn by the seed alone."""
    reaches = reaches_in_frames(params.context_targets_bp, run.manifest.frame_bins * run.manifest.bin_size)
    tracks = level.token_mean.numel() // STATISTICS
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(params.seed)
        around: ContextTargets
        if isinstance(level, CellTypeContext):
            around = CellTypeTargets(level, tracks, reaches)
        else:
            around = ContextTargets(level.size, tracks, reaches)
        around.to(level.token_mean.device)
    if reaches:
        moments = Moments(around.scale.numel())
        for x, mask in _batches(training):
            moments.add(around.means(x, mask)[mask.bool()].cpu().numpy())
        scale = np.sqrt(moments.total_squares / max(moments.count, 1)).clip(min=LEAST_SCALE)
        around.scale.copy_(torch.from_numpy(scale))
    return around


def _standardise(
    level: ContextLevel | CellTypeContext, tokens: Sequence[tuple[NDArray[Any], NDArray[np.bool_]]]
) -> None:
    """Take mean and scale of the tokens' columns over frames with data."""
    count = sum(int(mask.sum()) for _, mask in tokens)
    mean = sum(values[mask].sum(0, dtype=np.float64) for values, mask in tokens) / max(count, 1)
    square = sum(np.square(values[mask] - mean).sum(0) for values, mask in tokens) / max(count, 1)
    level.token_mean.copy_(torch.from_numpy(np.asarray(mean)))
    level.token_scale.copy_(torch.from_numpy(np.maximum(np.sqrt(square), LEAST_SCALE)))


def _by_length(
    level: ContextLevel | CellTypeContext,
    tokens: Sequence[tuple[NDArray[Any], NDArray[np.bool_]]],
    device: torch.device,
) -> list[Sequences]:
    """Sequences gathered by length, longest first."""
    groups: dict[int, list[tuple[NDArray[Any], NDArray[np.bool_]]]] = {}
    for values, mask in tokens:
        groups.setdefault(len(values), []).append((values, mask))
    gathered = []
    for length in sorted(groups, reverse=True):
        values, masks = zip(*groups[length], strict=True)
        together = torch.from_numpy(np.stack(values, axis=1)).to(device)
        together.sub_(level.token_mean).div_(level.token_scale)
        gathered.append(Sequences(together, torch.from_numpy(np.stack(masks, axis=1)).to(device).float()))
    return gathered


def _epoch(
    level: ContextLevel | CellTypeContext,
    around: ContextTargets,
    optimizer: torch.optim.Optimizer,
    training: list[Sequences],
    seed: list[int],
    dropout: float,
    run: ContextRun,
) -> float:
    """One pass; the error per frame as it went."""
    rng = np.random.default_rng(seed)
    count = sum(part.tokens.shape[1] for part in training)
    size = min(BATCH_MOST, max(1, count // EPOCH_STEPS))
    batches = [
        (part, chosen)
        for part in training
        for chosen in np.array_split(rng.permutation(part.tokens.shape[1]), -(-part.tokens.shape[1] // size))
    ]
    generator = torch.Generator(level.token_mean.device).manual_seed(int(rng.integers(2**62)))
    level.train()
    total = torch.zeros((), dtype=torch.float64, device=level.token_mean.device)
    for number in rng.permutation(len(batches)):
        part, chosen = batches[number]
        index = torch.from_numpy(chosen).to(part.tokens.device)
        x, mask = part.tokens[:, index], part.mask[:, index]
        code = level.encode(_hiding_tracks(level, x, dropout, generator), generator)
        squares = OWN_WEIGHT * (level.decode(code) - x).square().mean(2) + around.squared_error(code, x, mask)
        error = (squares * mask).sum()
        optimizer.zero_grad()
        (error / mask.sum().clamp(min=1)).backward()
        clip_grad_norm_([*level.parameters(), *around.parameters()], CLIP_NORM)
        optimizer.step()
        total += error.detach()
        if run.stopping():
            raise KeyboardInterrupt
    return float(total) / max(_frames(training), 1)


def _hiding_tracks(
    level: ContextLevel | CellTypeContext, x: Tensor, dropout: float, generator: torch.Generator
) -> Tensor:
    """Standardised tokens as they are where some tracks are at their mean, 0: a draw of tracks for each sequence."""
    if not dropout:
        return x
    tracks = x.shape[2] // STATISTICS
    keep = torch.empty(x.shape[1], tracks, device=x.device).bernoulli_(1 - dropout, generator=generator)
    return torch.where(keep.repeat(1, STATISTICS) > 0, x, level.hidden_token())


@torch.no_grad()
def error_of(
    level: ContextLevel | CellTypeContext, parts: Sequence[Sequences], around: ContextTargets | None = None
) -> float:
    """Squared error of the decoded tokens per frame with data; with `around`, the error that is trained on."""
    level.eval()
    total = 0.0
    for x, mask in _batches(parts):
        code = level.encode(x)
        squares = (level.decode(code) - x).square().mean(2)
        if around is not None:
            squares = OWN_WEIGHT * squares + around.squared_error(code, x, mask)
        total += float((squares * mask).sum())
    return total / max(_frames(parts), 1)


def _batches(parts: Sequence[Sequences]) -> Iterator[tuple[Tensor, Tensor]]:
    """Tokens and mask of some sequences at a time."""
    for part in parts:
        for first in range(0, part.tokens.shape[1], BATCH_MOST):
            yield part.tokens[:, first : first + BATCH_MOST], part.mask[:, first : first + BATCH_MOST]


def _frames(parts: Sequence[Sequences]) -> int:
    return sum(int(part.mask.sum()) for part in parts)


def _values(parts: Sequence[Sequences]) -> int:
    return sum(int(part.mask.sum()) * part.tokens.shape[2] for part in parts)


def _spread(parts: Sequence[Sequences]) -> float:
    """Squared distance of the tokens from their own mean, summed over frames with data."""
    rows = [part.tokens[part.mask.bool()].double() for part in parts]
    count = max(sum(len(part) for part in rows), 1)
    mean = torch.stack([part.sum(0) for part in rows]).sum(0) / count
    return sum(float((part - mean).square().sum()) for part in rows)


@torch.no_grad()
def _moments(level: ContextLevel | CellTypeContext, around: ContextTargets, parts: Sequence[Sequences]) -> Moments:
    """Of the trained code with its targets, over frames with data; of all cell types together where they share it."""
    tracks, reaches = around.tracks, len(around.reaches)
    size = level.recurrent_size if isinstance(level, CellTypeContext) else level.size
    columns = level.assays if isinstance(level, CellTypeContext) else tracks
    moments = Moments(size, (STATISTICS + reaches) * columns)
    for x, mask in _batches(parts):
        code, means = level.encode(x), around.means(x, mask)
        if isinstance(level, CellTypeContext):
            code = level.recurrent_block(code)
            x, _ = level.by_cell_type.of_assays(x, STATISTICS)
            means, _ = level.by_cell_type.of_assays(means, reaches)
            mask = mask.repeat_interleave(level.cell_types, dim=1)
        rows = mask.bool()
        moments.add(code[rows].cpu().numpy(), joint_targets(x[rows], means[rows], columns).cpu().numpy())
    return moments


def _save(
    level: ContextLevel | CellTypeContext,
    around: ContextTargets,
    optimizer: torch.optim.Optimizer,
    progress: ContextProgress,
    run: ContextRun,
) -> None:
    if run.folder:
        content = {
            "identity": run.identity,
            "progress": vars(progress),
            "weights": level.state_dict(),
            "around": around.state_dict(),
            "optimizer": optimizer.state_dict(),
        }
        checkpoint.write(run.folder / CHECKPOINT, content)


def _resumed(
    level: ContextLevel | CellTypeContext, around: ContextTargets, optimizer: torch.optim.Optimizer, run: ContextRun
) -> ContextProgress:
    content = checkpoint.read(run.folder / CHECKPOINT, run.identity, level.token_mean.device) if run.folder else None
    if content is None:
        return ContextProgress()
    level.load_state_dict(content["weights"])
    around.load_state_dict(content["around"])
    optimizer.load_state_dict(content["optimizer"])
    progress = ContextProgress(**content["progress"])
    log.info(f"context level: resumed at epoch {len(progress.history) + 1}")
    return progress
