"""Preprocess, a chromosome at a time: the matrix is the one of a run that does all at once."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from epilstm.errors import DataError, ParamsError
from support.preprocess.preprocess_in_parts import BINS, run, with_signal
from support.preprocess.preprocess_runs import tree
from support.preprocess.signal_folder import random_signal, write_signal


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return with_signal(tmp_path)


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
