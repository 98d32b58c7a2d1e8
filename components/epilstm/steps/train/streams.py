"""Which bins each stream sees at each step, and where they are read from.

The training chromosomes are cut into windows (a whole number of frames). Windows in genome order are dealt out to
streams as contiguous runs, so that the recurrent state can be carried from a stream's window to its next. Every
epoch starts the deal at another window.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from epilstm.errors import TrainingError
from epilstm.genome.assembly import Region, bins_of
from epilstm.genome.bin_range import BinRange
from epilstm.store.matrix import Matrix

#: Windows read at a time when all are loaded.
LOAD_WINDOWS = 1_000

#: Bins of a run of windows, where only some windows are trained on.
RUN_BINS = 10_000


def windows_of(regions: Sequence[Region], bin_size: int, window_bins: int) -> list[BinRange]:
    """Cut regions into windows, in order; the last of a region may be shorter than the others."""
    windows = []
    for region in regions:
        first, last = bins_of(region, bin_size)
        for start in range(first, last, window_bins):
            windows.append(BinRange(region.chrom, start, min(start + window_bins, last), (first, last)))
    return windows


def some_windows(windows: Sequence[BinRange], bins: int, seed: int) -> list[BinRange]:
    """About so many bins of the windows, as runs of windows that follow each other; more bins hold the fewer ones.

    Parameters
    ----------
    windows : sequence of BinRange
    bins : int
        The run that goes past this number is cut after the window that does; 0 takes all windows.
    seed : int

    Returns
    -------
    list of BinRange
        In genome order; each run is a region of its own.
    """
    if not bins:
        return list(windows)
    window_bins = max((window.bins for window in windows), default=1)
    runs: list[list[int]] = []
    for number, window in enumerate(windows):
        if not runs or window.begins_region or (len(runs[-1]) + 1) * window_bins > RUN_BINS:
            runs.append([])
        runs[-1].append(number)
    chosen: list[int] = []
    total = 0
    for run in np.random.default_rng(seed).permutation(len(runs)):
        for number in runs[run]:
            if total < bins:
                chosen.append(number)
                total += windows[number].bins
    chosen.sort()
    taken: list[list[BinRange]] = []
    for before, number in zip([-2, *chosen], chosen, strict=False):
        if number != before + 1 or windows[number].begins_region:
            taken.append([])
        taken[-1].append(windows[number])
    return [replace(window, region=(run[0].first, run[-1].last)) for run in taken for window in run]


def plan_epoch(windows: int, streams: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Deal windows to streams.

    Parameters
    ----------
    windows, streams : int
    seed, epoch : int
        Choose the window at which the deal starts.

    Returns
    -------
    array (step, stream) of window indices
        Down a column, windows follow each other (cyclically); no window occurs twice. What does not fill a last step is
        left out this time.

    Raises
    ------
    TrainingError
        Fewer windows than streams.
    """
    steps = windows // streams
    if steps == 0:
        raise TrainingError(
            f"the training chromosomes hold {windows} windows, too few for train.streams = {streams}; "
            f"set it to {windows} or less, or train on more"
        )
    start = np.random.default_rng([seed, epoch]).integers(windows)
    dealt = (start + np.arange(steps * streams)) % windows
    return dealt.reshape(streams, steps).T


class WindowSource(Protocol):
    """Reads the windows of a plan."""

    def start(self, plan: NDArray[np.int64], step: int) -> None:
        """Begin a plan at a step."""

    def prefetch(self, step: int) -> None:
        """Get a step ready; called once before its reads."""

    def read(self, step: int, rows: slice) -> tuple[Tensor, Tensor]:
        """Values (time, stream, track) float32 and mask (time, stream) float32 of some streams at a step."""


class MemoryWindows:
    """All windows held in memory, or on the GPU."""

    def __init__(self, matrix: Path, windows: Sequence[BinRange], window_bins: int, device: torch.device) -> None:
        stored = Matrix(matrix)
        stored.hold_masks(window.chrom for window in windows)
        self.values = torch.empty(len(windows), window_bins, stored.tracks, dtype=torch.float16, device=device)
        self.mask = torch.empty(len(windows), window_bins, dtype=torch.bool, device=device)
        for start in range(0, len(windows), LOAD_WINDOWS):
            part = slice(start, start + LOAD_WINDOWS)
            values, mask = read_windows(stored, windows[part], window_bins)
            self.values[part], self.mask[part] = values.to(device), mask.to(device)
        self.plan = torch.empty(0)

    def start(self, plan: NDArray[np.int64], step: int) -> None:
        """Begin a plan at a step."""
        self.plan = torch.from_numpy(np.ascontiguousarray(plan)).to(self.values.device)

    def prefetch(self, step: int) -> None:
        """Nothing to do: everything is there."""

    def read(self, step: int, rows: slice) -> tuple[Tensor, Tensor]:
        """Values (time, stream, track) and mask (time, stream) of some streams at a step."""
        index = self.plan[step, rows]
        return _time_major(self.values[index]), self.mask[index].T.float()


