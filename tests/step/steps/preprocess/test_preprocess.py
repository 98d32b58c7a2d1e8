"""The preprocess step: from the signal data set to the matrix."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from epilstm.errors import DataError, GenomeError
from epilstm.files.outputs import MANIFEST, exclusive, fingerprint
from epilstm.genome.assembly import bins_of
from epilstm.store.arrays import open_group
from epilstm.store.manifests import (
    MatrixManifest,
    ReferenceHistograms,
    Scaler,
    parse_manifest,
    read_manifest,
    scaler_digest,
)
from epilstm.store.matrix_writing import workers_within
from support.nonempty import nonempty
from support.preprocess.preprocess_runs import run, tree
from support.preprocess.signal_folder import random_signal, write_signal

#: chr1 is longer than a shard of the matrix.
BINS = {"chr1": 130_250, "chr2": 730, "chr3": 400}


@pytest.fixture(scope="module")
def signal() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(4)
    return {chrom: random_signal(rng, 3, bins) for chrom, bins in BINS.items()}


@pytest.fixture
def folder(tmp_path: Path, signal: dict[str, np.ndarray]) -> Path:
    write_signal(tmp_path / "signal", signal)
    return tmp_path


def scaler_of(folder: Path) -> Scaler:
    path = folder / "matrix" / "scaler.json"
    return parse_manifest(json.loads(path.read_text()), Scaler, path)


def expected_matrix(raw: np.ndarray, scaler: Scaler, bins: int) -> np.ndarray:
    """(bin, track) values of a (track, bin) signal, lengthened to `bins`."""
    whole = np.zeros((bins, len(raw)))
    whole[: raw.shape[1]] = np.nan_to_num(raw.T)
    return (np.arcsinh(whole) - scaler.mean) / scaler.scale


def test_the_matrix_is_the_standardised_signal_bins_by_tracks(folder: Path, signal: dict[str, np.ndarray]) -> None:
    run(folder)
    matrix, scaler = open_group(folder / "matrix" / "matrix.zarr"), scaler_of(folder)
    for chrom, bins in {"chr1": 130_300, "chr2": 800, "chr3": 400}.items():  # whole frames of 100
        assert matrix[chrom].shape == (bins, 3)
        assert matrix[chrom].dtype == np.float16
        expected = expected_matrix(signal[chrom], scaler, bins)
        np.testing.assert_allclose(matrix[chrom][:], expected, rtol=1e-3, atol=1e-3)


def test_the_mask_is_the_signals_and_false_in_what_completes_the_last_frame(
    folder: Path, signal: dict[str, np.ndarray]
) -> None:
    run(folder)
    masks = open_group(folder / "matrix" / "mask.zarr")
    for chrom, raw in nonempty(signal.items()):
        covered = ~np.isnan(raw).all(axis=0)
        np.testing.assert_array_equal(masks[chrom][: len(covered)], covered)
        assert not masks[chrom][len(covered) :].any()
        assert masks[chrom].shape[0] % 100 == 0


def test_the_manifest_says_what_it_follows_from(folder: Path, signal: dict[str, np.ndarray]) -> None:
    result = run(folder)
    manifest = read_manifest(folder / "matrix", MatrixManifest)
    assert manifest.regions == [("chr1", 0, 130_300 * 25), ("chr2", 0, 800 * 25), ("chr3", 0, 400 * 25)]
    assert (manifest.split.train, manifest.split.validation, manifest.split.test) == (["chr1"], ["chr2"], ["chr3"])
    assert manifest.signal_fingerprint == fingerprint(folder / "signal")
    assert manifest.scaler_sha256 == scaler_digest(scaler_of(folder))
    assert [manifest.bins(chrom) for chrom in BINS] == [130_300, 800, 400]
    with_data = sum(int((~np.isnan(raw).all(axis=0)).sum()) for raw in signal.values())
    assert result.metrics == {
        "tracks": 3,
        "bins": 131_500,
        "frames": 1315,
        "train_bins": 130_300,
        "validation_bins": 800,
        "test_bins": 400,
        "bins_with_data": with_data,
        "fraction_with_data": with_data / 131_500,
    }


def test_reference_histograms_lie_beside_the_matrix(folder: Path) -> None:
    run(folder)
    path = folder / "matrix" / "histograms.json"
    reference = parse_manifest(json.loads(path.read_text()), ReferenceHistograms, path)
    manifest = read_manifest(folder / "matrix", MatrixManifest)
    assert reference.tracks == manifest.tracks
    assert [sum(counts) for counts in reference.counts] == [manifest.bins_with_data["chr1"]] * 3


def test_bins_outside_the_widened_regions_are_nan_and_take_no_space(
    tmp_path: Path, signal: dict[str, np.ndarray]
) -> None:
    regions = [
        ("chr1", 230 * 25, 420 * 25),
        ("chr1", 480 * 25, 490 * 25),
        ("chr2", 700 * 25, 730 * 25),
        ("chr3", 0, 400 * 25),
    ]
    kept = {chrom: np.full_like(raw, np.nan) for chrom, raw in signal.items()}
    for chrom, start, end in regions:
        kept[chrom][:, start // 25 : end // 25] = signal[chrom][:, start // 25 : end // 25]
    write_signal(tmp_path / "signal", kept, regions=regions)
    run(tmp_path)
    manifest = read_manifest(tmp_path / "matrix", MatrixManifest)
    assert [bins_of(region, 25) for region in manifest.region_list()] == [(200, 500), (700, 800), (0, 400)]
    matrix, scaler = open_group(tmp_path / "matrix" / "matrix.zarr"), scaler_of(tmp_path)
    expected = expected_matrix(kept["chr1"], scaler, 130_300)
    np.testing.assert_allclose(matrix["chr1"][200:500], expected[200:500], rtol=1e-3, atol=1e-3)
    assert np.isnan(matrix["chr1"][:200]).all()
    assert np.isnan(matrix["chr1"][500:]).all()
    assert [path.name for path in (tmp_path / "matrix" / "matrix.zarr" / "chr1" / "c").iterdir()] == ["0"]


def test_a_frame_that_begins_a_shard_past_the_chromosomes_end_counts_as_no_signal(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    signal = {chrom: random_signal(rng, 2, bins) for chrom, bins in {"chr1": 99_500, "chr2": 700, "chr3": 400}.items()}
    write_signal(tmp_path / "signal", signal)
    run(tmp_path, frame_bins=3_000)
    matrix = open_group(tmp_path / "matrix" / "matrix.zarr")
    expected = expected_matrix(signal["chr1"], scaler_of(tmp_path), 102_000)
    np.testing.assert_allclose(matrix["chr1"][:], expected, rtol=1e-3, atol=1e-3)


def test_workers_keep_within_a_gigabyte() -> None:
    assert workers_within(2, tracks=1014) == workers_within(64, tracks=1014) == 2
    assert workers_within(4, tracks=25) == 4
    assert workers_within(64, tracks=25) < 8
    assert workers_within(8, tracks=10_000) == workers_within(1, tracks=1) == 1


@pytest.mark.parametrize("codec", ["none", "zstd"])
def test_the_codec_changes_no_value(folder: Path, codec: str) -> None:
    run(folder)
    run(folder, "other", codec=codec)
    for chrom in BINS:
        np.testing.assert_array_equal(
            open_group(folder / "matrix" / "matrix.zarr")[chrom][:],
            open_group(folder / "other" / "matrix.zarr")[chrom][:],
        )


def test_the_same_signal_gives_the_same_bytes_whatever_the_workers(folder: Path) -> None:
    run(folder)
    run(folder, "again", workers=2)
    assert tree(folder / "matrix") == tree(folder / "again")


def test_a_split_chromosome_that_is_not_there_leaves_nothing(folder: Path) -> None:
    with pytest.raises(GenomeError, match="'chr7' is not in the data"):
        run(folder, split={"validation": ["chr7"], "test": ["chr3"]})
    assert not (folder / "matrix").exists()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda signal: (signal / MANIFEST).unlink(), "run the step that writes it"),
        (lambda signal: (signal / MANIFEST).write_text('{"format": "epilstm.matrix/1"}'), "not a SignalManifest"),
        (lambda signal: (signal / "histograms.npy").unlink(), "histograms.npy: cannot be read"),
        (lambda signal: np.save(signal / "histograms.npy", np.zeros((2, 2, 2))), "the manifest says"),
        (lambda signal: (signal / "signal.zarr").rename(signal / "gone"), "signal.zarr: no array for"),
        (lambda signal: (signal / "mask.zarr").rename(signal / "gone"), "mask.zarr: no Zarr group"),
        (lambda signal: shutil.rmtree(signal / "signal.zarr" / "chr2" / "c"), "the files of .* are missing"),
        (lambda signal: shutil.rmtree(signal / "mask.zarr" / "chr2" / "c"), "chr2 has 0 bins with data"),
    ],
)
def test_a_damaged_signal_is_one_line(folder: Path, spoil: object, message: str) -> None:
    spoil(folder / "signal")  # type: ignore[operator]
    with pytest.raises(DataError, match=message):
        run(folder)
    assert not (folder / "matrix").exists()


def test_two_runs_may_not_write_one_output(folder: Path) -> None:
    with exclusive(folder / "matrix"), pytest.raises(DataError, match="another run is writing"):
        run(folder)
