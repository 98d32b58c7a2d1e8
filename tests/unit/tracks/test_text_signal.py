"""Tracks as bedGraph, wiggle and gzip: converted as they come in, to the same signal as their bigWig's."""

from __future__ import annotations

import gzip
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyBigWig
import pytest

from epilstm.errors import TrackError
from epilstm.files.outputs import sha256_file
from epilstm.store.arrays import open_group
from epilstm.store.manifests import SignalManifest, read_manifest
from epilstm.tracks.bigwig import BigWig
from epilstm.tracks.converting import as_bigwig
from epilstm.tracks.text_signal import GATHERED
from support.ingest.bigwig_files import Interval, random_intervals, write_bigwig
from support.ingest.epigenome import SIZES, Epigenome
from support.ingest.range_server import Files, serve
from support.nonempty import nonempty

Intervals = dict[str, list[Interval]]


def bedgraph(intervals: Intervals, end: str = "\n") -> str:
    return end.join(["track type=bedGraph name=x", *lines(intervals)]) + end


def lines(intervals: Intervals) -> list[str]:
    return [f"{chrom}\t{start}\t{stop}\t{value!r}" for chrom, rows in intervals.items() for start, stop, value in rows]


def converted(tmp_path: Path, content: str | bytes) -> Intervals:
    """Intervals of the bigWig that a file becomes, as pyBigWig reads it."""
    path = tmp_path / "signal.txt"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    (tmp_path / "scratch").mkdir(exist_ok=True)
    with pyBigWig.open(str(as_bigwig(path, "the file", SIZES, tmp_path / "scratch"))) as bigwig:
        assert {chrom: SIZES[chrom] for chrom in bigwig.chroms()} == bigwig.chroms()
        return {chrom: list(bigwig.intervals(chrom) or ()) for chrom in bigwig.chroms()}


@pytest.fixture(scope="module")
def intervals() -> Intervals:
    rng = np.random.default_rng(4)
    return {chrom: random_intervals(rng, SIZES[chrom], gap=0.3) for chrom in ("chr10", "chr9")}


@pytest.mark.parametrize(
    "form",
    [
        lambda text: text.encode(),
        lambda text: gzip.compress(text.encode()),
        lambda text: b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode(),
        lambda text: text.replace("\n", "\r").encode(),
        lambda text: text.rstrip("\n").encode("utf-16"),
        lambda text: text.replace("\t", " ").replace("\nchr9", "\n\n# next\nchr9", 1).encode(),
        lambda text: b"chrom start end value\n" + text.partition("\n")[2].encode(),
    ],
    ids=["plain", "gzip", "windows", "mac", "utf-16", "blanks and comments", "a header line"],
)
def test_bedgraph_becomes_the_bigwig_of_the_same_intervals(tmp_path: Path, intervals: Intervals, form: object) -> None:
    assert converted(tmp_path, form(bedgraph(intervals))) == intervals  # type: ignore[operator]


def test_whole_numbers_may_be_written_as_others_and_nan_is_no_signal(tmp_path: Path) -> None:
    text = "chr9 1e2 200.0 1.5\nchr9 200 300 NaN\nchr9 300 400 nan\nchr9 400 500 -1e-1\n"
    assert converted(tmp_path, text) == {"chr9": [(100, 200, 1.5), (400, 500, pytest.approx(-0.1))]}


def test_fixed_and_variable_steps_are_read_with_their_spans(tmp_path: Path) -> None:
    text = (
        "browser position chr9\ntrack type=wiggle_0\nfixedStep chrom=chr9 start=11 step=20 span=5\n1\n2.5\n"
        "fixedStep chrom=chr9 start=101\n3\n4\nvariableStep chrom=chr10 span=10\n21 5\n41 6\n"
        "variableStep chrom=chr11\n7 7\ntrack type=bedGraph\nchr11 20 30 8\n"
    )
    assert converted(tmp_path, text) == {
        "chr9": [(10, 15, 1.0), (30, 35, 2.5), (100, 101, 3.0), (101, 102, 4.0)],
        "chr10": [(20, 30, 5.0), (40, 50, 6.0)],
        "chr11": [(6, 7, 7.0), (20, 30, 8.0)],
    }


def test_long_files_are_read_in_pieces(tmp_path: Path) -> None:
    count = 2 * GATHERED + 7
    sizes = {"chr1": 20 * count}
    path = tmp_path / "long.wig"
    path.write_text("fixedStep chrom=chr1 start=1 step=20 span=20\n" + "\n".join(str(n % 91) for n in range(count)))
    with BigWig(as_bigwig(path, "x", sizes, tmp_path)) as bigwig:
        blocks = list(bigwig.intervals("chr1", 0, sizes["chr1"]))
    np.testing.assert_array_equal(np.concatenate([block.values for block in blocks]), np.arange(count) % 91)
    np.testing.assert_array_equal(np.concatenate([block.starts for block in blocks]), 20 * np.arange(count))


def test_what_passes_the_end_is_cut_off_and_unknown_chromosomes_are_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="epilstm"):
        found = converted(tmp_path, "chr11 4990 5025 2\nchrUn 0 10 1\nchrUn 10 20 1\n")
    assert found == {"chr11": [(4990, 5000, 2.0)]}
    left_out = "the file: 2 of 3 lines are left out: 1 of 2 chromosomes (chrUn) are not in the assembly"
    assert any(message.startswith(left_out) for message in caplog.messages)
    assert "the file: 1 interval reaches past a chromosome's end: cut off there" in caplog.messages