class StoredWindows:
    """Windows read from the matrix store, each stream's next chunk while its last one is used.

    A stream's windows are read in runs that end where a chunk of the store ends, so that no chunk is decompressed
    twice.
    """

    def __init__(
        self, matrix: Path, windows: Sequence[BinRange], window_bins: int, device: torch.device, readers: int
    ) -> None:
        self.matrix = Matrix(matrix)
        self.matrix.hold_masks(window.chrom for window in windows)
        self.windows, self.window_bins, self.device = windows, window_bins, device
        self.readers = ThreadPoolExecutor(readers, thread_name_prefix="reading")
        self.copiers = ThreadPoolExecutor(readers, thread_name_prefix="copying")
        self.plan: NDArray[np.int64] = np.empty((0, 0), np.int64)
        self.runs: list[list[int]] = []
        self.current: list[int] = []
        self.read_runs: dict[tuple[int, int], Future[tuple[Tensor, Tensor]]] = {}
        self.buffers: list[PinnedBuffer] = []

    def start(self, plan: NDArray[np.int64], step: int) -> None:
        """Begin a plan at a step."""
        self.plan, self.read_runs = plan, {}
        self.runs = [self._run_starts(column) for column in plan.T.tolist()]
        self.current = [bisect_right(starts, step) - 1 for starts in self.runs]
        if self.device.type == "cuda":
            shape = (plan.shape[1], self.window_bins, self.matrix.tracks)
            self.buffers = [PinnedBuffer(shape) for _ in range(2)]

    def prefetch(self, step: int) -> None:
        """See to it that every stream's run of a step is there or on its way, and its next one too."""
        for stream, starts in enumerate(self.runs):
            if self.current[stream] + 1 < len(starts) and starts[self.current[stream] + 1] <= step:
                self.read_runs.pop((stream, self.current[stream]), None)
                self.current[stream] += 1
        for following in (0, 1):
            for stream, run in enumerate(self.current):
                self._fetch(stream, run + following)

    def read(self, step: int, rows: slice) -> tuple[Tensor, Tensor]:
        """Values (time, stream, track) and mask (time, stream) of some streams at a step."""
        streams = range(self.plan.shape[1])[rows]
        if not self.buffers:
            parts = [self._window(stream, step) for stream in streams]
            values, mask = (torch.stack(pieces) for pieces in zip(*parts, strict=True))
        else:
            buffer = self.buffers[step % 2]
            values, mask = buffer.fill(self.copiers, streams, lambda stream: self._window(stream, step), self.device)
        return _time_major(values), mask.T.float()

    def _window(self, stream: int, step: int) -> tuple[Tensor, Tensor]:
        run = self.current[stream]
        values, mask = self.read_runs[stream, run].result()
        within = step - self.runs[stream][run]
        return values[within], mask[within]

    def _run_starts(self, column: list[int]) -> list[int]:
        """Steps of a stream at which a run begins."""

        def chunk(window: BinRange) -> int:
            return window.first // self.matrix.chunk_bins(window.chrom)

        starts = [0]
        for step in range(1, len(column)):
            before, window = self.windows[column[step - 1]], self.windows[column[step]]
            same = before.chrom == window.chrom and chunk(before) == chunk(window)
            if not (same and _follows(before, window, self.window_bins)):
                starts.append(step)
        return starts

    def _fetch(self, stream: int, run: int) -> None:
        starts = self.runs[stream]
        if run >= len(starts) or (stream, run) in self.read_runs:
            return
        end = starts[run + 1] if run + 1 < len(starts) else len(self.plan)
        windows = [self.windows[index] for index in self.plan[starts[run] : end, stream].tolist()]
        self.read_runs[stream, run] = self.readers.submit(read_windows, self.matrix, windows, self.window_bins)


class PinnedBuffer:
    """Page-locked memory for one step's windows, from which a GPU copies without making the CPU wait."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.values = torch.empty(shape, dtype=torch.float16, pin_memory=True)
        self.mask = torch.empty(shape[:2], dtype=torch.bool, pin_memory=True)
        self.copied = torch.cuda.Event()

    def fill(
        self,
        pool: ThreadPoolExecutor,
        streams: range,
        window: Callable[[int], tuple[Tensor, Tensor]],
        device: torch.device,
    ) -> tuple[Tensor, Tensor]:
        """Gather the windows of some streams and begin their copy to the GPU."""
        self.copied.synchronize()

        def copy(position: int) -> None:
            self.values[position], self.mask[position] = window(streams[position])

        for _ in pool.map(copy, range(len(streams))):
            pass
        values, mask = (part[: len(streams)].to(device, non_blocking=True) for part in (self.values, self.mask))
        self.copied.record()
        return values, mask


def _time_major(values: Tensor) -> Tensor:
    return values.transpose(0, 1).to(torch.float32, memory_format=torch.contiguous_format)


def read_windows(matrix: Matrix, windows: Sequence[BinRange], window_bins: int) -> tuple[Tensor, Tensor]:
    """Values and mask of windows, short ones padded with bins without data.

    Parameters
    ----------
    matrix : Matrix
    windows : sequence of BinRange
        Runs of windows that follow each other on a chromosome are read at once.
    window_bins : int

    Returns
    -------
    Tensor (window, bin, track) float16, Tensor (window, bin) bool
    """
    out = torch.zeros(len(windows), window_bins, matrix.tracks, dtype=torch.float16)
    mask = torch.zeros(len(windows), window_bins, dtype=torch.bool)
    flat, flat_mask = out.view(-1, matrix.tracks).numpy(), mask.view(-1).numpy()
    start = 0
    while start < len(windows):
        end = start + 1
        while end < len(windows) and _follows(windows[end - 1], windows[end], window_bins):
            end += 1
        run = BinRange(windows[start].chrom, windows[start].first, windows[end - 1].last)
        rows = slice(start * window_bins, start * window_bins + run.bins)
        flat[rows], flat_mask[rows] = matrix.values(run), matrix.mask(run)
        start = end
    return out, mask


def _follows(before: BinRange, after: BinRange, window_bins: int) -> bool:
    return before.chrom == after.chrom and before.bins == window_bins and after.first == before.last
