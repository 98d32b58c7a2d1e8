"""``epilstm train``: matrix in, model folder out."""

from __future__ import annotations

import csv
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import distributed

from epilstm.console import log, progress
from epilstm.errors import DataError, ModelError, ParamsError
from epilstm.files.disk import require_space
from epilstm.files.outputs import exclusive, fingerprint, remove, sha256_json
from epilstm.genome.bin_range import BinRange
from epilstm.genome.name_matching import listed
from epilstm.model.cell_type_context import CellTypeContext
from epilstm.model.cell_types import CellTypes
from epilstm.model.config import ModelConfig
from epilstm.model.context import ContextLevel
from epilstm.model.folder import ContextSummary, ModelManifest, TrainingSummary, save_model, save_weights
from epilstm.model.networks import Autoencoder, bin_level_of, build, context_level_of
from epilstm.model.reconstruction import ReconstructionError, matrix_blocks, reconstruction_error
from epilstm.model.sizes import Sizes, choose_shape, expansion_warning
from epilstm.params import TrainParams
from epilstm.runtime.code_fingerprint import step_fingerprint
from epilstm.runtime.runner import StepContext, StepResult
from epilstm.runtime.telemetry import live
from epilstm.steps.train import loop
from epilstm.steps.train.checkpoint import Epoch, Progress
from epilstm.steps.train.context import ContextRun, train_context
from epilstm.steps.train.context_targets import reaches_in_frames
from epilstm.steps.train.gradients import GradientWorkers
from epilstm.steps.train.imputer import TrainedImputer, require_imputable, train_imputer
from epilstm.steps.train.rotation import rotate_code
from epilstm.steps.train.streams import (
    MemoryWindows,
    StoredWindows,
    WindowSource,
    plan_epoch,
    some_windows,
    windows_of,
)
from epilstm.store.arrays import available_cores
from epilstm.store.chromosome_split import split_chromosomes
from epilstm.store.manifests import MatrixManifest, Scaler, read_manifest, read_scaler
from epilstm.store.matrix import Matrix

#: Params that change how fast a run is, not what it computes; a checkpoint outlives a change of them. The others are
#: taken as resolved: sums run over as many shares as there are threads, and rounding with them.
SPEED_PARAMS = {"checkpoint_steps", "memory_gb"}
RESOLVED_PARAMS = {"threads", "device", "precision"}

#: Params of what is trained after the levels that a checkpoint holds, and does not change them.
LATER_PARAMS = {"imputation"}

#: Space that an epoch of TensorBoard's curves needs at most; its thread prints a traceback where there is none.
CURVE_BYTES = 1 << 14

#: Columns of the tokens from which the context level is trained on several threads.
WIDE_COLUMNS = 1_000

#: Bins of the validation chromosomes, spread over them, that an epoch is compared by, at most: enough for three digits
#: of R2, and less than an epoch of a whole genome takes.
VALIDATION_BINS = 1_000_000

#: Share of a GPU's free memory that the training matrix may take.
GPU_SHARE = 0.6


