"""The monitor with a model that has a context level: blocks are run with the frames around them."""

from __future__ import annotations

import numpy as np
import pytest

from epilstm.genome.bin_range import BinRange
from epilstm.model.chunks import context_bins
from epilstm.model.folder import load_model
from epilstm.model.windows import encode_bins, reconstruct_bins
from epilstm.steps.monitor.command import load_network, read_reference
from epilstm.steps.monitor.measurement import Tally, measure_same_bins
from epilstm.store.matrix import Matrix
from epilstm.store.signal import SignalReader
from support.monitor.new_tracks import read_signal, replicate, write_signal_like


def test_a_block_is_embedded_as_its_whole_region_is(small, with_context, monkeypatch):
    monkeypatch.setattr("epilstm.model.chunks.CONTEXT_FRAMES", 64)  # more would reach the region's ends
    reference = read_reference(small / "matrix")
    model = load_network(with_context / "model", reference, 1)
    network, manifest = load_model(with_context / "model")
    assert (model.size, model.margin, model.frame) == (3, context_bins(manifest.config), 100)
    matrix = Matrix(small / "matrix")
    [region] = [each for each in matrix.regions if each.chrom == "chr1"]
    whole, mask = matrix.rows(region), matrix.mask(region)
    # Neither begins nor ends with a frame, and the region is longer than what the model sees.
    block = BinRange("chr1", 7_531, 9_207)
    wide = model.around(block, matrix.regions)
    assert region.first < wide.first < block.first
    assert (wide.first - region.first) % 100 == 0
    assert block.last < wide.last < region.last

    tally = Tally.empty(matrix.tracks, 10)
    own = slice(block.first - region.first, block.last - region.first)
    tally.add_model(model, matrix.rows(wide).astype(np.float16), block.first - wide.first, mask[own])
    expected = encode_bins(network, whole)[own][mask[own]]
    assert tally.embedding.count == len(expected)
    np.testing.assert_allclose(tally.embedding.mean, expected.mean(axis=0), atol=1e-3)
    squares = np.square(reconstruct_bins(network, whole) - whole)[own][mask[own]].sum(axis=0)
    np.testing.assert_allclose(tally.error.squared_error, squares, rtol=1e-3)


def test_the_training_data_do_not_differ_from_themselves(small, with_context, monitor):
    report = monitor({"bins_per_chromosome": 5_000}, matrix=small / "matrix", model=with_context / "model",
                     signal=small / "signal")  # fmt: skip
    assert report["bins"] == "same"
    assert report["model"]["embedding"]["value"] == pytest.approx(0, abs=1e-4)


def test_what_lies_around_a_block_is_the_new_datas_too(small, with_context, tmp_path):
    reference = read_reference(small / "matrix")
    model = load_network(with_context / "model", reference, 1)
    rng = np.random.default_rng(5)
    replicates = {name: replicate(values, rng) for name, values in read_signal(small / "signal").items()}
    new = SignalReader(write_signal_like(small / "signal", tmp_path / "new", replicates))
    block = BinRange("chr1", 7_531, 9_207)
    done = measure_same_bins(reference, new, {"chr1": [block]}, model, lambda bins: None)

    [region] = new.regions[:1]
    rows = reference.standardised(new.signal(region), range(len(reference.tracks)))
    assert new.tracks == reference.tracks
    network, _ = load_model(with_context / "model")
    mask = reference.matrix.mask(block)
    expected = encode_bins(network, rows)[block.first - region.first :][: block.bins][mask]
    np.testing.assert_allclose(done.new["chr1"].embedding.mean, expected.mean(axis=0), atol=1e-3)
    assert not np.allclose(done.new["chr1"].embedding.mean, done.old["chr1"].embedding.mean, atol=1e-3)


def test_other_chromosomes_are_run_from_the_border_of_a_frame(small, with_context):
    model = load_network(with_context / "model", read_reference(small / "matrix"), 1)
    wide = model.around(BinRange("chr9", 130, 5_000), [BinRange("chr9", 130, 30_000)])
    assert wide == BinRange("chr9", 100, 5_000 + model.margin)
