"""The ingest step: from a samplesheet to the signal data set."""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pyBigWig
import pytest

from epilstm.errors import DataError, EpilstmError, GenomeError, TrackError
from epilstm.files.outputs import exclusive, sha256_file
from epilstm.genome.assembly import Assembly, load_assembly, read_regions
from epilstm.steps.ingest import track_cache
from epilstm.steps.ingest.track_cache import Source, TrackCache
from epilstm.store.arrays import open_group
from epilstm.store.binned_track import Binning, bin_track
from epilstm.store.manifests import SignalManifest, read_manifest
from epilstm.store.signal_histograms import read_histograms
from epilstm.tracks.samplesheet import Track
from support.ingest.bigwig_files import handmade_bigwig, mean_per_bin, write_bigwig
from support.ingest.epigenome import BIN, SIZES, Epigenome, tree
from support.ingest.range_server import Files, serve


@pytest.fixture
def toy(tmp_path: Path) -> Epigenome:
    toy = Epigenome(tmp_path / "in")
    toy.add("liver-H3K4me3", 1)
    toy.add("liver-DNase", 2, sha256=True)
    return toy


def file_means(toy: Epigenome, name: str, chrom: str) -> np.ndarray:
    """NaN in bins that the file does not cover."""
    return mean_per_bin(toy.intervals[name].get(chrom, []), 0, SIZES[chrom], BIN)


def expected_signal(toy: Epigenome, name: str, chrom: str) -> np.ndarray:
    return np.nan_to_num(file_means(toy, name, chrom))


