"""A run of preprocess that was killed, run again."""

from __future__ import annotations

import signal as signals
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from support.preprocess.preprocess_runs import run, tree
from support.preprocess.signal_folder import random_signal, write_signal
from support.watching import alive, wait_until

#: chr1 is longer than a shard of the matrix.
BINS = {"chr1": 130_250, "chr2": 730, "chr3": 400}


@pytest.fixture(scope="module")
def signal() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(4)
    return {chrom: random_signal(rng, 3, bins) for chrom, bins in BINS.items()}


def test_a_run_killed_half_way_and_run_again_equals_an_undisturbed_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    bins = {"chr1": 2_500_000, "chr2": 700, "chr3": 400}
    write_signal(tmp_path / "signal", {chrom: random_signal(rng, 3, count) for chrom, count in bins.items()})
    run(tmp_path, "undisturbed")
    (tmp_path / "undisturbed").rename(tmp_path / "expected")
    command = [sys.executable, "-m", "epilstm", "preprocess", "--params", str(tmp_path / "params.yaml")]
    (tmp_path / "params.yaml").write_text(
        (tmp_path / "params.yaml").read_text().replace('"workers": 1', '"workers": 2')
    )
    process = subprocess.Popen([*command, "--signal", str(tmp_path / "signal"), "--matrix", str(tmp_path / "matrix")])
    staged = tmp_path / ".matrix.partial" / "matrix.zarr" / "chr1" / "c"
    wait_until(lambda: len(list(staged.glob("*/0"))) >= 2)
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.send_signal(signals.SIGKILL)
    process.wait()
    wait_until(lambda: not any(alive(int(worker)) for worker in workers))
    assert not (tmp_path / "matrix").exists()
    assert 2 <= len(list(staged.glob("*/0"))) < 25
    run(tmp_path)
    assert tree(tmp_path / "matrix") == tree(tmp_path / "expected")
    assert not (tmp_path / ".matrix.partial").exists()
