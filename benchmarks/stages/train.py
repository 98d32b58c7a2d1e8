"""Training: the step's own loop over a matrix dataset."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import floors, reference, synthetic
from benchmarks.case import Case, Measurement, Rate, Setting, Size, Skipped
from benchmarks.timing import PeakMemory, in_turn, rate

#: The form of the published code, and the default.
PUBLISHED = {"architecture": "published", "hidden_size": 24, "embedding_size": 24}
BOTTLENECK = {"architecture": "bottleneck", "hidden_size": 64, "embedding_size": 12}

#: Steps before the clock starts, and frames that the plain loop is trained on.
WARM_UP_STEPS, REFERENCE_FRAMES = 2, 3

#: Bins of the matrices that a GPU is given: 13 GB with 1,014 tracks.
GPU_BINS = 6_400_000

#: First and last step that is clocked on a GPU that is fed from the store. Windows are read 20 steps at a time, so that
#: one such reading lies between the two.
ONE_READING, STEPS_OF_READINGS = (21, 41), 60


def cases(size: Size, device: str) -> list[Case]:
    if device == "cuda":
        return _gpu_cases(size)
    if size == "scaling":
        return [
            _case("published, streamed from the store", bins, tracks, streams, bins, PUBLISHED, False)
            for bins, tracks, streams in [
                (400_000, 25, 128), (2_000_000, 25, 128), (10_000_000, 25, 128),
                (600_000, 25, 64), (600_000, 250, 64), (600_000, 1014, 64),
            ]
        ]  # fmt: skip
    if size == "quick":
        return [_case("published", 20_000, 25, 16, 6, PUBLISHED)]
    return [
        _case("published, 24 hidden", 4_000_000, 25, 256, 30, PUBLISHED),
        _case("published, 24 hidden", 600_000, 1014, 64, 15, PUBLISHED),
        _case("bottleneck, 64 hidden, 12 dimensions", 4_000_000, 25, 32, 30, BOTTLENECK, frames=2),
        _case("bottleneck, 64 hidden, 12 dimensions", 600_000, 1014, 32, 15, BOTTLENECK, frames=2),
    ]


def _gpu_cases(size: Size) -> list[Case]:
    if size != "full":
        return [_case("published", 20_000, 25, 16, 6, PUBLISHED)]
    networks = (("published, 24 hidden", PUBLISHED), ("bottleneck, 64 hidden", BOTTLENECK))
    held = [
        _case(f"{name}, {streams} streams, matrix on the GPU", GPU_BINS, tracks, streams, 10, network)
        for name, network in networks
        for tracks in (25, 1014)
        for streams in (2048, 4096)
    ]
    name, network = networks[0]
    streamed = _case(f"{name}, 1024 streams, from the store", GPU_BINS, 1014, 1024, STEPS_OF_READINGS, network, False)
    return [*held, streamed]


def _case(
    name: str,
    bins: int,
    tracks: int,
    streams: int,
    steps: int,
    network: dict[str, Any],
    in_memory: bool = True,
    frames: int = 1,
) -> Case:
    options = {"streams": streams, "steps": steps, "network": network, "in_memory": in_memory, "frames": frames}
    return Case("train", name, bins, tracks, options)


def _matrix(case: Case, folder: Path) -> Path:
    return folder / f"matrix-{case.tracks}-{case.bins}"


def prepare(case: Case, folder: Path) -> None:
    synthetic.write_matrix(_matrix(case, folder), case.tracks, case.bins)


def measure(case: Case, setting: Setting) -> Measurement:
    import torch

    from epilstm.params import TrainParams
    from epilstm.steps.train.loop import use_bfloat16

    wanted = setting.device
    if wanted == "cuda" and not torch.cuda.is_available():
        raise Skipped("no CUDA GPU that torch can use on this machine")
    device = torch.device(wanted)
    params = TrainParams(
        streams=case.options["streams"],
        frames_per_step=case.options["frames"],
        epochs=1,
        track_dropout=0.0,  # as in the plain loop that it is compared with
        threads=setting.threads,
        device=wanted,  # type: ignore[arg-type]
        **case.options["network"],
    )
    with PeakMemory() as peak:
        ours = _epoch(case, setting, params, device)
        ours()
    whole_epoch = wanted == "cpu" and not case.options["in_memory"]
    measured: list[Rate] = [ours]
    if wanted == "cpu" and not whole_epoch:
        measured.append(_plain(case))
    rates = in_turn(1 if whole_epoch else setting.repeats, *measured)
    note = f"{case.options['streams']} streams of {case.options['frames'] * synthetic.FRAME_BINS} bins"
    if whole_epoch:
        note += ", a whole epoch with its reading"
    extra: dict[str, Any] = {}
    if wanted == "cuda":
        used = torch.cuda.max_memory_allocated()
        extra["gpu_memory"] = used
        note += f"; {'bfloat16' if use_bfloat16(params, device) else 'float32'}; {used / 1e9:.1f} GB of GPU memory"
    return Measurement(
        bins_per_second=rates[0],
        bytes_per_bin=2 * case.tracks,
        operations_per_bin=floors.training_operations(case.tracks, case.options["network"]),
        peak_memory=peak.bytes,
        reference_bins_per_second=rates[1] if len(rates) > 1 else None,
        device=wanted,
        note=note,
        extra=extra,
    )


class _Clock:
    """Called after every step; takes the time between the ends of two of them (0 is the start)."""

    def __init__(self, first: int, last: int, wait: Callable[[], None]) -> None:
        self.first, self.last, self.wait = first, last, wait
        self.taken, self.started, self.seconds = 0, time.perf_counter(), 0.0

    def __call__(self) -> bool:
        self.taken += 1
        if self.taken == self.first:
            self.wait()
            self.started = time.perf_counter()
        elif self.taken == self.last:
            self.wait()
            self.seconds = time.perf_counter() - self.started
        return False


def _epoch(case: Case, setting: Setting, params: Any, device: Any) -> Rate:
    """Train a fresh network for one epoch with the step's own loop, and clock its steps."""
    import torch

    from epilstm.console import progress
    from epilstm.model.config import ModelConfig
    from epilstm.model.networks import build
    from epilstm.steps.train.gradients import GradientWorkers
    from epilstm.steps.train.loop import TrainingRun, train
    from epilstm.steps.train.streams import MemoryWindows, StoredWindows, windows_of
    from epilstm.store.manifests import MatrixManifest, read_manifest

    matrix = _matrix(case, setting.folder)
    manifest = read_manifest(matrix, MatrixManifest)
    config = ModelConfig(tracks=case.tracks, **case.options["network"])
    window_bins = params.frames_per_step * manifest.frame_bins
    windows = windows_of(manifest.region_list(), manifest.bin_size, window_bins)
    steps = min(case.options["steps"], len(windows) // params.streams)
    windows = windows[: steps * params.streams]
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    first, last = WARM_UP_STEPS, steps
    if not case.options["in_memory"]:
        first, last = ONE_READING if device.type == "cuda" else (0, steps)
    held = MemoryWindows(matrix, windows, window_bins, device) if case.options["in_memory"] else None

    def epoch() -> float:
        source = held or StoredWindows(matrix, windows, window_bins, device, setting.threads)
        clock = _Clock(first, last, wait)
        run = TrainingRun(
            windows=windows,
            source=source,
            streams=slice(0, params.streams),
            validate=lambda: (1.0, 0.0),
            on_epoch=lambda row: None,
            stopping=clock,
            folder=None,
            identity="",
        )
        with GradientWorkers(device, setting.threads) as workers, progress("", steps) as bar:
            train(build(config, 1).to(device), params, run, workers, False, bar)
        bins = (last - first) * case.options["streams"] * window_bins
        return float(bins / clock.seconds)

    return epoch


def _plain(case: Case) -> Rate:
    """The same network trained by the plain loop: batch 1, one bin at a time, an optimiser step per frame."""
    import torch

    from epilstm.model.config import ModelConfig
    from epilstm.model.networks import build

    network = build(ModelConfig(tracks=case.tracks, **case.options["network"]), 1)
    weights = dict(network.named_parameters())
    optimizer = torch.optim.Adam(weights.values(), lr=1e-3)
    frames = torch.randn(REFERENCE_FRAMES, synthetic.FRAME_BINS, case.tracks)

    def loop() -> None:
        torch.set_num_threads(1)  # its products are too small to share
        state = network.zero_state(1)
        for frame in frames:
            _, state = reference.train_frame(network.config.architecture, weights, optimizer, frame, state)

    return rate(REFERENCE_FRAMES * synthetic.FRAME_BINS, loop)