def test_signal_is_the_mean_per_bin_of_each_track(toy: Epigenome, tmp_path: Path) -> None:
    toy.ingest(tmp_path / "signal")
    signal = open_group(tmp_path / "signal" / "signal.zarr")
    for chrom in SIZES:
        assert signal[chrom].shape == (2, -(-SIZES[chrom] // BIN))
        for row, name in enumerate(["liver-H3K4me3", "liver-DNase"]):
            np.testing.assert_allclose(signal[chrom][row], expected_signal(toy, name, chrom), rtol=1e-6)


@pytest.mark.parametrize("uncovered", ["gap", "missing"])
def test_the_mask_is_true_where_any_track_has_data(toy: Epigenome, tmp_path: Path, uncovered: str) -> None:
    toy.treat_uncovered_as(uncovered)
    toy.ingest(tmp_path / "signal")
    masks, signal = (open_group(tmp_path / "signal" / name) for name in ("mask.zarr", "signal.zarr"))
    manifest = read_manifest(tmp_path / "signal", SignalManifest)
    for chrom in SIZES:
        covered = np.array([~np.isnan(file_means(toy, name, chrom)) for name in toy.intervals])
        np.testing.assert_array_equal(~np.isnan(signal[chrom][:]), covered)
        np.testing.assert_array_equal(masks[chrom][:], covered.any(axis=0))
        assert manifest.bins_with_data[chrom] == np.sum(covered.any(axis=0))


def test_uncovered_bins_of_a_zero_track_are_data_in_the_regions_but_not_in_the_blacklist(tmp_path: Path) -> None:
    toy = Epigenome(tmp_path / "in")
    write_bigwig(toy.bigwig("liver-peaks"), SIZES, {"chr9": [(100, 150, 4.0)]})
    toy.list_row("liver-peaks", "bigwig/liver-peaks.bigwig")
    (tmp_path / "regions.bed").write_text("chr9\t0\t1000\nchr10\t19000\t20010\n")
    (tmp_path / "blacklist.bed").write_text("chr9\t200\t225\n")
    result = toy.ingest(tmp_path / "signal", regions=tmp_path / "regions.bed", blacklist=tmp_path / "blacklist.bed")
    signal, mask = (open_group(tmp_path / "signal" / name) for name in ("signal.zarr", "mask.zarr"))
    expected = np.zeros(40)
    expected[4:6], expected[8] = 4.0, np.nan
    np.testing.assert_array_equal(signal["chr9"][0, :40], expected)
    assert np.isnan(signal["chr9"][0, 40:]).all()
    np.testing.assert_array_equal(mask["chr9"][:40], ~np.isnan(expected))
    np.testing.assert_array_equal(signal["chr10"][0, 760:], np.zeros(41))
    assert mask["chr10"][760:].all()
    assert result.metrics["fraction_with_data"] == 80 / 81
    assert result.metrics["fraction_covered"] == 2 / 81
    manifest = read_manifest(tmp_path / "signal", SignalManifest)
    assert manifest.tracks[0].covered_fraction == 2 / 81  # of the file, whatever its gaps count as


@pytest.mark.parametrize(
    ("uncovered", "message"),
    [
        ("gap", r"95\.0% of the bins have no data in any track.* set uncovered to zero"),
        ("zero", r"95\.0% of the bins are covered by no file and count as a signal of 0.* set uncovered to gap"),
    ],
)
def test_a_high_share_of_bins_that_no_file_covers_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, uncovered: str, message: str
) -> None:
    toy = Epigenome(tmp_path / "in")
    write_bigwig(toy.bigwig("liver-peaks"), SIZES, {"chr9": [(100, 150, 4.0)]})
    toy.list_row("liver-peaks", "bigwig/liver-peaks.bigwig")
    toy.treat_uncovered_as(uncovered)
    (tmp_path / "regions.bed").write_text("chr9\t0\t1000\n")
    with caplog.at_level(logging.WARNING, logger="epilstm"):
        toy.ingest(tmp_path / "signal", regions=tmp_path / "regions.bed")
    assert any(re.search(message, line) for line in caplog.messages)


def test_intervals_of_length_0_are_skipped_with_a_count(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    toy = Epigenome(tmp_path / "in")
    blocks = [[(0, 50, 2.0), (50, 50, 7.0), (60, 60, 7.0)], [(100, 125, 3.0), (130, 130, 7.0)]]
    handmade_bigwig(toy.bigwig("liver-DNase"), blocks, chrom="chr9", size=SIZES["chr9"])
    toy.list_row("liver-DNase", "bigwig/liver-DNase.bigwig")
    for _ in range(2):  # read, and from the cache
        caplog.clear()
        with caplog.at_level(logging.WARNING, logger="epilstm"):
            toy.ingest(tmp_path / "signal", cache=tmp_path / "cache")
        assert any("liver-DNase" in line and "3 intervals of length 0 skipped" in line for line in caplog.messages)
    np.testing.assert_array_equal(open_group(tmp_path / "signal" / "signal.zarr")["chr9"][0, :6], [2, 2, 0, 0, 3, 0])


def test_sizes_that_differ_on_chromosomes_without_regions_are_no_error(tmp_path: Path) -> None:
    toy = Epigenome(tmp_path / "in")
    sizes = SIZES | {"chr11": 4_999, "chrM": 16_571}
    write_bigwig(toy.bigwig("liver-DNase"), sizes, {"chr9": [(0, 50, 2.0)], "chr11": [(0, 50, 2.0)]})
    toy.list_row("liver-DNase", "bigwig/liver-DNase.bigwig")
    (tmp_path / "regions.bed").write_text("chr9\t0\t60000\nchr10\t0\t20010\n")
    toy.ingest(tmp_path / "signal", regions=tmp_path / "regions.bed")
    assert open_group(tmp_path / "signal" / "signal.zarr")["chr9"][0, 1] == 2.0
    with pytest.raises(TrackError, match=r"chr11 is 4999 bp in the file but 5000 .* the other 2 chromosomes agree"):
        toy.ingest(tmp_path / "signal")


def test_the_manifest_holds_moments_and_coverage_of_arcsinh(toy: Epigenome, tmp_path: Path) -> None:
    result = toy.ingest(tmp_path / "signal")
    manifest = read_manifest(tmp_path / "signal", SignalManifest)
    histograms = [read_histograms(tmp_path / "signal", manifest, [chrom]) for chrom in SIZES]
    assert manifest.chromosome_sizes == SIZES
    assert manifest.regions == [(chrom, 0, size) for chrom, size in SIZES.items()]
    bins = sum(-(-size // BIN) for size in SIZES.values())
    for row, (name, track) in enumerate(zip(toy.intervals, manifest.tracks, strict=True)):
        assert (track.name, track.uri) == (name, f"bigwig/{name}.bigwig")
        assert (track.sha256, track.bytes) == (sha256_file(toy.bigwig(name)), toy.bigwig(name).stat().st_size)
        covered = 0
        for place, chrom in enumerate(SIZES):
            signal = file_means(toy, name, chrom)
            values = np.arcsinh(signal[~np.isnan(signal)])
            assert track.moments[chrom] == pytest.approx((len(values), values.sum(), (values**2).sum()), rel=1e-5)
            assert histograms[place][row].sum() == len(values)
            np.testing.assert_allclose(
                histograms[place][row], np.histogram(values, manifest.histogram_edges)[0], atol=2
            )  # float32 may fall on the other side of an edge
            covered += len(values)
        assert track.covered_fraction == covered / bins
    assert result.metrics["bins"] == bins
    assert result.metrics["covered_fraction_min"] == min(track.covered_fraction for track in manifest.tracks)
    assert result.metrics["fraction_with_data"] == sum(manifest.bins_with_data.values()) / bins


def test_bins_outside_the_regions_are_nan(toy: Epigenome, tmp_path: Path) -> None:
    bed = tmp_path / "regions.bed"
    bed.write_text("chr10\t19990\t20010\nchr9\t1010\t1990\nchr9\t40000\t41000\n")
    toy.ingest(tmp_path / "signal", regions=bed)
    manifest = read_manifest(tmp_path / "signal", SignalManifest)
    assert manifest.regions == [("chr9", 1000, 2000), ("chr9", 40000, 41000), ("chr10", 19975, 20010)]
    signal = open_group(tmp_path / "signal" / "signal.zarr")
    for row, name in enumerate(toy.intervals):
        expected = expected_signal(toy, name, "chr9")
        outside = np.ones(len(expected), bool)
        outside[40:80] = outside[1600:1640] = False
        expected[outside] = np.nan
        np.testing.assert_allclose(signal["chr9"][row], expected, rtol=1e-6)
        np.testing.assert_allclose(signal["chr10"][row, 799:], expected_signal(toy, name, "chr10")[799:], rtol=1e-6)
        assert np.isnan(signal["chr10"][row, :799]).all()
    assert "chr11" not in signal


def test_bins_that_the_blacklist_touches_have_no_data(toy: Epigenome, tmp_path: Path) -> None:
    bed = tmp_path / "blacklist.bed"
    bed.write_text("chr9\t110\t160\nchrUn\t0\t10\n")
    toy.ingest(tmp_path / "signal", blacklist=bed)
    signal = open_group(tmp_path / "signal" / "signal.zarr")
    masks = open_group(tmp_path / "signal" / "mask.zarr")
    expected = expected_signal(toy, "liver-DNase", "chr9")
    expected[4:7] = np.nan
    np.testing.assert_allclose(signal["chr9"][1], expected, rtol=1e-6)
    assert not masks["chr9"][4:7].any()
    moments = read_manifest(tmp_path / "signal", SignalManifest).tracks[1].moments["chr9"]
    covered = ~np.isnan(file_means(toy, "liver-DNase", "chr9"))
    assert moments[0] == np.sum(covered[:4]) + np.sum(covered[7:])


def test_a_track_in_the_cache_is_not_read_again(toy: Epigenome, tmp_path: Path) -> None:
    first = toy.ingest(tmp_path / "first", cache=tmp_path / "cache")
    for name in toy.intervals:  # what reads the files would now fail, but by size and time they are as before
        times = toy.bigwig(name).stat()
        toy.bigwig(name).write_bytes(bytes(times.st_size))
        os.utime(toy.bigwig(name), ns=(times.st_atime_ns, times.st_mtime_ns))
    second = toy.ingest(tmp_path / "second", cache=tmp_path / "cache")
    assert tree(tmp_path / "first") == tree(tmp_path / "second")
    assert (first.metrics["tracks_read"], second.metrics["tracks_read"]) == (2, 0)
    assert (second.metrics["tracks_reused"], second.metrics["bytes_read"]) == (2, 0)


def test_an_added_track_is_the_only_one_read(toy: Epigenome, tmp_path: Path) -> None:
    toy.ingest(tmp_path / "signal", cache=tmp_path / "cache")
    shutil.rmtree(tmp_path / "signal")  # as DVC does before it runs a stage again
    toy.add("liver-CTCF", 3)
    result = toy.ingest(tmp_path / "signal", cache=tmp_path / "cache")
    assert result.metrics["tracks_read"] == 1
    assert result.metrics["bytes_read"] == toy.bigwig("liver-CTCF").stat().st_size
    signal = open_group(tmp_path / "signal" / "signal.zarr")
    for row, name in enumerate(toy.intervals):
        np.testing.assert_allclose(signal["chr9"][row], expected_signal(toy, name, "chr9"), rtol=1e-6)


def test_a_file_that_changed_is_read_again(toy: Epigenome, tmp_path: Path) -> None:
    toy.ingest(tmp_path / "signal", cache=tmp_path / "cache")
    write_bigwig(toy.bigwig("liver-H3K4me3"), SIZES, {"chr9": [(0, 25, 7.0)]})
    result = toy.ingest(tmp_path / "signal", cache=tmp_path / "cache")
    assert result.metrics["tracks_read"] == 1
    assert open_group(tmp_path / "signal" / "signal.zarr")["chr9"][0, 0] == 7.0


@pytest.mark.parametrize("change", ["bin_size", "regions", "blacklist", "codec"])
def test_what_the_bins_follow_from_is_part_of_the_cached_tracks_name(
    toy: Epigenome, tmp_path: Path, change: str
) -> None:
    bed = tmp_path / "some.bed"
    bed.write_text("chr9\t0\t5000\n")
    toy.ingest(tmp_path / "signal", cache=tmp_path / "cache")
    if change in ("regions", "blacklist"):
        result = toy.ingest(tmp_path / "signal", cache=tmp_path / "cache", **{change: bed})
    else:
        toy.write_params(**{"bin_size": {"bin_size": 50}, "codec": {"codec": "zstd"}}[change])
        result = toy.ingest(tmp_path / "signal", cache=tmp_path / "cache")
    assert result.metrics["tracks_read"] == 2


def test_the_same_input_gives_the_same_bytes_whatever_the_workers(toy: Epigenome, tmp_path: Path) -> None:
    toy.ingest(tmp_path / "one")
    toy.write_params(workers=2)
    toy.ingest(tmp_path / "two", cache=tmp_path / "cache")
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_files_are_copied_where_they_cannot_be_linked(
    toy: Epigenome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def no_links_from_the_cache(source: Path, target: Path) -> None:
        if "cache" in Path(source).parts:
            raise OSError(errno.EXDEV, "links are not supported")
        link(source, target)

    toy.ingest(tmp_path / "linked", cache=tmp_path / "cache")
    monkeypatch.setattr(os, "link", no_links_from_the_cache)
    toy.ingest(tmp_path / "copied", cache=tmp_path / "cache")
    assert tree(tmp_path / "copied") == tree(tmp_path / "linked")


def test_without_a_cache_nothing_is_left_beside_the_output(toy: Epigenome, tmp_path: Path) -> None:
    toy.ingest(tmp_path / "out" / "signal")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["signal", "signal.record.json"]


def test_without_a_cache_an_error_leaves_what_a_rerun_can_use_and_no_more(toy: Epigenome, tmp_path: Path) -> None:
    handmade_bigwig(toy.bigwig("liver-CTCF"), [[(5, 9, np.inf)]], chrom="chr9", size=60_000)
    toy.list_row("liver-CTCF", "bigwig/liver-CTCF.bigwig")
    with pytest.raises(TrackError):
        toy.ingest(tmp_path / "out" / "signal")
    write_bigwig(toy.bigwig("liver-CTCF"), SIZES, {"chr9": [(5, 9, 1.0)]})
    assert toy.ingest(tmp_path / "out" / "signal").metrics["tracks_reused"] == 2
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["signal", "signal.record.json"]
    toy.rows[:] = toy.rows[2:]
    handmade_bigwig(toy.bigwig("liver-CTCF"), [[(5, 9, np.inf)]], chrom="chr9", size=60_000)
    toy.list_row("liver-1", "bigwig/liver-CTCF.bigwig")
    with pytest.raises(TrackError):
        toy.ingest(tmp_path / "other" / "signal")
    assert not (tmp_path / "other").exists()


def test_two_tracks_with_the_same_content_share_what_was_binned(toy: Epigenome, tmp_path: Path) -> None:
    shutil.copy(toy.bigwig("liver-DNase"), toy.bigwig("spleen-DNase"))
    toy.list_row("spleen-DNase", "bigwig/spleen-DNase.bigwig")
    toy.ingest(tmp_path / "signal", cache=tmp_path / "cache")
    signal = open_group(tmp_path / "signal" / "signal.zarr")
    np.testing.assert_array_equal(signal["chr9"][1], signal["chr9"][2])
    assert len(list((tmp_path / "cache" / "tracks").iterdir())) == 2


@pytest.mark.parametrize(("uncovered", "value"), [("zero", 0.0), ("gap", np.nan), ("missing", np.nan)])
def test_a_chromosome_that_a_file_lacks_is_warned_of(
    toy: Epigenome, tmp_path: Path, caplog: pytest.LogCaptureFixture, uncovered: str, value: float
) -> None:
    write_bigwig(toy.bigwig("liver-CTCF"), {"chr9": SIZES["chr9"]}, {"chr9": [(0, 25, 1.0)]})
    toy.list_row("liver-CTCF", "bigwig/liver-CTCF.bigwig")
    toy.treat_uncovered_as(uncovered)
    with caplog.at_level(logging.WARNING, logger="epilstm"):
        toy.ingest(tmp_path / "signal")
    chr10 = open_group(tmp_path / "signal" / "signal.zarr")["chr10"][2]
    np.testing.assert_array_equal(chr10, np.full(len(chr10), value, np.float32))
    there = "a signal of 0 there" if uncovered == "zero" else "no data there"
    assert any("liver-CTCF" in line and f"no chr10, chr11 in the file: {there}" in line for line in caplog.messages)


def test_a_zero_track_without_signal_in_the_regions_is_taken_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    toy = Epigenome(tmp_path / "in")
    write_bigwig(toy.bigwig("liver-CTCF"), SIZES, {"chr11": [(0, 25, 1.0)]})
    toy.list_row("liver-CTCF", "bigwig/liver-CTCF.bigwig")
    (tmp_path / "regions.bed").write_text("chr9\t0\t1000\nchr10\t0\t1000\n")
    with caplog.at_level(logging.WARNING, logger="epilstm"):
        toy.ingest(tmp_path / "signal", regions=tmp_path / "regions.bed")
    assert any(
        "track liver-CTCF" in line and "no signal in any region: 0 everywhere" in line for line in caplog.messages
    )
    for uncovered in ("gap", "missing"):
        toy.treat_uncovered_as(uncovered)
        with pytest.raises(TrackError, match=r"track liver-CTCF: .*no data in any region"):
            toy.ingest(tmp_path / "signal", regions=tmp_path / "regions.bed")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-4000])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.unlink(), "no such file"),
        (lambda path: path.write_bytes(b"<html>"), "a web page"),
        (lambda path: path.write_bytes(b""), "the file is empty"),
        (cut, "cut short or damaged"),
        (
            lambda path: write_bigwig(path, {"chr9": 61_000}, {}),
            "chr9 is 61000 bp in the file but 60000 in .*toy.sizes",
        ),
        (
            lambda path: write_bigwig(path, {"9": 60_000}, {}),
            r"none of the regions' chromosomes \(chr9.* is in the file \(it has 9\); '9' is called 'chr9' there",
        ),
        (lambda path: write_bigwig(path, {"chrA": 60_000}, {}), "check the assembly"),
        (lambda path: write_bigwig(path, SIZES, {}), "the file holds no signal at all"),
        (
            lambda path: handmade_bigwig(path, [[(9, 5, 1.0)]], chrom="chr9", size=60_000),
            "chr9: an interval that ends before it starts at base 9",
        ),
        (
            lambda path: handmade_bigwig(path, [[(5, 9, np.inf)]], chrom="chr9", size=60_000),
            "chr9: an infinite value at base 5",
        ),
        (
            lambda path: handmade_bigwig(path, [[(5, 9, 1), (7, 9, 1)]], chrom="chr9", size=60_000),
            "chr9: overlapping intervals at",
        ),
    ],
)
def test_an_unusable_file_is_one_line_that_names_track_and_file(
    toy: Epigenome, tmp_path: Path, spoil: object, message: str
) -> None:
    path = toy.bigwig("liver-H3K4me3")
    spoil(path)  # type: ignore[operator]
    with pytest.raises(TrackError, match=message) as caught:
        toy.ingest(tmp_path / "out" / "signal", cache=tmp_path / "cache")
    assert "liver-H3K4me3" in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_wrong_checksum_is_an_error_read_or_cached(toy: Epigenome, tmp_path: Path) -> None:
    toy.rows[0] = toy.rows[0].removesuffix(",") + "0" * 64 + ","
    toy.list_row("liver-CTCF", "bigwig/liver-DNase.bigwig")
    for _ in range(2):
        with pytest.raises(TrackError, match=r"liver-H3K4me3.*wrong checksum.*000000000000"):
            toy.ingest(tmp_path / "signal", cache=tmp_path / "cache")