@dataclass(frozen=True)
class Processes:
    """One process among those that ``torchrun`` started (`local` on this machine); one of one without it."""

    rank: int = 0
    count: int = 1
    local: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes the outputs."""
        return self.rank == 0


@dataclass(frozen=True)
class TrainingData:
    """A matrix dataset, and the shape of the network for it."""

    matrix: Path
    manifest: MatrixManifest
    scaler: Scaler
    sizes: Sizes
    config: ModelConfig

    @classmethod
    def read(cls, matrix: Path, params: TrainParams) -> TrainingData:
        """Read the manifests; the sizes that params leave open follow from the tracks.

        Raises
        ------
        DataError, ParamsError
            The dataset is unusable, or the network cannot have the shape that the params ask for.
        """
        manifest = with_chosen_split(read_manifest(matrix, MatrixManifest), params)
        scaler = read_scaler(matrix, manifest)
        tracks = len(manifest.tracks)
        shape = choose_shape(params, manifest.track_set)
        sizes, cell_types = shape.sizes, shape.cell_types
        # By cell type, the context's numbers are few per frame, not per bin.
        warning = expansion_warning(sizes, tracks) if cell_types is None else None
        if warning is not None and os.environ.get("RANK", "0") == "0":
            log.warning(warning)
        reaches = reaches_in_frames(params.context_targets_bp, manifest.frame_bins * manifest.bin_size)
        config = model_config(params, sizes, tracks, manifest.frame_bins, cell_types, reaches)
        if params.imputation.enabled:
            require_imputable(cell_types, scaler)
        return cls(matrix, manifest, scaler, sizes, config)

    def windows(self, params: TrainParams) -> list[BinRange]:
        """Windows of the training chromosomes, one step of a stream each."""
        window_bins = self._window_bins(params)
        if params.neighbour_bins >= window_bins:
            raise ParamsError(
                f"train.neighbour_bins ({params.neighbour_bins}) must be less than the {window_bins} bins of a step "
                f"(train.frames_per_step of {self.manifest.frame_bins} bins)"
            )
        return some_windows(self._all_windows(params), params.train_bins, params.seed)

    def context_windows(self, params: TrainParams) -> list[BinRange]:
        """Windows that the context level is trained on: those of the bin level, or all where cell types share it.

        Frames are few beside bins, and means over a megabase need more than the runs of bins that are drawn.
        """
        return self.windows(params) if self.config.cell_types is None else self._all_windows(params)

    def _all_windows(self, params: TrainParams) -> list[BinRange]:
        regions = self.manifest.region_list(self.manifest.split.train)
        return windows_of(regions, self.manifest.bin_size, self._window_bins(params))

    def _window_bins(self, params: TrainParams) -> int:
        return params.frames_per_step * self.manifest.frame_bins


def with_chosen_split(manifest: MatrixManifest, params: TrainParams) -> MatrixManifest:
    """A matrix's manifest with the chromosomes held out that the params name, or as it is.

    Raises
    ------
    GenomeError
        A chromosome is not in the matrix, or none is left to train on.
    """
    if not params.split.test:
        return manifest
    split = split_chromosomes(manifest, params.split.validation, params.split.test, "train.split")
    return manifest.with_split(split)


def run(params: TrainParams, context: StepContext) -> StepResult:
    """Train the autoencoder.

    Raises
    ------
    DataError, ModelError, ParamsError, TrainingError
        An error that the user can fix.
    """
    data = TrainingData.read(context.inputs["matrix"], params)
    network = build(data.config, params.seed)
    windows = data.windows(params)
    resume = "resume" in context.flags
    with processes() as group:
        device = choose_device(params, group)
        threads = params.threads or max(1, available_cores() // group.local)
        workers = threads if device.type == "cpu" else 1
        run_identity = identity(params, fingerprint(data.matrix), group, device, workers)
        folder = checkpoint_folder(context.work.get("checkpoint"), group)
        bin_level = bin_level_of(network).to(device)
        bins = BinLevelRun(data, windows, params, group, device, threads, folder, run_identity)
        done, summary = train_bin_level(bin_level, bins, resume)
    if not group.leads:
        return StepResult("trained as a part of a group", bins=summary.bins_seen, tracks=data.config.tracks)

    if (level := context_level_of(network)) is not None:
        context_run = ContextRun(
            matrix=data.matrix,
            manifest=data.manifest,
            windows=data.context_windows(params),
            folder=folder,
            identity=run_identity,
            stopping=lambda: False,
        )
        trained = train_context_level(level.to(device), params, context_run, threads, resume)
        summary = summary.model_copy(update={"context": trained})
    imputer = None
    if params.imputation.enabled:
        with progress("training the imputer", params.imputation.steps) as bar:
            imputer = train_imputer(
                Matrix(data.matrix).with_split(data.manifest.split), data.scaler, data.config, params, bar
            )
    write_model(context.outputs["model"], network, data, params, summary, imputer)
    if "history" in context.outputs:
        write_history(context.outputs["history"], done.history)
    return StepResult(
        f"trained {summary.epochs} epochs; validation R2 {summary.validation_r2:.3f} at {data.config.bin_code_size} "
        f"dimensions (best epoch {summary.best_epoch}){_context_result(summary, data.config)}",
        metrics={
            **summary.model_dump(mode="json"),
            "parameters": sum(p.numel() for p in network.parameters()),
            **({} if imputer is None else {"imputer": imputer.metrics}),
        },
        bins=summary.bins_seen,
        tracks=data.config.tracks,
        chosen=data.sizes.chosen,
        device=_named(device),
        threads=threads,
    )


@dataclass(frozen=True)
class BinLevelRun:
    """A training run of the bin level in this process: data and params, where it computes, where its checkpoint is."""

    data: TrainingData
    windows: list[BinRange]
    params: TrainParams
    group: Processes
    device: torch.device
    threads: int
    folder: Path | None
    identity: str


def train_bin_level(network: Autoencoder, run: BinLevelRun, resume: bool) -> tuple[Progress, TrainingSummary]:
    """Train the bin level in place, then rotate its code; the training curve and the summary."""
    data, params, device, group = run.data, run.params, run.device, run.group
    manifest, config = data.manifest, data.config
    window_bins = params.frames_per_step * manifest.frame_bins
    steps = len(plan_epoch(len(run.windows), params.streams, params.seed, 0))
    matrix = Matrix(data.matrix)
    source = window_source(data.matrix, run.windows, window_bins, config.tracks, params, device)
    with ExitStack() as stack:
        workers = stack.enter_context(GradientWorkers(device, run.threads))
        if run.folder:
            stack.enter_context(exclusive(run.folder))

        def validation_error() -> ReconstructionError:
            places = manifest.split.validation
            share = matrix_blocks(matrix, places, share=(group.rank, group.count), most=VALIDATION_BINS)
            run_chunks = workers.pool.map if device.type == "cpu" else map
            return over_processes(reconstruction_error(network, config.tracks, share, run_chunks), device)

        def validate() -> tuple[float, float]:
            error = validation_error()
            return error.mse, error.r2

        loop_run = loop.TrainingRun(
            windows=run.windows,
            source=source,
            streams=streams_of(params, group),
            validate=validate,
            on_epoch=Curve(run.folder if group.leads else None, fresh=not resume),
            stopping=stack.enter_context(stop_requests(group)),
            folder=run.folder,
            identity=run.identity,
        )
        live.set_metric("epilstm_training_device_info", 1, device=device.type)
        live.set_metric("epilstm_training_bins_per_step", params.streams * window_bins)
        with progress("training", steps * params.epochs) as bar:
            done = loop.train(network, params, loop_run, workers, resume, bar)
        network.eval()
        moved = distance_moved(bin_level_of(build(config, params.seed)), network)
        rotation = rotate_code(network, data.matrix, run.windows) if params.rotation == "varimax" else "none"
        return done, summarise(done, validation_error(), moved, rotation, manifest, params, device)


def write_model(
    folder: Path,
    network: Autoencoder,
    data: TrainingData,
    params: TrainParams,
    summary: TrainingSummary,
    imputer: TrainedImputer | None = None,
) -> None:
    """Write weights and manifest of a model folder."""
    manifest = data.manifest
    weights_sha256 = save_weights(folder, network, None if imputer is None else imputer.network)
    save_model(
        folder,
        ModelManifest(
            config=data.config,
            scaler=data.scaler,
            assembly=manifest.assembly,
            bin_size=manifest.bin_size,
            frame_bins=manifest.frame_bins,
            split=manifest.split,
            seed=params.seed,
            matrix_fingerprint=fingerprint(data.matrix),
            weights_sha256=weights_sha256,
            training=summary,
            imputer=None if imputer is None else imputer.config,
        ),
    )


def _named(device: torch.device) -> str:
    """A device as records name it."""
    return f"cuda ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type


def _context_result(summary: TrainingSummary, config: ModelConfig) -> str:
    if summary.context is None:
        return ""
    return f"; of its context R2 {summary.context.validation_r2:.3f} at {config.context_size} dimensions"


def train_context_level(
    level: ContextLevel | CellTypeContext, params: TrainParams, run: ContextRun, threads: int, resume: bool
) -> ContextSummary:
    """Train the context level, alone in this process; a request to stop is heard, and its checkpoint kept."""
    before = torch.get_num_threads()
    # Threads help wide products alone; on small ones they wait for each other longer than they compute.
    torch.set_num_threads(threads if level.token_mean.numel() >= WIDE_COLUMNS else 1)
    try:
        with ExitStack() as stack:
            if run.folder:
                stack.enter_context(exclusive(run.folder))
            stopping = stack.enter_context(stop_requests(Processes()))
            bar = stack.enter_context(progress("training the context level", params.context_epochs))
            return train_context(level, params, replace(run, stopping=stopping), resume, bar)
    finally:
        torch.set_num_threads(before)


def model_config(
    params: TrainParams,
    sizes: Sizes,
    tracks: int,
    frame_bins: int,
    cell_types: CellTypes | None = None,
    reaches: Sequence[int] = (),
) -> ModelConfig:
    """Shape of the network that the params ask for.

    Parameters
    ----------
    params : TrainParams
    sizes : Sizes
        Of one cell type, where there are any.
    tracks, frame_bins : int
    cell_types : CellTypes, optional
        Of a model that they share.
    reaches : sequence of int
        Frames on either side whose means its context level takes.

    Raises
    ------
    ParamsError
        The architecture cannot have this shape.
    """
    groups = 1 if cell_types is None else cell_types.count
    for name in ("linear_size", "consensus_size"):
        if cell_types is None and getattr(params, name) not in ("auto", 0):
            raise ParamsError(f"train.{name} needs train.kind: cell_types; leave it out, or set the kind")
    try:
        return ModelConfig(
            architecture=params.architecture,
            tracks=tracks,
            embedding_size=groups * sizes.embedding_size,
            hidden_size=params.hidden_size,
            layers=params.layers,
            directions=params.directions,
            dropout=params.dropout,
            layer_norm=params.layer_norm,
            context_size=groups * sizes.context_size,
            context_hidden=params.context_hidden,
            frame_bins=frame_bins,
            cell_types=cell_types,
            linear_size=sizes.linear_size,
            consensus_size=sizes.consensus_size,
            context_reaches=tuple(reaches) if cell_types is not None else (),
        )
    except ValidationError as error:
        raise ParamsError(f"train: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from error


def choose_device(params: TrainParams, group: Processes) -> torch.device:
    """The CPU, or this process's GPU.

    Raises
    ------
    ModelError
        A GPU is asked for and there is none.
    ParamsError
        A CPU is to compute in bfloat16.
    """
    if params.device == "cpu" or (params.device == "auto" and not torch.cuda.is_available()):
        if params.precision == "bfloat16":
            raise ParamsError("train.precision: bfloat16 needs a GPU, and this run is on a CPU; set it to auto")
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ModelError("train.device is cuda but no CUDA GPU is usable here; set it to auto or cpu")
    local = int(os.environ.get("LOCAL_RANK", "0"))
    torch.cuda.set_device(local)
    return torch.device("cuda", local)


def window_source(
    matrix: Path, windows: list[BinRange], window_bins: int, tracks: int, params: TrainParams, device: torch.device
) -> WindowSource:
    """Where windows are read from: memory, the GPU's memory or the store, whichever holds them."""
    size = len(windows) * window_bins * tracks * 2
    if device.type == "cuda":
        fits = size <= GPU_SHARE * torch.cuda.mem_get_info(device)[0]
    else:
        fits = size <= params.memory_gb * 1e9
    log.info(
        f"{len(windows)} windows of {window_bins} bins x {tracks} tracks ({size / 1e9:.2f} GB) on {device.type}, "
        f"{'held in memory' if fits else 'streamed from the store'}"
    )
    if fits:
        return MemoryWindows(matrix, windows, window_bins, device)
    return StoredWindows(matrix, windows, window_bins, device, readers=available_cores())


