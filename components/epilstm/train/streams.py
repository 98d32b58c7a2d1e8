"""Which bins each stream sees at each step, and where they are read from.

The training chromosomes are cut into windows (a whole number of frames). Windows in genome order are dealt out to
streams as contiguous stretches, so that the recurrent state can be carried from a stream's window to its next. Every
epoch starts the deal at another window.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from epilstm.errors import TrainingError
from epilstm.genome import Region, bins_of
from epilstm.shards import open_bins
from epilstm.store import open_group

#: Windows read at a time when all are loaded.
LOAD_WINDOWS = 1_000


@dataclass(frozen=True)
class Window:
    """Consecutive bins of one region.

    Parameters
    ----------
    chrom : str
    first : int
        First bin.
    bins : int
        Number of bins; the last window of a region may be shorter than the others.
    fresh : bool
        First of its region: the recurrent state starts from zero.
    """

    chrom: str
    first: int
    bins: int
    fresh: bool


def windows_of(regions: Sequence[Region], bin_size: int, window_bins: int) -> list[Window]:
    """Cut regions into windows, in order."""
    windows = []
    for region in regions:
        first, last = bins_of(region, bin_size)
        for start in range(first, last, window_bins):
            windows.append(Window(region.chrom, start, min(window_bins, last - start), start == first))
    return windows


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

    def __init__(self, matrix: Path, windows: Sequence[Window], window_bins: int, device: torch.device) -> None:
        tracks = open_bins(matrix / "matrix.zarr")[windows[0].chrom].shape[1]
        self.values = torch.empty(len(windows), window_bins, tracks, dtype=torch.float16, device=device)
        self.mask = torch.empty(len(windows), window_bins, dtype=torch.bool, device=device)
        for start in range(0, len(windows), LOAD_WINDOWS):
            part = slice(start, start + LOAD_WINDOWS)
            values, mask = read_windows(matrix, windows[part], window_bins)
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
    """Windows read from the matrix store a slab of steps at a time, the next slab while this one is used."""

    def __init__(
        self, matrix: Path, windows: Sequence[Window], window_bins: int, device: torch.device, readers: int
    ) -> None:
        self.matrix, self.windows, self.window_bins, self.device = matrix, windows, window_bins, device
        chunk_bins = open_bins(matrix / "matrix.zarr")[windows[0].chrom].chunks[0]
        self.slab_steps = max(1, chunk_bins // window_bins)
        self.pool = ThreadPoolExecutor(readers, thread_name_prefix="windows")
        self.plan: NDArray[np.int64] = np.empty((0, 0), np.int64)
        self.slabs: dict[int, list[Future[tuple[Tensor, Tensor]]]] = {}

    def start(self, plan: NDArray[np.int64], step: int) -> None:
        """Begin a plan at a step."""
        self.plan, self.slabs = plan, {}
        self._fetch(step // self.slab_steps)

    def read(self, step: int, rows: slice) -> tuple[Tensor, Tensor]:
        """Values (time, stream, track) and mask (time, stream) of some streams at a step."""
        number, within = divmod(step, self.slab_steps)
        streams = [future.result() for future in self.slabs[number][rows]]
        values = torch.stack([stream[0][within] for stream in streams])
        mask = torch.stack([stream[1][within] for stream in streams])
        if self.device.type == "cuda":
            values, mask = values.pin_memory(), mask.pin_memory()
        values, mask = (part.to(self.device, non_blocking=True) for part in (values, mask))
        return _time_major(values), mask.T.float()

    def prefetch(self, step: int) -> None:
        """See to it that the slab of a step is there and the next one on its way."""
        number = step // self.slab_steps
        self.slabs.pop(number - 1, None)
        self._fetch(number)
        self._fetch(number + 1)

    def _fetch(self, number: int) -> None:
        if number not in self.slabs and number * self.slab_steps < len(self.plan):
            part = self.plan[number * self.slab_steps : (number + 1) * self.slab_steps]
            self.slabs[number] = [self.pool.submit(self._read_stream, stream) for stream in part.T.tolist()]

    def _read_stream(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        return read_windows(self.matrix, [self.windows[index] for index in indices], self.window_bins)


def _time_major(values: Tensor) -> Tensor:
    return values.transpose(0, 1).to(torch.float32, memory_format=torch.contiguous_format)


def read_windows(matrix: Path, windows: Sequence[Window], window_bins: int, pin: bool = False) -> tuple[Tensor, Tensor]:
    """Values and mask of windows, short ones padded with bins without data.

    Parameters
    ----------
    matrix : Path
        Matrix dataset.
    windows : sequence of Window
        Runs of windows that follow each other on a chromosome are read at once.
    window_bins : int

    Returns
    -------
    Tensor (window, bin, track) float16, Tensor (window, bin) bool
    """
    values, masks = open_bins(matrix / "matrix.zarr"), open_group(matrix / "mask.zarr")
    tracks = values[windows[0].chrom].shape[1]
    out = torch.zeros(len(windows), window_bins, tracks, dtype=torch.float16)
    mask = torch.zeros(len(windows), window_bins, dtype=torch.bool)
    flat, flat_mask = out.view(-1, tracks).numpy(), mask.view(-1).numpy()
    start = 0
    while start < len(windows):
        end = start + 1
        while end < len(windows) and _follows(windows[end - 1], windows[end], window_bins):
            end += 1
        first, last = windows[start], windows[end - 1]
        bins = slice(first.first, last.first + last.bins)
        rows = slice(start * window_bins, start * window_bins + bins.stop - bins.start)
        flat[rows] = values[first.chrom][bins]
        flat_mask[rows] = masks[first.chrom][bins]  # type: ignore[index]
        start = end
    return out, mask


def _follows(before: Window, after: Window, window_bins: int) -> bool:
    return before.chrom == after.chrom and before.bins == window_bins and after.first == before.first + window_bins