@pytest.mark.parametrize(
    ("line", "cause"), [("Chr11 0 25 1", "'Chr11' is written 'chr11' there"), ("11 0 25 1", "add or remove 'chr'")]
)
def test_a_file_of_other_chromosome_names_is_an_error_that_names_both_sides(
    tmp_path: Path, line: str, cause: str
) -> None:
    with pytest.raises(TrackError, match=rf"none of its chromosomes \({line.split()[0]}\) is in .*chr11.*{cause}"):
        converted(tmp_path, f"{line}\n")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["chr9 100 200 1", "chr9 50 60 1"], r":2: chr9:50-60: begins before the line above it: sort"),
        (["chr9 0 5 1", "chr10 0 5 1", "chr9 9 10 1"], r":3: chr9 comes a second time: sort"),
        (["chr9 100 200 1", "chr9 199 300 1"], r":2: chr9:199-300: overlaps a line above it"),
        (["chr9 0 900 1", "chr9 1 1 1", "chr9 5 9 1"], r":3: chr9:5-9: overlaps a line above it"),
        (["chr9 200 100 1"], r":1: chr9:200-100: the start is above the end"),
        (["chr9 60000 60010 1"], r":1: chr9:60000-60010: past the end of chr9, which has 60,000 bp: wrong assembly"),
        (["chr9 0 10 1", "chr9 10 20 inf"], r":2: chr9:10-20: the value is infinite"),
        (["chr9 0 10 1", "chr9 10 20 NA"], r":2: the value 'NA' is not a number, got 'chr9 10 20 NA'"),
        (["chr9 0 10", "chr9 10 20"], r":1: expected 'chromosome start end value' \(bedGraph\), got 'chr9 0 10'"),
        (["chr9 -5 10 1"], r":1: expected 'chromosome start end value'"),
        (["chr9 1.5 10 1"], r":1: expected 'chromosome start end value'"),
        (["fixedStep chrom=chr9", "1"], r":1: expected 'fixedStep chrom=\.\.\. start=\.\.\.'"),
        (["fixedStep chrom=chr9 start=0", "1"], r":1: expected 'fixedStep"),
        (["variableStep chrom=chr9", "1"], r":2: expected a position and a value \(wiggle\), got '1'"),
        (["variableStep chrom=chr9 span=10", "1 1", "5 1"], r":3: chr9:4-14: overlaps"),
    ],
)
def test_an_unusable_line_is_named(tmp_path: Path, rows: Sequence[str], message: str) -> None:
    with pytest.raises(TrackError, match=rf"^the file{message}"):
        converted(tmp_path, "\n".join(rows) + "\n")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(b"\0\1\2\3", mtime=0), "gzipped, but neither bigWig nor bedGraph nor wiggle"),
        (gzip.compress(b"chr9 0 10 1\n" * 1000, mtime=0)[:-20], "gzip file is (truncated|cut short)"),
    ],
)
def test_a_gzip_file_of_anything_else_is_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(TrackError, match=rf"^the file.*{message}"):
        converted(tmp_path, content)


@pytest.fixture
def toy(tmp_path: Path, intervals: Intervals) -> Epigenome:
    """The same intervals in every form, under names that do not say which."""
    toy = Epigenome(tmp_path / "in")
    write_bigwig(toy.bigwig("liver-1"), SIZES, {chrom: intervals[chrom] for chrom in ("chr9", "chr10")})
    toy.bigwig("liver-2").write_text(bedgraph(intervals))
    toy.bigwig("liver-3").write_bytes(gzip.compress(bedgraph(intervals).encode()))
    toy.bigwig("liver-4").write_bytes(gzip.compress(toy.bigwig("liver-1").read_bytes()))
    for number in range(1, 5):
        toy.list_row(f"liver-{number}", f"bigwig/liver-{number}.bigwig", sha256_file(toy.bigwig(f"liver-{number}")))
    return toy


def test_ingest_takes_every_form_and_keeps_the_checksum_of_the_file_as_given(toy: Epigenome, tmp_path: Path) -> None:
    toy.ingest(tmp_path / "signal", cache=tmp_path / "cache")
    signal = open_group(tmp_path / "signal" / "signal.zarr")
    for chrom in SIZES:
        values = np.asarray(signal[chrom][:])
        np.testing.assert_array_equal(values, np.repeat(values[:1], 4, axis=0))
    assert (np.asarray(signal["chr9"][0]) > 0).any()
    for number, track in nonempty(enumerate(read_manifest(tmp_path / "signal", SignalManifest).tracks, 1)):
        assert track.sha256 == sha256_file(toy.bigwig(f"liver-{number}"))
        assert track.bytes == toy.bigwig(f"liver-{number}").stat().st_size
    assert list((tmp_path / "cache" / "downloads").iterdir()) == []
    again = toy.ingest(tmp_path / "again", cache=tmp_path / "cache")
    assert again.metrics["tracks_read"] == 0


def test_a_remote_bedgraph_is_converted_too(toy: Epigenome, tmp_path: Path) -> None:
    content = toy.bigwig("liver-3").read_bytes()
    with serve(Files({"/signal": content})) as url:
        toy.list_row("spleen-1", f"{url}/signal")
        toy.ingest(tmp_path / "signal")
    chr9 = open_group(tmp_path / "signal" / "signal.zarr")["chr9"]
    np.testing.assert_array_equal(chr9[4], chr9[0])


def test_a_faulty_text_track_is_one_line_that_names_track_file_and_line(toy: Epigenome, tmp_path: Path) -> None:
    toy.bigwig("lung-1").write_text("chr9 100 200 1\nchr9 150 300 1\n")
    toy.list_row("lung-1", "bigwig/lung-1.bigwig")
    with pytest.raises(TrackError, match=r"^track lung-1: .*lung-1\.bigwig:2: chr9:150-300: overlaps"):
        toy.ingest(tmp_path / "out" / "signal")
    assert not (tmp_path / "out" / "signal").exists()
