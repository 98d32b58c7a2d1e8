"""Preprocess, a chromosome at a time: the matrix is the one of a run that does all at once."""

from __future__ import annotations

import json
import os
import shutil
import signal as signals
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from signal_folder import random_signal, write_signal

from epilstm.errors import DataError, ParamsError
from epilstm.runtime.runner import StepResult, run_step
from epilstm.runtime.step_table import STEPS
from watching import alive, wait_until

BINS = {"chr1": 1_250, "chr2": 730, "chr3": 400}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(4)
    write_signal(tmp_path / "signal", {chrom: random_signal(rng, 3, bins) for chrom, bins in BINS.items()})
    return tmp_path


def run(folder: Path, output: str | None = None, part: str | None = None, parts: bool = True, **params) -> StepResult:
    content = {"split": {"validation": ["chr2"], "test": ["chr3"]}, "frame_bins": 100, "workers": 1} | params
    (folder / "params.yaml").write_text(json.dumps({"preprocess": content}))
    paths = {"signal": folder / "signal"}
    paths |= {"parts": folder / "parts"} if parts else {}
    paths |= {"matrix": folder / output, "metrics": folder / f"{output}.json"} if output else {}
    return run_step(STEPS["preprocess"], folder / "params.yaml", paths, frozenset(), part)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def fingerprint_in_record(folder: Path, output: str) -> str:
    record = json.loads((folder / f"{output}.record.json").read_text())
    return str(record["outputs"]["matrix"]["fingerprint"])


@pytest.mark.parametrize("done", [[], ["chr2"], ["chr3", "chr1"], list(BINS)], ids=" ".join)
@pytest.mark.parametrize("workers", [1, 2])
def test_the_matrix_has_the_bytes_of_a_run_without_parts(folder: Path, done: list[str], workers: int) -> None:
    expected = run(folder, "expected", parts=False)
    for chrom in done:
        run(folder, part=chrom)
    found = run(folder, "matrix", workers=workers)
    assert tree(folder / "matrix") == tree(folder / "expected")
    assert fingerprint_in_record(folder, "matrix") == fingerprint_in_record(folder, "expected")
    assert (found.metrics, found.bins, found.tracks) == (expected.metrics, expected.bins, expected.tracks)
    assert os.listdir(folder / "parts") == []


def test_a_part_needs_only_the_files_of_its_chromosome(folder: Path) -> None:
    for chrom in ("chr1", "chr3"):
        shutil.rmtree(folder / "signal" / "signal.zarr" / chrom)
    shutil.rmtree(folder / "signal" / "mask.zarr")
    (folder / "signal" / "histograms.npy").unlink()
    assert run(folder, part="chr2").summary == "chr2: 800 bins x 3 tracks"


def test_a_run_that_finds_all_parts_reads_no_signal(folder: Path) -> None:
    run(folder, "expected", parts=False)
    for chrom in BINS:
        run(folder, part=chrom)
    shutil.rmtree(folder / "signal" / "signal.zarr")
    run(folder, "matrix")
    assert tree(folder / "matrix") == tree(folder / "expected")


def test_a_part_done_twice_is_done_once(folder: Path) -> None:
    first = run(folder, part="chr2")
    second = run(folder, part="chr2")
    assert (first.bins, second.bins) == (800, 0)
    assert second.summary == "chr2: done before, nothing to do"


@pytest.mark.parametrize(
    "params",
    [{"frame_bins": 200}, {"codec": "zstd"}, {"split": {"validation": ["chr3"], "test": ["chr2"]}, "workers": 2}],
    ids=str,
)
def test_parts_of_the_same_signal_and_scaler_alone_are_taken_over(folder: Path, params: dict[str, object]) -> None:
    for chrom in BINS:
        run(folder, part=chrom)
    [before] = (folder / "parts").iterdir()
    kept = tree(before)
    run(folder, "expected", parts=False, **params)
    run(folder, "matrix", **params)
    assert tree(folder / "matrix") == tree(folder / "expected")
    same_values = "split" in params  # chr1 alone trains either way
    assert before.exists() != same_values
    assert same_values or tree(before) == kept


def test_parts_of_another_signal_are_not_taken_over(folder: Path) -> None:
    for chrom in BINS:
        run(folder, part=chrom)
    rng = np.random.default_rng(5)
    shutil.rmtree(folder / "signal")
    write_signal(folder / "signal", {chrom: random_signal(rng, 3, bins) for chrom, bins in BINS.items()})
    run(folder, "expected", parts=False)
    run(folder, "matrix")
    assert tree(folder / "matrix") == tree(folder / "expected")


def test_a_failure_keeps_the_chromosomes_that_were_done(folder: Path) -> None:
    spoilt = folder / "signal" / "mask.zarr" / "chr2" / "c"
    run(folder, part="chr1")
    spoilt.rename(folder / "aside")
    with pytest.raises(DataError, match="chr2 has 0 bins with data"):
        run(folder, "matrix")
    (folder / "aside").rename(spoilt)
    assert [path.name for path in (folder / "parts").glob("*/*")] == ["chr1"]


def test_an_unknown_chromosome_is_bad_usage(folder: Path) -> None:
    with pytest.raises(ParamsError, match=r"^--part chr9: no such chromosome in the data; give one that is, or I/N"):
        run(folder, part="chr9")


@pytest.mark.integration
def test_a_killed_run_goes_on_with_the_chromosome_that_it_was_at(tmp_path: Path) -> None:
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


@pytest.mark.integration
def test_parts_and_whole_runs_may_go_on_at_the_same_time(folder: Path) -> None:
    run(folder, "expected", parts=False)
    line = [sys.executable, "-m", "epilstm", "preprocess", "--params", str(folder / "params.yaml")]
    line += ["--signal", str(folder / "signal"), "--parts", str(folder / "parts")]
    tails = [*(["--part", chrom] for chrom in ("chr1", "chr1", "chr2"))]
    tails += [["--matrix", str(folder / name)] for name in ("one", "two")]
    processes = [subprocess.Popen([*line, *tail], stderr=subprocess.PIPE, text=True) for tail in tails]
    for process in processes:
        _, told = process.communicate(timeout=120)
        assert process.returncode == 0, told
    assert tree(folder / "one") == tree(folder / "two") == tree(folder / "expected")