def streams_of(params: TrainParams, group: Processes) -> slice:
    """The streams of this process.

    Raises
    ------
    ParamsError
        They cannot be shared out evenly.
    """
    if params.streams % group.count:
        raise ParamsError(f"train.streams ({params.streams}) must be a multiple of the {group.count} processes")
    each = params.streams // group.count
    return slice(group.rank * each, (group.rank + 1) * each)


def identity(params: TrainParams, matrix_fingerprint: str, group: Processes, device: torch.device, threads: int) -> str:
    """Digest of all that a run's result depends on; runs with the same one may resume from each other's checkpoint."""
    chosen = params.model_dump(mode="json", exclude=SPEED_PARAMS | RESOLVED_PARAMS | LATER_PARAMS)
    resolved = [device.type, loop.use_bfloat16(params, device), threads, group.count]
    code = step_fingerprint("train").sha256
    return sha256_json([chosen, resolved, matrix_fingerprint, code, torch.__version__])


def checkpoint_folder(folder: Path | None, group: Processes) -> Path | None:
    """Where this process keeps its checkpoint."""
    return folder / f"rank-{group.rank}" if folder and group.count > 1 else folder


@contextmanager
def processes() -> Iterator[Processes]:
    """Join the group that ``torchrun`` describes in the environment, if there is one."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes()
        return
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield Processes(distributed.get_rank(), count, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    finally:
        distributed.destroy_process_group()


@contextmanager
def stop_requests(group: Processes) -> Iterator[Any]:
    """Note SIGTERM and Ctrl-C instead of dying, so that the step in hand ends and a checkpoint is written."""
    asked = False
    calls = 0

    def note(number: int, frame: object) -> None:
        nonlocal asked
        asked = True

    def stopping() -> bool:
        nonlocal calls
        calls += 1
        if group.count == 1:
            return asked
        if calls % loop.GPU_CHECK_STEPS:
            return False
        # All processes stop after the same step, or none does.
        any_asked = torch.tensor(float(asked), device="cuda" if torch.cuda.is_available() else "cpu")
        distributed.all_reduce(any_asked, distributed.ReduceOp.MAX)
        return bool(any_asked)

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def over_processes(error: ReconstructionError, device: torch.device) -> ReconstructionError:
    """Sum of every process's share."""
    if not distributed.is_initialized():
        return error
    parts = [error.squared_error, error.total, error.total_squares]
    flat = torch.cat([*(torch.from_numpy(part) for part in parts), torch.tensor([float(error.bins)])]).to(device)
    distributed.all_reduce(flat)
    squared_error, total, total_squares, bins = flat.cpu().split([*(len(part) for part in parts), 1])
    return ReconstructionError(squared_error.numpy(), total.numpy(), total_squares.numpy(), int(bins.item()))


