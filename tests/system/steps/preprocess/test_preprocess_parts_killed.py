"""Parts of preprocess that were killed, or that run at the same time."""

from __future__ import annotations

import os
import signal as signals
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from support.preprocess.preprocess_in_parts import run, with_signal
from support.preprocess.preprocess_runs import tree
from support.preprocess.signal_folder import random_signal, write_signal
from support.watching import alive, wait_until


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return with_signal(tmp_path)


def test_a_killed_run_resumes_with_the_chromosome_that_it_was_at(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    bins = {"chr2": 700, "chr1": 3_000_000, "chr3": 400}
    write_signal(tmp_path / "signal", {chrom: random_signal(rng, 3, count) for chrom, count in bins.items()})
    run(tmp_path, "expected", parts=False)
    content = (tmp_path / "params.yaml").read_text().replace('"workers": 1', '"workers": 2')
    (tmp_path / "params.yaml").write_text(content)
    line = [sys.executable, "-m", "epilstm", "preprocess", "--params", str(tmp_path / "params.yaml")]
    line += ["--signal", str(tmp_path / "signal"), "--matrix", str(tmp_path / "matrix")]
    process = subprocess.Popen([*line, "--parts", str(tmp_path / "parts")], stderr=subprocess.DEVNULL)
    parts = tmp_path / "parts"
    growing = "*/.*/chr1/matrix.zarr/chr1/c/*/0"
    wait_until(lambda: len(list(parts.glob(growing))) >= 2 and any(parts.glob("*/chr2/seal.json")))
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.send_signal(signals.SIGKILL)
    process.wait()
    wait_until(lambda: not any(alive(int(worker)) for worker in workers))
    assert len(list(parts.glob("preprocess-*/chr2/seal.json"))) == 1
    assert not list(parts.glob("preprocess-*/chr1"))
    written = next(parts.glob("preprocess-*/chr2/matrix.zarr/chr2/c/0/0")).stat().st_ino
    run(tmp_path, "matrix")
    assert tree(tmp_path / "matrix") == tree(tmp_path / "expected")
    assert (tmp_path / "matrix" / "matrix.zarr" / "chr2" / "c" / "0" / "0").stat().st_ino == written
    assert os.listdir(parts) == []


def test_parts_and_whole_runs_may_work_at_the_same_time(folder: Path) -> None:
    run(folder, "expected", parts=False)
    line = [sys.executable, "-m", "epilstm", "preprocess", "--params", str(folder / "params.yaml")]
    line += ["--signal", str(folder / "signal"), "--parts", str(folder / "parts")]
    tails = [*(["--part", chrom] for chrom in ("chr1", "chr1", "chr2"))]
    tails += [["--matrix", str(folder / name)] for name in ("one", "two")]
    processes = [subprocess.Popen([*line, *tail], stderr=subprocess.PIPE, text=True) for tail in tails]
    for process in processes:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    assert tree(folder / "one") == tree(folder / "two") == tree(folder / "expected")
