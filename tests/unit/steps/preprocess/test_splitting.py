"""Intervals of chromosomes held out of training."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from epilstm.errors import GenomeError, ParamsError
from epilstm.genome.assembly import Region
from epilstm.params import PreprocessParams, SplitParams, validate
from epilstm.runtime.runner import StepResult, run_step
from epilstm.runtime.step_table import STEPS
from epilstm.steps.preprocess.splitting import split_regions
from epilstm.store.arrays import open_group
from epilstm.store.manifests import MatrixManifest, ReferenceHistograms, SignalManifest, read_manifest
from epilstm.store.matrix import Matrix
from support.nonempty import nonempty
from support.preprocess.signal_folder import random_signal, write_signal

#: Of 20 bins of 25 bp: 500 bp. The chromosome's last frame has 13 bins.
FRAME_BINS, BINS = 20, 1_993


@pytest.fixture
def signal(tmp_path: Path) -> dict[str, np.ndarray]:
    return {"chr1": random_signal(np.random.default_rng(8), 3, BINS)}


def split_of(folder: Path, **params: Any) -> tuple[dict[str, list[Region]], dict[str, int]]:
    manifest = read_manifest(folder, SignalManifest)
    masks = {chrom: open_group(folder / "mask.zarr")[chrom][:] for chrom in manifest.chromosomes}
    split, bins = split_regions(manifest, SplitParams(by="region", **params), FRAME_BINS, masks)
    return {use: [Region.parse(place) for place in places] for use, places in split.model_dump().items()}, bins


def preprocess(tmp_path: Path, split: dict[str, Any], **params: Any) -> StepResult:
    content = {"preprocess": {"split": split, "frame_bins": FRAME_BINS, "workers": 1, **params}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    paths = {"signal": tmp_path / "signal", "matrix": tmp_path / "matrix"}
    return run_step(STEPS["preprocess"], tmp_path / "params.yaml", paths, frozenset())


def test_named_intervals_are_cut_at_frames_and_the_rest_trains(signal: dict[str, np.ndarray], tmp_path: Path) -> None:
    folder = write_signal(tmp_path / "signal", signal)
    split, bins = split_of(folder, validation=["chr1:10,100-20400"], test=[f"chr1:40000-{BINS * 25}"])
    assert split["validation"] == [Region("chr1", 10_000, 20_000)]
    assert split["test"] == [Region("chr1", 40_000, BINS * 25)]
    assert split["train"] == [Region("chr1", 0, 10_000), Region("chr1", 20_000, 40_000)]
    with_data = ~np.isnan(signal["chr1"]).all(axis=0)
    assert bins == {
        "validation": with_data[400:800].sum(), "test": with_data[1600:].sum(),
        "train": with_data[:400].sum() + with_data[800:1600].sum(),
    }  # fmt: skip


def test_shares_are_drawn_in_whole_frames_that_share_nothing(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    signals = {chrom: random_signal(rng, 2, bins, missing=0) for chrom, bins in (("chr1", 8_000), ("chr2", 1_990))}
    folder = write_signal(tmp_path / "signal", signals)
    split, _ = split_of(folder, validation=0.1, test=0.2, seed=3)
    owner = {chrom: np.zeros(len(values[0]), int) for chrom, values in signals.items()}
    for use, mark in (("train", 1), ("validation", 2), ("test", 4)):
        for region in nonempty(split[use]):
            assert region.start % (FRAME_BINS * 25) == 0
            owner[region.chrom][region.start // 25 : -(-region.end // 25)] += mark
    marks = np.concatenate(list(owner.values()))
    assert sorted(set(marks.tolist())) == [1, 2, 4]
    assert np.mean(marks == 2) == pytest.approx(0.1, abs=0.01)
    assert np.mean(marks == 4) == pytest.approx(0.2, abs=0.01)
    assert split_of(folder, validation=0.1, test=0.2, seed=3)[0] == split
    assert split_of(folder, validation=0.1, test=0.2, seed=4)[0] != split


def test_statistics_are_those_of_the_training_intervals(signal: dict[str, np.ndarray], tmp_path: Path) -> None:
    write_signal(tmp_path / "signal", signal)
    result = preprocess(
        tmp_path, {"by": "region", "validation": ["chr1:0-10000"], "test": ["chr1:20000-30000"]}, clip=1000
    )
    training = np.delete(signal["chr1"], np.r_[0:400, 800:1200], axis=1).astype(np.float64)
    training = np.arcsinh(np.nan_to_num(training[:, ~np.isnan(training).all(axis=0)]))
    matrix = Matrix(tmp_path / "matrix")
    everywhere = np.arcsinh(np.nan_to_num(signal["chr1"].astype(np.float64)))
    expected = ((everywhere - training.mean(axis=1, keepdims=True)) / training.std(axis=1, keepdims=True)).T
    values = np.concatenate([matrix.rows(block) for block in matrix.blocks()])[:BINS]
    np.testing.assert_allclose(values, expected, rtol=1e-3, atol=1e-3)
    manifest = read_manifest(tmp_path / "matrix", MatrixManifest)
    assert manifest.split.validation == ["chr1:0-10000"]
    assert manifest.bins_used_for("train") == training.shape[1]
    assert result.metrics["train_bins"] == 1_200
    assert result.metrics["test_bins"] == 400
    histograms = ReferenceHistograms.model_validate_json((tmp_path / "matrix" / "histograms.json").read_text())
    assert np.sum(histograms.counts[0]) == training.shape[1]
    np.testing.assert_array_equal(histograms.counts[0], np.histogram(training[0], histograms.edges)[0])


def test_blocks_of_a_use_are_its_intervals_and_the_last_frame_belongs_to_the_last(
    signal: dict[str, np.ndarray], tmp_path: Path
) -> None:
    write_signal(tmp_path / "signal", signal)
    preprocess(tmp_path, {"by": "region", "validation": ["chr1:0-10000"], "test": [f"chr1:40000-{BINS * 25}"]})
    matrix = Matrix(tmp_path / "matrix")
    split = matrix.manifest.split
    assert [(block.first, block.last) for block in matrix.blocks(split.validation)] == [(0, 400)]
    assert [(block.first, block.last) for block in matrix.blocks(split.train)] == [(400, 1600)]
    assert [(block.first, block.last) for block in matrix.blocks(split.test)] == [(1600, 2000)]
    assert matrix.manifest.use_of(Region("chr1", 12_000, 13_000)) == "train"
    assert matrix.manifest.use_of(Region("chr1", 41_000, 42_000)) == "test"
    assert matrix.manifest.use_of(Region("chr1", 9_000, 13_000)) is None


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ({"validation": ["chr1:0-10000"], "test": ["chr1:9000-20000"]}, "chr1:0-10000 and chr1:9000-20000 overlap"),
        ({"validation": ["chr1:0-10000"], "test": ["chr2:0-500"]}, "test: chr2:0-500: no such chromosome .* has chr1"),
        ({"validation": ["chr1:0-10000"], "test": ["chr1:0-99999999"]}, "the end at most 49,825"),
        ({"validation": ["chr1:0-10000"], "test": ["chr1:20100-20200"]}, "in whole frames of 500 bp"),
        ({"validation": ["chr1:0-20000"], "test": ["chr1:20000-49825"]}, "no bin with data is left for training"),
    ],
)
def test_intervals_that_cannot_be_held_out_are_named(
    signal: dict[str, np.ndarray], tmp_path: Path, split: dict[str, list[str]], message: str
) -> None:
    folder = write_signal(tmp_path / "signal", signal)
    with pytest.raises(GenomeError, match=rf"^preprocess\.split.*{message}"):
        split_of(folder, **split)


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ({"validation": 0.1, "test": 0.2}, "shares need by: region"),
        ({"by": "region", "validation": 0.5, "test": 0.5}, "should leave something to train on"),
        ({"by": "region", "validation": 0.5, "test": ["chr1"]}, "both as lists, or both as shares"),
        ({"by": "region", "validation": 1.5, "test": 0.5}, "validation: a share should be above 0 and below 1"),
        ({"by": "region", "validation": [], "test": 0.5}, "validation: list should have at least 1 item"),
        (
            {"validation": ["chr1:0-500"], "test": ["chr2"]},
            "chr1:0-500 is an interval of a chromosome, which needs by: region",
        ),
        ({"by": "bins", "validation": 0.1, "test": 0.2}, "by: input should be 'chromosome' or 'region'"),
    ],
)
def test_params_that_do_not_fit_together_are_refused(split: dict[str, Any], message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        validate(PreprocessParams, {"split": split}, "preprocess")


def test_with_one_chromosome_the_message_says_how_to_split_by_region(
    signal: dict[str, np.ndarray], tmp_path: Path
) -> None:
    write_signal(tmp_path / "signal", signal)
    with pytest.raises(
        GenomeError, match=r"'chr3' is not in the data.*split by region \(preprocess\.split: \{by: region"
    ):
        preprocess(tmp_path, {"validation": ["chr3"], "test": ["chr1"]})


def test_a_track_with_few_distinct_values_is_warned_of_and_its_values_are_bounded(
    signal: dict[str, np.ndarray], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    signal["chr1"][1] = 2.5
    signal["chr1"][1, 1900] = 1.3
    signal["chr1"][1, 100] = 1e4
    write_signal(tmp_path / "signal", signal)
    split = {"by": "region", "validation": ["chr1:0-10000"], "test": ["chr1:20000-30000"]}
    with caplog.at_level(logging.WARNING, logger="epilstm"):
        preprocess(tmp_path, split, clip=20)
    few = [line for line in caplog.messages if "distinct values" in line]
    assert len(few) == 1
    assert "track cell1-DNase: track1.bigwig: only 2 distinct values in the training bins (1.3, 2.5)" in few[0]
    cut = next(line for line in caplog.messages if "standard deviations" in line)
    assert cut.startswith("2 values of 1 track lie beyond 20 standard deviations")
    assert "cell1-DNase 2" in cut
    rows = Matrix(tmp_path / "matrix").rows(Matrix(tmp_path / "matrix").regions[0])
    assert (rows[1900, 1], rows[100, 1], np.nanmax(np.abs(rows))) == (-20, 20, 20)