def summarise(
    done: Progress,
    error: ReconstructionError,
    moved: float,
    rotation: str,
    manifest: MatrixManifest,
    params: TrainParams,
    device: torch.device,
) -> TrainingSummary:
    """Summary of a run of the bin level."""
    if error.bins == 0:
        names = listed(manifest.split.validation)
        raise DataError(
            f"the validation chromosomes ({names}) hold no bin with data; choose others in preprocess.split"
        )
    best = done.best_epoch
    return TrainingSummary(
        epochs=len(done.history),
        best_epoch=best.epoch,
        steps=done.taken,
        bins_seen=done.taken * params.streams * params.frames_per_step * manifest.frame_bins,
        train_mse=best.train_mse,
        validation_mse=error.mse,
        validation_r2=error.r2,
        validation_mse_per_track=dict(zip(manifest.tracks, error.mse_per_track, strict=True)),
        validation_r2_per_track=dict(zip(manifest.tracks, error.r2_per_track, strict=True)),
        weights_moved=moved,
        device=device.type,
        track_dropout=params.track_dropout,
        dropout=params.dropout,
        peak_weight=params.peak_weight,
        rotation=rotation,
    )


def distance_moved(initial: Autoencoder, network: Autoencoder) -> float:
    """Distance of the weights from where they started, relative to where they started."""
    before = torch.cat([p.detach().flatten() for p in initial.parameters()])
    after = torch.cat([p.detach().flatten().cpu() for p in network.parameters()])
    return float((after - before).norm() / before.norm())