def test_one_faulty_track_does_not_stop_the_others(toy: Epigenome, tmp_path: Path) -> None:
    toy.rows.clear()
    for name, value in (("a-1", np.inf), ("a-2", -np.inf)):
        handmade_bigwig(toy.bigwig(name), [[(5, 9, value)]], chrom="chr9", size=60_000)
        toy.list_row(name, f"bigwig/{name}.bigwig")
    toy.add("b-1", 3)
    with pytest.raises(TrackError, match=r"track a-1: .*\(and 1 more tracks failed\)"):
        toy.ingest(tmp_path / "signal", cache=tmp_path / "cache")
    for name in ("a-1", "a-2"):
        write_bigwig(toy.bigwig(name), SIZES, {"chr9": [(5, 9, 1.0)]})
    assert toy.ingest(tmp_path / "signal", cache=tmp_path / "cache").metrics["tracks_reused"] == 1


def test_a_region_on_an_unknown_chromosome_is_an_error(toy: Epigenome, tmp_path: Path) -> None:
    bed = tmp_path / "regions.bed"
    bed.write_text("chr77\t0\t100\n")
    with pytest.raises(GenomeError, match="chr77"):
        toy.ingest(tmp_path / "signal", regions=bed)


def test_a_file_that_changes_while_it_is_read_is_not_kept(
    toy: Epigenome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = toy.bigwig("liver-DNase")

    def slow(*arguments: object) -> object:
        track = bin_track(*arguments)  # type: ignore[arg-type]
        os.utime(path, ns=(0, 0))
        return track

    monkeypatch.setattr(track_cache, "bin_track", slow)
    binning = Binning.of(Assembly("toy", SIZES), Assembly("toy", SIZES).regions(), [], BIN, "lz4")
    cache = TrackCache(tmp_path / "cache")
    with pytest.raises(TrackError, match="changed while it was read"):
        cache.make(Source(Track("liver", "DNase", str(path)), str(path)), binning, 0)
    assert list((tmp_path / "cache" / "tracks").iterdir()) == []


def test_what_a_killed_run_left_of_a_track_is_wiped(toy: Epigenome, tmp_path: Path) -> None:
    toy.ingest(tmp_path / "whole", cache=tmp_path / "cache")
    for folder in list((tmp_path / "cache" / "tracks").iterdir()):
        partial = folder.with_name(f".{folder.name}.partial")
        folder.rename(partial)
        (partial / "track.json").unlink()
        (partial / "junk").write_text("left over")
    toy.ingest(tmp_path / "again", cache=tmp_path / "cache")
    assert tree(tmp_path / "again") == tree(tmp_path / "whole")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.name == "junk" or "partial" in path.name]


