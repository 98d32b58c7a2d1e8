"""Statistics of the training chromosomes, and the values made with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from epilstm.errors import DataError, GenomeError
from epilstm.steps.preprocess.standardise import fit_scaler, reference_histograms
from epilstm.steps.preprocess.training_counts import TrainingCounts, training_counts
from epilstm.store.chromosome_split import split_chromosomes
from epilstm.store.manifests import SignalManifest, read_manifest
from epilstm.tracks.signal_transform import Uncovered
from support.nonempty import nonempty
from support.preprocess.signal_folder import random_signal, write_signal


@pytest.fixture
def signal() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(8)
    return {chrom: random_signal(rng, 3, bins) for chrom, bins in (("chr9", 900), ("chr10", 500), ("chr11", 400))}


def manifest_of(signal: dict[str, np.ndarray], folder: Path) -> SignalManifest:
    return read_manifest(write_signal(folder / "signal", signal), SignalManifest)


def training_bins(signal: dict[str, np.ndarray], chromosomes: list[str]) -> np.ndarray:
    """arcsinh of the (track, bin) signal where any track has data, no data as 0."""
    joined = np.concatenate([signal[chrom] for chrom in chromosomes], axis=1).astype(float)
    return np.arcsinh(np.nan_to_num(joined[:, ~np.isnan(joined).all(axis=0)]))


def test_mean_and_scale_are_those_of_the_training_bins_with_data(signal: dict[str, np.ndarray], tmp_path: Path) -> None:
    manifest = manifest_of(signal, tmp_path)
    scaler = fit_scaler(manifest, split_chromosomes(manifest, ["chr10"], []).train)
    values = training_bins(signal, ["chr9", "chr11"])
    np.testing.assert_allclose(scaler.mean, values.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(scaler.scale, values.std(axis=1), rtol=1e-10)
    assert scaler.tracks == ["cell0-DNase", "cell1-DNase", "cell2-DNase"]


def test_held_out_chromosomes_do_not_move_the_statistics(signal: dict[str, np.ndarray], tmp_path: Path) -> None:
    manifest = manifest_of(signal, tmp_path / "a")
    split = split_chromosomes(manifest, ["chr10"], ["chr11"])
    before = fit_scaler(manifest, split.train)
    signal["chr10"] = signal["chr10"] * 50
    signal["chr11"] = signal["chr11"] + 7
    assert fit_scaler(manifest_of(signal, tmp_path / "b"), split.train) == before


def test_reference_histograms_count_the_training_bins_with_data(signal: dict[str, np.ndarray], tmp_path: Path) -> None:
    manifest = manifest_of(signal, tmp_path)
    split = split_chromosomes(manifest, ["chr10"], [])
    counts = training_counts(tmp_path / "signal", manifest, split)
    reference = reference_histograms(counts, range(len(manifest.tracks)), manifest.track_set)
    for row, values in nonempty(enumerate(training_bins(signal, ["chr9", "chr11"]))):
        assert reference.counts[row] == np.histogram(values, reference.edges)[0].tolist()


def test_chromosomes_that_are_not_held_out_train(signal: dict[str, np.ndarray], tmp_path: Path) -> None:
    split = split_chromosomes(manifest_of(signal, tmp_path), ["chr11"], ["chr9"])
    assert (split.train, split.validation, split.test) == (["chr10"], ["chr11"], ["chr9"])


def test_a_held_out_chromosome_must_be_in_the_signal_and_have_data(
    signal: dict[str, np.ndarray], tmp_path: Path
) -> None:
    signal["chr10"][:] = np.nan
    manifest = manifest_of(signal, tmp_path)
    with pytest.raises(GenomeError, match=r"split.test: chromosome 'chr77' is not in the data; .* are chr9, chr11"):
        split_chromosomes(manifest, ["chr9"], ["chr77"])
    with pytest.raises(GenomeError, match=r"split.validation: chromosome 'chr10' has no data"):
        split_chromosomes(manifest, ["chr10"], ["chr9"])


def test_something_must_be_left_to_train_on(signal: dict[str, np.ndarray], tmp_path: Path) -> None:
    with pytest.raises(GenomeError, match="no chromosome is left to train on"):
        split_chromosomes(manifest_of(signal, tmp_path), ["chr9", "chr10"], ["chr11"])


def treated(manifest: SignalManifest, uncovered: Uncovered) -> SignalManifest:
    tracks = [track.model_copy(update={"uncovered": uncovered}) for track in manifest.tracks]
    return manifest.model_copy(update={"tracks": tracks})


def test_a_zero_track_without_signal_to_train_on_is_named(signal: dict[str, np.ndarray], tmp_path: Path) -> None:
    signal["chr9"][1] = np.nan
    manifest = manifest_of(signal, tmp_path)
    with pytest.raises(
        DataError, match=r"track cell1-DNase: track1.bigwig: a signal of 0 in every bin of the training"
    ):
        fit_scaler(manifest, ["chr9"])


@pytest.mark.parametrize("uncovered", ["gap", "missing"])
def test_a_track_without_data_to_train_on_is_named(
    signal: dict[str, np.ndarray], tmp_path: Path, uncovered: Uncovered
) -> None:
    signal["chr9"][1] = np.nan
    manifest = treated(manifest_of(signal, tmp_path), uncovered)
    with pytest.raises(DataError, match=r"track cell1-DNase: track1.bigwig: no data on the training chromosomes"):
        fit_scaler(manifest, split_chromosomes(manifest, ["chr10"], ["chr11"]).train)


@pytest.mark.parametrize("value", [0.0, 0.1, 12345.678])
def test_a_track_that_never_changes_is_named(signal: dict[str, np.ndarray], tmp_path: Path, value: float) -> None:
    signal["chr9"][2] = value
    signal["chr9"][:, 5] = 1.0
    signal["chr9"][2, 5] = value
    manifest = manifest_of(signal, tmp_path)
    with pytest.raises(
        DataError, match=rf"track cell2-DNase: .*{'the same value' if value else 'a signal of 0'} in every bin"
    ):
        fit_scaler(manifest, split_chromosomes(manifest, ["chr10"], ["chr11"]).train)


def test_bins_without_data_are_left_out_where_uncovered_bases_are_missing(
    signal: dict[str, np.ndarray], tmp_path: Path
) -> None:
    manifest = manifest_of(signal, tmp_path)
    tracks = [manifest.tracks[0], manifest.tracks[1].model_copy(update={"transform": "none", "uncovered": "missing"})]
    moments = dict.fromkeys(manifest.chromosomes, (10, 5.0, 4.0))
    tracks[1] = tracks[1].model_copy(update={"moments": moments})
    manifest = manifest.model_copy(update={"tracks": tracks})
    split = split_chromosomes(manifest, ["chr10"], ["chr11"])
    scaler = fit_scaler(manifest, split.train)
    assert scaler.transforms == ["arcsinh", "none"]
    assert scaler.uncovered_bases == ["zero", "missing"]
    assert (scaler.mean[1], scaler.scale[1]) == pytest.approx((0.5, 0.15**0.5))
    counts = np.zeros((2, len(manifest.histogram_edges) - 1), np.int64)
    counts[:, 3] = 10
    counted = TrainingCounts(manifest, counts, tuple(manifest.region_list(["chr9"])))
    reference = reference_histograms(counted, [0, 1], manifest.track_set)
    assert sum(reference.counts[0]) == manifest.bins_with_data["chr9"]
    assert sum(reference.counts[1]) == 10
