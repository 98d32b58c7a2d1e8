"""Signal that the client sends: ingest's own, bit for bit, whatever the pieces in which it is read."""

from __future__ import annotations

import gzip
from dataclasses import replace

import numpy as np
import pyBigWig
import pytest

from epilstm.errors import GenomeError, SamplesheetError
from epilstm.genome.assembly import Assembly, Region, load_assembly, read_blacklist, read_regions
from epilstm.serving.client.embedding import parse_region
from epilstm.store.arrays import open_group
from epilstm.store.binned_track import Binning, window_means
from epilstm.store.samplesheet_signal import ChromosomeSignal, Digest, check_files, files_of
from epilstm.tracks.bigwig import BigWig
from epilstm.tracks.identity import TrackSet
from support.client.fixtures import REGIONS, SIZES
from support.export.small_model import SCALER


@pytest.fixture
def binning(place) -> Binning:
    assembly = load_assembly(str(place.sizes))
    regions = read_regions(place.regions, assembly, 25)
    return Binning.of(assembly, regions, read_blacklist(place.blacklist, assembly), 25, "lz4")


@pytest.mark.parametrize("step", [37, 400, 100_000])
@pytest.mark.parametrize(("chrom", "start", "end"), REGIONS)
def test_signal_is_what_ingest_stores(place, binning, ingested, tmp_path, chrom, start, end, step):
    rows = {track: number for number, track in enumerate(reversed(SCALER.tracks))}
    stored = np.asarray(open_group(ingested / "signal.zarr")[chrom][:])[[rows[track] for track in SCALER.tracks]]
    first, last = start // 25, -(-end // 25)
    files = files_of(SCALER.track_set, place.sheet, tmp_path)
    with ChromosomeSignal(files, binning, chrom) as signal:
        pieces = [signal.rows(at, min(at + step, last), last) for at in range(first, last, step)]
    np.testing.assert_array_equal(np.concatenate(pieces).T.view("u4"), stored[:, first:last].view("u4"))
    # What no file covers is 0, and what the blacklist touches has no data.
    assert (stored[:, first:last] == 0).any()


def test_a_track_given_as_gzipped_bedgraph_is_read_as_its_bigwig(place, binning, tmp_path):
    files = files_of(SCALER.track_set, place.sheet, tmp_path)[:1]
    with pyBigWig.open(str(files[0].path)) as bigwig:
        rows = [(chrom, *each) for chrom in bigwig.chroms() for each in bigwig.intervals(chrom) or ()]
    text = tmp_path / "track.txt"
    text.write_bytes(gzip.compress("".join("\t".join(map(repr, row)) + "\n" for row in rows).replace("'", "").encode()))
    found = []
    for given in (files, [replace(files[0], path=text)]):
        with ChromosomeSignal(check_files(given, binning, tmp_path), binning, "chr9") as signal:
            found.append(signal.rows(0, 1_000, 1_000).copy())
    np.testing.assert_array_equal(found[0], found[1])


def test_overlapping_windows_see_the_same_bins(place, binning, tmp_path):
    files = files_of(SCALER.track_set, place.sheet, tmp_path)
    with ChromosomeSignal(files, binning, "chr9") as signal:
        one = signal.rows(400, 700, 1_000).copy()
        two = signal.rows(600, 1_000, 1_000)
        back = signal.rows(400, 700, 700)
    np.testing.assert_array_equal(one[200:], two[:100])
    np.testing.assert_array_equal(one, back)


def test_no_more_signal_is_held_than_a_few_values_a_track(place, binning, tmp_path, monkeypatch):
    monkeypatch.setattr("epilstm.store.samplesheet_signal.HELD_VALUES", 700)
    files = files_of(SCALER.track_set, place.sheet, tmp_path)
    with ChromosomeSignal(files, binning, "chr9") as signal:
        signal.rows(400, 450, 10_000)
        assert len(signal._rows) == 100


def test_the_digest_is_of_the_signal_not_of_its_pieces(binning):
    values = np.random.default_rng(0).random((10, 7)).astype(np.float32)
    digests = []
    for cut in (3, 8):
        digest = Digest(SCALER.track_set, binning)
        digest.add(values[:cut])
        digest.add(values[cut:])
        digests.append(digest.hexdigest())
    other = Digest(SCALER.track_set, binning)
    other.add(values[::-1])
    assert digests[0] == digests[1] != other.hexdigest()


def test_bins_are_what_the_model_wants_whatever_the_samplesheet_says(place, tmp_path):
    files = files_of(SCALER.track_set.select([0, 1]), place.sheet, tmp_path, uncovered=["zero", "missing"])
    assert [file.track.uncovered for file in files] == ["zero", "missing"]
    sizes = Assembly("toy", SIZES)
    binning = Binning.of(sizes, sizes.regions(), [], 25, "lz4")
    with ChromosomeSignal(files, binning, "chr9") as signal:
        rows = signal.rows(0, 400, 400)
    with BigWig(files[1].path) as bigwig:
        over_all = window_means(bigwig, binning, "chr9", 0, 400)
        over_covered = window_means(bigwig, binning, "chr9", 0, 400, "missing")
    np.testing.assert_array_equal(rows[:, 1], over_covered)
    assert np.nanmax(np.abs(over_covered)) >= np.nanmax(np.abs(over_all))
    assert not np.array_equal(over_all, over_covered, equal_nan=True)


def test_missing_tracks_are_reported_in_one_line(place, tmp_path):
    with pytest.raises(SamplesheetError, match=r"has no E777-x, E778-x: 2 of the model's 3 tracks; add their rows"):
        files_of(TrackSet.of_names(["E777-x", SCALER.tracks[0], "E778-x"]), place.sheet, tmp_path)


def test_regions_are_read_as_browsers_write_them():
    assembly = Assembly("toy", SIZES)
    assert parse_region("chr9:1,000-2,000", assembly) == Region("chr9", 1_000, 2_000)
    assert parse_region("chr10", assembly) == Region("chr10", 0, 40_010)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("chr9:5-5", "start must be below end"),
        ("chr9:0-300021", "end at most 300,020"),
        ("chr9:1-2-3", "not a region"),
        ("chr9:a-b", "not a region"),
        ("", "not a region"),
        ("9:0-100", "is not in assembly"),
    ],
)
def test_what_is_no_region_is_refused(text, problem):
    with pytest.raises(GenomeError, match=problem):
        parse_region(text, Assembly("toy", SIZES))
