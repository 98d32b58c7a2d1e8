"""Runs of the preprocess step a chromosome at a time, over a small signal of three."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from epilstm.runtime.runner import StepResult, run_step
from epilstm.runtime.step_table import STEPS
from support.preprocess.signal_folder import random_signal, write_signal

BINS = {"chr1": 1_250, "chr2": 730, "chr3": 400}


def with_signal(folder: Path) -> Path:
    rng = np.random.default_rng(4)
    write_signal(folder / "signal", {chrom: random_signal(rng, 3, bins) for chrom, bins in BINS.items()})
    return folder


def run(folder: Path, output: str | None = None, part: str | None = None, parts: bool = True, **params) -> StepResult:
    content = {"split": {"validation": ["chr2"], "test": ["chr3"]}, "frame_bins": 100, "workers": 1} | params
    (folder / "params.yaml").write_text(json.dumps({"preprocess": content}))
    paths = {"signal": folder / "signal"}
    paths |= {"parts": folder / "parts"} if parts else {}
    paths |= {"matrix": folder / output, "metrics": folder / f"{output}.json"} if output else {}
    return run_step(STEPS["preprocess"], folder / "params.yaml", paths, frozenset(), part)
