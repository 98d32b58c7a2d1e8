"""Ingest, a shard of the tracks at a time: the signal is that of a run that reads all at once."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epilstm.errors import ParamsError, TrackError
from epilstm.runtime.runner import StepResult, run_step
from epilstm.runtime.step_table import STEPS
from epilstm.steps.ingest.command import shard_of
from epilstm.tracks.samplesheet import Track
from support.ingest.bigwig_files import handmade_bigwig, write_bigwig
from support.ingest.epigenome import SIZES, Epigenome, tree


@pytest.fixture
def toy(tmp_path: Path) -> Epigenome:
    toy = Epigenome(tmp_path / "in")
    for number in range(5):
        toy.add(f"liver-{number}", number)
    return toy


def do_part(toy: Epigenome, part: str, cache: Path) -> StepResult:
    paths = {"samplesheet": toy.folder / "samplesheet.csv", "cache": cache}
    return run_step(STEPS["ingest"], toy.folder / "params.yaml", paths, frozenset(), part)


@given(st.integers(0, 40), st.integers(1, 50))
def test_every_track_is_in_one_shard_and_shards_differ_by_one_track_at_most(tracks: int, count: int) -> None:
    sheet = [Track("liver", str(number), "x") for number in range(tracks)]
    shards = [shard_of(sheet, f"{number}/{count}") for number in range(1, count + 1)]
    assert sorted(int(track.assay) for shard in shards for track in shard) == list(range(tracks))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


@pytest.mark.parametrize("part", ["", "3", "0/3", "4/3", "1/0", "-1/3", "1/3/5", "a/b", "1 / 3", "1.0/3", "chr5"])
def test_anything_but_i_of_n_is_bad_usage(toy: Epigenome, tmp_path: Path, part: str) -> None:
    with pytest.raises(ParamsError, match=r"^--part .*: expected I/N with I from 1 to N, such as 3/8"):
        do_part(toy, part, tmp_path / "cache")


@pytest.mark.parametrize("done", [[], ["2/3"], ["3/3", "1/3", "2/3"], ["1/1"], ["7/7"]], ids=" ".join)
def test_the_signal_has_the_bytes_of_a_run_without_parts(toy: Epigenome, tmp_path: Path, done: list[str]) -> None:
    toy.ingest(tmp_path / "expected")
    for part in done:
        do_part(toy, part, tmp_path / "cache")
    toy.ingest(tmp_path / "signal", cache=tmp_path / "cache")
    assert tree(tmp_path / "signal") == tree(tmp_path / "expected")


def test_a_part_reads_its_tracks_alone_and_once(toy: Epigenome, tmp_path: Path) -> None:
    assert do_part(toy, "2/3", tmp_path / "cache").summary == "part 2/3: 2 tracks (2 read, 0 reused)"
    assert do_part(toy, "2/3", tmp_path / "cache").summary == "part 2/3: 2 tracks (0 read, 2 reused)"
    assert toy.ingest(tmp_path / "signal", cache=tmp_path / "cache").metrics["tracks_reused"] == 2


def test_a_faulty_track_is_named_by_its_part_and_spares_the_others(toy: Epigenome, tmp_path: Path) -> None:
    handmade_bigwig(toy.bigwig("liver-1"), [[(5, 9, np.inf)]], chrom="chr9", size=SIZES["chr9"])
    do_part(toy, "1/2", tmp_path / "cache")
    with pytest.raises(TrackError, match=r"^track liver-1: .*an infinite value at base 5"):
        do_part(toy, "2/2", tmp_path / "cache")
    write_bigwig(toy.bigwig("liver-1"), SIZES, {"chr9": [(5, 9, 1.0)]})
    assert toy.ingest(tmp_path / "signal", cache=tmp_path / "cache").metrics["tracks_read"] == 1


def spoilt_track(cache: Path) -> Path:
    return next(path for path in sorted((cache / "tracks").iterdir()) if not path.name.startswith("."))


def truncate(track: Path) -> None:
    shard = next(path for path in (track / "signal.zarr" / "chr9" / "c").rglob("*") if path.is_file())
    content = shard.read_bytes()
    shard.unlink()  # an earlier output may share it
    shard.write_bytes(content[:-10])


@pytest.mark.parametrize(
    "spoil",
    [
        truncate,
        lambda track: shutil.rmtree(track / "signal.zarr" / "chr9"),
        lambda track: (track / "coverage.bin").write_bytes(b""),
        lambda track: (track / "track.json").write_text("{}"),
        lambda track: (track / "seal.json").unlink(),
    ],
)
def test_a_damaged_track_in_the_cache_is_reported_and_read_again(
    toy: Epigenome, tmp_path: Path, spoil, caplog: pytest.LogCaptureFixture
) -> None:
    toy.ingest(tmp_path / "expected", cache=tmp_path / "cache")
    spoil(spoilt_track(tmp_path / "cache"))
    with caplog.at_level(logging.WARNING, logger="epilstm"):
        result = toy.ingest(tmp_path / "signal", cache=tmp_path / "cache")
    assert result.metrics["tracks_read"] == 1
    assert any("damaged, so its track is read again" in message for message in caplog.messages)
    assert tree(tmp_path / "signal") == tree(tmp_path / "expected")
    assert toy.ingest(tmp_path / "signal", cache=tmp_path / "cache").metrics["tracks_read"] == 0


def test_no_output_is_written(toy: Epigenome, tmp_path: Path) -> None:
    do_part(toy, "1/2", tmp_path / "work" / "cache")
    assert os.listdir(tmp_path / "work") == ["cache"]
