"""Evaluating the embedding: the whole step on the real pilot tracks, and the pooling of windows."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import reference
from benchmarks.case import Case, Measurement, Setting, Size, Skipped, pilot_folder
from benchmarks.pipeline import run_step
from benchmarks.timing import PeakMemory, in_turn, rate

#: Windows of the pooling, each of this many bins (10 kb).
WINDOWS, WINDOW_BINS = 2_000, 400

#: Windows that the plain loop pools.
REFERENCE_WINDOWS = 20

PILOT_BINS, PILOT_TRACKS = 862_140, 25


def cases(size: Size, device: str) -> list[Case]:
    if device == "cuda" or size == "scaling":
        return []
    pooling = Case("evaluate", "pooling of windows", 100_000 if size == "full" else 10_000, 25, {"what": "pooling"})
    if size == "quick":
        return [pooling]
    return [pooling, Case("evaluate", "whole step, real pilot tasks", PILOT_BINS, PILOT_TRACKS, {"what": "pilot"})]


def prepare(case: Case, folder: Path) -> None:
    """Take the pilot tracks through the pipeline up to evaluate, with a network that is trained for an epoch."""
    if case.options["what"] != "pilot" or (folder / "pilot-embeddings").is_dir():
        return
    from epilstm.params import EmbedParams, ExportParams, IngestParams, PreprocessParams, SplitParams, TrainParams

    pilot = pilot_folder()
    if not pilot.is_dir():
        raise Skipped(f"the Roadmap pilot tracks are not on this machine ({pilot})")
    split = SplitParams(validation=["chr9", "chr18"], test=["chr5", "chr13", "chr22"])
    at = {name: folder / f"pilot-{name}" for name in ("signal", "matrix", "model", "encoder", "embeddings")}
    sheet = {"samplesheet": pilot / "samplesheet.csv", "regions": pilot / "pilot-regions.bed"}
    run_step("ingest", IngestParams(assembly="hg19"), sheet, {"signal": at["signal"]})
    run_step("preprocess", PreprocessParams(split=split), {"signal": at["signal"]}, {"matrix": at["matrix"]})
    run_step("train", TrainParams(epochs=1), {"matrix": at["matrix"]}, {"model": at["model"]})
    run_step("export", ExportParams(triton=False), {"model": at["model"]}, {"encoder": at["encoder"]})
    inputs = {"matrix": at["matrix"], "encoder": at["encoder"]}
    run_step("embed", EmbedParams(), inputs, {"embeddings": at["embeddings"]})


def measure(case: Case, setting: Setting) -> Measurement:
    return _pilot(case, setting) if case.options["what"] == "pilot" else _pooling(case, setting)


def _pilot(case: Case, setting: Setting) -> Measurement:
    from epilstm.params import EvaluateParams

    inputs: dict[str, Any] = {name: setting.folder / f"pilot-{name}" for name in ("matrix", "model", "embeddings")} | {
        "tasks": Path(__file__).parents[2] / "tasks" / "roadmap-pilot.yaml",
        "labels": pilot_folder() / "labels",
    }
    outputs = {"evaluation": setting.folder / "pilot-evaluation"}
    started = time.perf_counter()
    with PeakMemory() as peak:
        run_step("evaluate", EvaluateParams(threads=setting.threads), inputs, outputs)
    seconds = time.perf_counter() - started
    return Measurement(
        bins_per_second=case.bins / seconds,
        bytes_per_bin=2 * case.tracks,
        operations_per_bin=0,
        peak_memory=peak.bytes,
        note=f"{seconds:.0f} s in all: four tasks, five representations, reconstruction, 1,000 bootstrap resamples; "
        "run once",
        extra={"seconds": seconds},
    )


def _pooling(case: Case, setting: Setting) -> Measurement:
    from epilstm.representations.pooling import WindowStatistics

    rng = np.random.default_rng(0)
    values = rng.standard_normal((case.bins, case.tracks), dtype=np.float32)
    valid = rng.random(case.bins) < 0.9
    first = np.sort(rng.integers(0, case.bins - WINDOW_BINS, WINDOWS))  # as a window table is
    last = first + WINDOW_BINS

    def pooled() -> None:
        statistics = WindowStatistics(first, last, case.tracks, ["mean", "max", "std"])
        statistics.add(0, values, valid)
        statistics.features()

    def plain() -> None:
        reference.pool(values, valid, first[:REFERENCE_WINDOWS], last[:REFERENCE_WINDOWS])

    with PeakMemory() as peak:
        pooled()
    ours, theirs = in_turn(
        setting.repeats, rate(WINDOWS * WINDOW_BINS, pooled), rate(REFERENCE_WINDOWS * WINDOW_BINS, plain)
    )
    return Measurement(
        bins_per_second=ours,
        bytes_per_bin=4 * case.tracks * case.bins / (WINDOWS * WINDOW_BINS),
        operations_per_bin=0,
        peak_memory=peak.bytes,
        reference_bins_per_second=theirs,
        note=f"{WINDOWS:,} overlapping windows of {WINDOW_BINS} bins, counted as often as they are pooled; "
        "mean, maximum and standard deviation",
    )
