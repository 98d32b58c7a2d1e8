"""From signal to the standardised matrix."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import reference, synthetic
from benchmarks.case import Case, Measurement, Setting, Size
from benchmarks.pipeline import run_step
from benchmarks.timing import PeakMemory, in_turn, rate

#: Values (bins x tracks) that the plain loop is given.
REFERENCE_VALUES = 250_000


def cases(size: Size, device: str) -> list[Case]:
    if device == "cuda":
        return []
    sizes = {
        "full": [(1_000_000, 25), (200_000, 1014)],
        "scaling": [(400_000, 25), (2_000_000, 25), (10_000_000, 25), (200_000, 25), (200_000, 250), (200_000, 1014)],
        "quick": [(20_000, 25)],
    }[size]
    return [Case("preprocess", "whole step", bins, tracks) for bins, tracks in sizes]


def _signal(case: Case, folder: Path) -> Path:
    return folder / f"signal-{case.tracks}-{case.bins}"


def prepare(case: Case, folder: Path) -> None:
    synthetic.write_signal(_signal(case, folder), case.tracks, case.bins)


def measure(case: Case, setting: Setting) -> Measurement:
    from epilstm.params import PreprocessParams, SplitParams

    signal, out = _signal(case, setting.folder), setting.folder / "preprocess-output"
    params = PreprocessParams(split=SplitParams(validation=["chr2"], test=["chr3"]), workers=setting.threads)

    def step() -> None:
        run_step("preprocess", params, {"signal": signal}, {"matrix": out})

    with PeakMemory() as peak:
        step()
    ours, theirs, storage = in_turn(
        setting.repeats,
        rate(case.bins, step),
        rate(max(1, REFERENCE_VALUES // case.tracks), lambda: _plain(signal, case.tracks)),
        rate(case.bins, lambda: _storage_alone(signal, out, setting)),
    )
    return Measurement(
        bins_per_second=ours,
        bytes_per_bin=6 * case.tracks,
        operations_per_bin=0,
        peak_memory=peak.bytes,
        reference_bins_per_second=theirs,
        storage_bins_per_second=storage,
        note=f"{setting.threads} processes, started each time",
        extra={
            "stored_bytes_per_value": sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
            / (case.bins * case.tracks)
        },
    )


def _plain(signal: Path, tracks: int) -> None:
    from epilstm.store.arrays import open_group

    bins = max(1, REFERENCE_VALUES // tracks)
    block: np.ndarray = open_group(signal / "signal.zarr")["chr1"][:, :bins]  # type: ignore[index,assignment]
    reference.standardise(block, [0.5] * tracks, [1.0] * tracks)


@dataclass(frozen=True)
class _Copy:
    """One shard of one chromosome, read from the signal and written from a finished matrix."""

    signal: Path
    finished: Path
    copy: Path
    chrom: str
    shard: int


def _storage_alone(signal: Path, matrix: Path, setting: Setting) -> None:
    """Read the signal shard by shard and write the finished matrix again, in as many processes: no arithmetic."""
    from epilstm.runtime.processes import outcomes
    from epilstm.store.arrays import SHARD_BINS, create_bin_array, create_group
    from epilstm.store.shards import open_bins

    copy, finished = setting.folder / "storage-alone.zarr", matrix / "matrix.zarr"
    group = create_group(copy)
    copies = []
    for chrom, array in open_bins(finished).items():
        bins, tracks = array.shape
        create_bin_array(group, chrom, bins, tracks, "float16", "lz4", float("nan"))
        numbers = range(-(-bins // SHARD_BINS))
        copies += [_Copy(signal / "signal.zarr", finished, copy, chrom, number) for number in numbers]
    with outcomes(_do, copies, setting.threads) as done:
        for outcome in done:
            outcome.result()


def _do(job: _Copy) -> None:
    from epilstm.store.arrays import SHARD_BINS, open_group
    from epilstm.store.shards import open_bins

    source, finished = open_group(job.signal)[job.chrom], open_bins(job.finished)[job.chrom]
    first = job.shard * SHARD_BINS
    source[:, first : first + SHARD_BINS]  # type: ignore[index]
    open_bins(job.copy)[job.chrom].write_shard(job.shard, finished[first : first + SHARD_BINS])