class Curve:
    """Reports every epoch to log, TensorBoard and Prometheus; a fresh run deletes the curves of earlier ones."""

    def __init__(self, folder: Path | None, fresh: bool) -> None:
        self.writer: Any = None
        self.folder = folder
        if folder:
            from torch.utils.tensorboard import SummaryWriter

            if fresh:
                remove(folder / "tensorboard")
            folder.mkdir(parents=True, exist_ok=True)
            require_space(folder, CURVE_BYTES)
            self.writer = SummaryWriter(str(folder / "tensorboard"))

    def __call__(self, row: Epoch) -> None:
        """Write one epoch."""
        log.info(
            f"epoch {row.epoch}: training MSE {row.train_mse:.4f}, validation MSE {row.validation_mse:.4f}, "
            f"R2 {row.validation_r2:.4f}",
            extra={"fields": vars(row)},
        )
        for name, value in {
            "train_mse": row.train_mse,
            "validation_mse": row.validation_mse,
            "validation_r2_ratio": row.validation_r2,
            "learning_rate": row.learning_rate,
            "epochs": row.epoch,
        }.items():
            live.set_metric(f"epilstm_training_{name}", value)
        if self.writer and self.folder:
            require_space(self.folder, CURVE_BYTES)
            for name in ("train_mse", "validation_mse", "validation_r2", "learning_rate"):
                self.writer.add_scalar(name, getattr(row, name), row.epoch)
            self.writer.flush()


def write_history(path: Path, history: list[Epoch]) -> None:
    """Write the training curve as CSV."""
    with open(path, "w", newline="", encoding="utf-8") as stream:
        rows = csv.DictWriter(stream, list(Epoch.__dataclass_fields__), lineterminator="\n")
        rows.writeheader()
        rows.writerows(vars(row) for row in history)
