"""Reading bigWig files, compared with pyBigWig."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pyBigWig
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from epilstm.errors import TrackError
from epilstm.tracks.bigwig import BigWig
from support.ingest.bigwig_files import handmade_bigwig, random_intervals, write_bigwig

SIZES = {"chr2": 300_000, "chr10": 200_000, "chrX": 5_000}


def bases(path: Path, chrom: str, start: int, end: int) -> np.ndarray:
    """Signal per base, NaN where not covered."""
    signal = np.full(end - start, np.nan, np.float32)
    with BigWig(path) as bigwig:
        for block in bigwig.intervals(chrom, start, end):
            for first, last, value in zip(*(column.tolist() for column in block), strict=True):
                signal[max(first - start, 0) : max(last - start, 0)] = value
    return signal


def read_all(path: Path) -> list[np.ndarray]:
    with BigWig(path) as bigwig:
        return [bases(path, chrom, 0, size) for chrom, size in bigwig.chromosomes.items()]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(5)
    path = tmp_path_factory.mktemp("bigwig") / "track.bigwig"
    return write_bigwig(path, SIZES, {chrom: random_intervals(rng, size) for chrom, size in SIZES.items()})


def test_chromosomes_and_sizes_are_those_of_the_header(file: Path) -> None:
    with BigWig(file) as bigwig, pyBigWig.open(str(file)) as reference:
        assert bigwig.chromosomes == reference.chroms() == SIZES


@pytest.mark.parametrize("interval", [("chr2", 0, 300_000), ("chr2", 12_345, 23_456), ("chr10", 199_000, 200_000)])
def test_signal_per_base_equals_pybigwig(file: Path, interval: tuple[str, int, int]) -> None:
    with pyBigWig.open(str(file)) as reference:
        expected = reference.values(*interval, numpy=True)
    np.testing.assert_array_equal(bases(file, *interval), expected)


def test_an_index_of_many_nodes_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "long.bigwig"
    starts = np.arange(0, 2_600_000, 2)  # over 256 blocks, more than a node of the index holds
    with pyBigWig.open(str(path), "w") as out:
        out.addHeader([("chr1", 2_600_000)])
        out.addEntries("chr1", starts, values=(starts % 97).astype(float), span=1)
    with BigWig(path) as bigwig:
        blocks = list(bigwig.intervals("chr1", 0, 2_600_000))
    assert len(blocks) > 256
    np.testing.assert_array_equal(np.concatenate([block.starts for block in blocks]), starts)
    np.testing.assert_array_equal(np.concatenate([block.values for block in blocks]), starts % 97)


def test_variable_and_fixed_steps_are_read(tmp_path: Path) -> None:
    path = tmp_path / "steps.bigwig"
    with pyBigWig.open(str(path), "w") as out:
        out.addHeader([("chr1", 10_000), ("chr2", 10_000)])
        out.addEntries("chr1", [10, 100, 250], values=[1.0, 2.0, 3.0], span=20)
        out.addEntries("chr2", 500, values=[4.0, 5.0, 6.0], span=5, step=30)
    with pyBigWig.open(str(path)) as reference:
        for chrom in ("chr1", "chr2"):
            expected = reference.values(chrom, 0, 1000, numpy=True)
            np.testing.assert_array_equal(bases(path, chrom, 0, 1000), expected)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compress", [True, False])
def test_either_byte_order_compressed_or_not(tmp_path: Path, order: str, compress: bool) -> None:
    path = handmade_bigwig(tmp_path / "a.bigwig", [[(5, 9, 1.5)], [(20, 30, -2.0)]], order=order, compress=compress)
    expected = np.full(40, np.nan, np.float32)
    expected[5:9], expected[20:30] = 1.5, -2.0
    np.testing.assert_array_equal(bases(path, "chr1", 0, 40), expected)


def test_a_chromosome_without_data_has_no_intervals(tmp_path: Path) -> None:
    path = write_bigwig(tmp_path / "a.bigwig", SIZES, {"chr10": [(0, 10, 1.0)]})
    with BigWig(path) as bigwig:
        assert list(bigwig.intervals("chr2", 0, 300_000)) == []


@pytest.mark.real_data
def test_a_real_track_equals_pybigwig(pilot: Path) -> None:
    path = pilot / "bigwig" / "E116-H3K4me3.pval.signal.bigwig"
    with pyBigWig.open(str(path)) as reference:
        expected = reference.values("chr22", 31_800_000, 32_900_000, numpy=True)
    np.testing.assert_array_equal(bases(path, "chr22", 31_800_000, 32_900_000), expected)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"<!DOCTYPE html><title>404</title>", "a web page or a server's error message"),
        (b'{"error": "denied"}', "a web page or a server's error message"),
        (gzip.compress(b"anything", mtime=0), "gzipped, unpack it"),
        (b"chr1\t0\t25\t1.0\n", "not a bigWig file"),
        (b"\x26\xfc", "not a bigWig file"),
        (b"\x26\xfc\x8f\x88", "cut short"),
        (b"\x26\xfc\x8f\x88" + bytes(60), "never finished"),
        (b"\xeb\xf2\x89\x87" + bytes(60), "a bigBed file"),
    ],
)
def test_what_is_not_a_bigwig_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.bigwig"
    path.write_bytes(content)
    with pytest.raises(TrackError, match=message) as caught:
        BigWig(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_and_a_folder_are_errors(tmp_path: Path) -> None:
    with pytest.raises(TrackError, match="no such file"):
        BigWig(tmp_path / "none.bigwig")
    with pytest.raises(TrackError, match=r"cannot be (opened|read)"):
        BigWig(tmp_path)


def test_a_file_cut_in_its_data_is_an_error(file: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.bigwig"
    path.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(TrackError, match="cut short or damaged"):
        read_all(path)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_damage_ends_in_an_error_or_leaves_the_data_alone(tmp_path: Path, data: st.DataObject) -> None:
    """Any prefix reads the same or is an error; any changed bytes are an error or a readable file, never a crash."""
    whole = handmade_bigwig(tmp_path / "whole.bigwig", [[(5, 9, 1.5), (9, 12, 2.0)], [(20, 30, -2.0)]])
    content, path = whole.read_bytes(), tmp_path / "damaged.bigwig"
    if data.draw(st.booleans()):
        path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
        with pytest.raises(TrackError):
            read_all(path)
    else:
        damaged = bytearray(content)
        for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
            damaged[place] = data.draw(st.integers(0, 255))
        path.write_bytes(damaged)
        try:
            with BigWig(path) as bigwig:
                for chrom in bigwig.chromosomes:
                    list(bigwig.intervals(chrom, 0, 10_000))
        except TrackError:
            pass
