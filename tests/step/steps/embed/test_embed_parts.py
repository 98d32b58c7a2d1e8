"""Embed, a chromosome at a time: the embeddings are those of a run that does all at once."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from epilstm.errors import ParamsError
from epilstm.runtime.runner import StepResult, run_step
from epilstm.runtime.step_table import STEPS
from epilstm.steps.embed import command
from support.embed.exported import export, files_of
from support.embed.small_matrix import SIZES, write_matrix
from support.export.small_model import SCALER, network_of


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a matrix, an encoder, and embeddings made without parts."""
    folder = tmp_path_factory.mktemp("made")
    write_matrix(folder / "matrix", SCALER)
    export(folder, network_of("bottleneck"))
    run(folder, folder, "expected", parts=False)
    return folder


def run(
    made: Path, folder: Path, output: str | None = None, part: str | None = None, parts: bool = True, **params
) -> StepResult:
    (folder / "params.yaml").write_text(json.dumps({"embed": {"threads": 1, **params}}))
    paths = {"matrix": made / "matrix", "encoder": made / "encoder"}
    paths |= {"parts": folder / "parts"} if parts else {}
    paths |= {"embeddings": folder / output} if output else {}
    return run_step(STEPS["embed"], folder / "params.yaml", paths, frozenset(), part)


@pytest.mark.parametrize("done", [[], ["chr1"], ["chr2"], ["chr2", "chr1"]], ids=" ".join)
@pytest.mark.parametrize("threads", [1, 2])
def test_the_embeddings_have_the_bytes_of_a_run_without_parts(done, threads, made, tmp_path):
    expected = run(made, tmp_path, "again", parts=False)
    for chrom in done:
        run(made, tmp_path, part=chrom)
    found = run(made, tmp_path, "embeddings", threads=threads)
    assert files_of(tmp_path / "embeddings") == files_of(made / "expected")
    assert (found.metrics, found.bins, found.tracks) == (expected.metrics, expected.bins, expected.tracks)
    assert os.listdir(tmp_path / "parts") == []


def test_a_part_needs_only_the_arrays_of_its_chromosome(made, tmp_path):
    shutil.copytree(made / "matrix", tmp_path / "matrix")
    (tmp_path / "encoder").symlink_to(made / "encoder")
    for group in ("matrix.zarr", "mask.zarr"):
        shutil.rmtree(tmp_path / "matrix" / group / "chr1")
    assert run(tmp_path, tmp_path, part="chr2").summary == "chr2: 4,150 bins embedded"


def test_a_run_that_finds_all_parts_runs_no_encoder(made, tmp_path, monkeypatch):
    for chrom in SIZES:
        run(made, tmp_path, part=chrom)
    monkeypatch.setattr(command, "load_core", None)
    assert run(made, tmp_path, "embeddings").metrics["provider"] == "cpu"
    assert files_of(tmp_path / "embeddings") == files_of(made / "expected")


def test_a_part_done_twice_is_done_once(made, tmp_path):
    assert run(made, tmp_path, part="chr2").bins == 4_150
    assert run(made, tmp_path, part="chr2").summary == "chr2: done before, nothing to do"


@pytest.mark.parametrize(
    "params", [{"chunk_bins": 700}, {"warmup_bins": 50}, {"batch": 3}, {"codec": "zstd"}, {"provider": "cpu"}], ids=str
)
def test_parts_of_other_params_are_not_taken_over(params, made, tmp_path):
    run(made, tmp_path, part="chr2")
    [before] = (tmp_path / "parts").iterdir()
    kept = files_of(before)
    run(made, tmp_path, "expected", parts=False, **params)
    run(made, tmp_path, "embeddings", **params)
    assert files_of(tmp_path / "embeddings") == files_of(tmp_path / "expected")
    assert files_of(before) == kept


def test_parts_of_another_encoder_are_not_taken_over(made, tmp_path):
    run(made, tmp_path, part="chr2")
    other = tmp_path / "other"
    other.mkdir()
    export(other, network_of("bottleneck", scale=2))
    (other / "matrix").symlink_to(made / "matrix")
    run(other, tmp_path, "expected", parts=False)
    run(other, tmp_path, "embeddings")
    assert files_of(tmp_path / "embeddings") == files_of(tmp_path / "expected")
    assert files_of(tmp_path / "embeddings") != files_of(made / "expected")


def test_an_unknown_chromosome_is_bad_usage(made, tmp_path):
    with pytest.raises(ParamsError, match=r"^--part chr9: no such chromosome in the data; give one that is, or I/N"):
        run(made, tmp_path, part="chr9")