def test_two_runs_may_not_write_one_output(toy: Epigenome, tmp_path: Path) -> None:
    with exclusive(tmp_path / "signal"), pytest.raises(DataError, match="another run is writing"):
        toy.ingest(tmp_path / "signal")


class TestRemoteTracks:
    @pytest.fixture
    def files(self, toy: Epigenome) -> Files:
        return Files({"/DNase.bigwig": toy.bigwig("liver-DNase").read_bytes()})

    def test_a_track_on_a_server_is_binned_as_a_local_one(self, toy: Epigenome, files: Files, tmp_path: Path) -> None:
        files.break_after = [1000]
        with serve(files) as base:
            toy.list_row("spleen-DNase", f"{base}/DNase.bigwig")
            toy.ingest(tmp_path / "signal", cache=tmp_path / "cache")
        signal = open_group(tmp_path / "signal" / "signal.zarr")
        np.testing.assert_array_equal(signal["chr9"][1], signal["chr9"][2])
        assert list((tmp_path / "cache" / "downloads").iterdir()) == []

    def test_it_is_not_fetched_again_while_its_etag_stays(self, toy: Epigenome, files: Files, tmp_path: Path) -> None:
        with serve(files) as base:
            toy.list_row("spleen-DNase", f"{base}/DNase.bigwig")
            toy.ingest(tmp_path / "signal", cache=tmp_path / "cache")
            toy.ingest(tmp_path / "signal", cache=tmp_path / "cache")
            assert len(files.gets) == 1
            files.etag = '"2"'
            toy.ingest(tmp_path / "signal", cache=tmp_path / "cache")
            assert len(files.gets) == 2

    def test_with_a_checksum_the_server_need_not_be_there(self, toy: Epigenome, files: Files, tmp_path: Path) -> None:
        with serve(files) as base:
            toy.list_row("spleen-DNase", f"{base}/DNase.bigwig", sha256_file(toy.bigwig("liver-DNase")))
            toy.ingest(tmp_path / "signal", cache=tmp_path / "cache")
        assert toy.ingest(tmp_path / "signal", cache=tmp_path / "cache").metrics["tracks_reused"] == 3

    def test_what_is_not_there_is_named(self, toy: Epigenome, files: Files, tmp_path: Path) -> None:
        with serve(files) as base:
            toy.list_row("spleen-DNase", f"{base}/none.bigwig")
            with pytest.raises(EpilstmError, match=r"spleen-DNase: .*none.bigwig: the server answers 404"):
                toy.ingest(tmp_path / "signal")

    def test_a_web_page_in_its_place_is_named_by_its_address(
        self, toy: Epigenome, files: Files, tmp_path: Path
    ) -> None:
        files.content["/page"] = b"<html>log in</html>"
        with serve(files) as base:
            toy.list_row("spleen-DNase", f"{base}/page")
            with pytest.raises(EpilstmError, match=rf"{base}/page.*a web page"):
                toy.ingest(tmp_path / "signal")


@pytest.mark.real_data
def test_real_tracks_equal_pybigwig_by_the_fields_recipe(pilot: Path, tmp_path: Path) -> None:
    assembly = load_assembly("hg19")
    bed = read_regions(pilot / "pilot-regions.bed", assembly, 25)
    path = pilot / "bigwig" / "E116-H3K36me3.pval.signal.bigwig"
    binned = bin_track(path, "x", Binning.of(assembly, bed, [], 25, "lz4"), tmp_path)
    assert binned.covered == 862_140
    signal = open_group(tmp_path / "signal.zarr")
    with pyBigWig.open(str(path)) as reference:
        for region in bed[::6]:
            bases = np.nan_to_num(reference.values(region.chrom, region.start, region.end, numpy=True))
            expected = bases.reshape(-1, 25).mean(axis=1, dtype=np.float64)
            actual = signal[region.chrom][0, region.start // 25 : region.end // 25]
            np.testing.assert_allclose(actual, expected, rtol=1e-6)
