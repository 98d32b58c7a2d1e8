"""Training with a context level, by the command."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
import zarr

from epilstm.model.config import ModelConfig
from epilstm.model.folder import load_model
from epilstm.model.networks import bin_level_of, build, context_level_of
from epilstm.model.windows import encode_bins
from epilstm.steps.train import command, context
from epilstm.store.arrays import open_group
from epilstm.store.manifests import MatrixManifest, read_manifest
from support.train.training_runs import CONTEXT, train, weights

CONTEXT_SHAPE = {
    "embedding_size": 5,
    "architecture": "bottleneck",
    "hidden_size": 4,
    "context_size": 2,
    "context_hidden": 6,
    "frame_bins": 10,
}


@pytest.fixture(scope="module")
def trained(matrix, tmp_path_factory):
    folder = tmp_path_factory.mktemp("context")
    train(matrix, folder, **CONTEXT)
    return folder


def test_the_bin_level_is_what_it_would_be_without_a_context(matrix, trained, tmp_path):
    alone, other = train(matrix, tmp_path / "alone", epochs=2)
    network, manifest = load_model(trained / "model")
    assert torch.equal(weights(bin_level_of(network)), weights(alone))
    assert manifest.training.validation_mse == other.training.validation_mse
    assert manifest.training.weights_moved == other.training.weights_moved


def test_the_context_level_learns_and_its_summary_is_kept(trained):
    _, manifest = load_model(trained / "model")
    summary = manifest.training.context
    assert (summary.epochs, manifest.config.context_size, manifest.config.frame_bins) == (60, 2, 50)
    assert summary.frames > 50
    assert summary.validation_r2 > 0.1
    assert json.loads((trained / "metrics.json").read_text())["context"]["validation_r2"] == summary.validation_r2


def test_tokens_are_standardised_by_the_training_frames_with_data(matrix, trained):
    level = context_level_of(load_model(trained / "model")[0])
    manifest = read_manifest(matrix, MatrixManifest)
    rows, mask = (open_group(matrix / name)["chr1"] for name in ("matrix.zarr", "mask.zarr"))
    tokens = []
    for region in manifest.region_list(["chr1"]):
        for first in range(region.start // 25, region.end // 25, 50):
            if mask[first : first + 50].any():
                frame = rows[first : first + 50].astype(np.float64)
                tokens.append(np.concatenate([frame.mean(0), frame.max(0), frame.std(0)]))
    np.testing.assert_allclose(level.token_mean, np.mean(tokens, 0), atol=1e-4)
    np.testing.assert_allclose(level.token_scale, np.std(tokens, 0), rtol=1e-3)


def test_the_whole_code_is_uncorrelated_of_unit_variance_on_the_training_bins(matrix, trained):
    network, manifest = load_model(trained / "model")
    assert manifest.training.rotation == "varimax"
    rows, mask = (open_group(matrix / name)["chr1"][:2_500] for name in ("matrix.zarr", "mask.zarr"))
    covariance = np.cov(encode_bins(network, rows)[mask].T)
    np.testing.assert_allclose(covariance[:3, :3], np.eye(3), atol=0.15)


def test_rotation_none_leaves_the_code_as_it_was_trained(matrix, trained, tmp_path):
    plain, manifest = train(matrix, tmp_path / "plain", rotation="none", **CONTEXT)
    assert manifest.training.rotation == "none"
    turned, other = load_model(trained / "model")
    assert not torch.equal(plain.bin_level.bottleneck.weight, turned.bin_level.bottleneck.weight)
    assert manifest.training.validation_mse == pytest.approx(other.training.validation_mse, rel=1e-4)
    x = torch.randn(30, 2, 6)
    torch.testing.assert_close(plain.reconstruct(x), turned.reconstruct(x), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("stops", ["in the bin level", "in the context level"])
def test_a_run_stopped_and_resumed_has_the_weights_of_an_undisturbed_one(matrix, trained, tmp_path, monkeypatch, stops):
    calls = iter(range(10_000))

    def stopped(level, params, run, *rest):
        """As if asked to stop in the middle of an epoch."""
        return context.train_context(level, params, replace(run, stopping=lambda: next(calls) == 20), *rest)

    with monkeypatch.context() as patch:
        if stops == "in the bin level":
            patch.setattr("epilstm.steps.train.loop._out_of_patience", lambda progress, params: progress.epoch == 1)
            patch.setattr(command, "train_context_level", interrupted)
        else:
            patch.setattr(command, "train_context", stopped)
        with pytest.raises(SystemExit):
            train(matrix, tmp_path / "run", **CONTEXT)
    assert not (tmp_path / "run" / "model").exists()
    resumed, _ = train(matrix, tmp_path / "run", "resume", **CONTEXT)
    whole, _ = load_model(trained / "model")
    assert torch.equal(weights(resumed), weights(whole))
    assert all(torch.equal(a, b) for a, b in zip(resumed.buffers(), whole.buffers(), strict=True))


def interrupted(*arguments):
    raise KeyboardInterrupt


def test_early_stopping_keeps_the_best_epoch(matrix, tmp_path, monkeypatch):
    monkeypatch.setattr(context, "PATIENCE", 1)
    monkeypatch.setattr(context, "LEARNING_RATE", 1.0)
    _, manifest = train(matrix, tmp_path / "run", **CONTEXT | {"context_epochs": 60})
    assert manifest.training.context.epochs < 60
    assert manifest.training.context.best_epoch < manifest.training.context.epochs


def test_a_hidden_track_is_to_the_context_level_as_one_at_its_mean():
    level = context_level_of(build(ModelConfig(tracks=3, **CONTEXT_SHAPE), 1))
    level.token_mean.copy_(torch.arange(9.0))
    level.token_scale.fill_(2.0)
    bins = torch.randn(20, 40, 3)
    tokens = level.standardised(level.tokens(bins))
    shown = context._hiding_tracks(level, tokens, 0.5, torch.Generator().manual_seed(1))
    for sequence in range(40):
        hidden = (shown[:, sequence] != tokens[:, sequence]).all(0)[:3]
        as_if = level.standardised(level.tokens(bins[:, [sequence]] * ~hidden))
        torch.testing.assert_close(shown[:, [sequence]], as_if)
    assert 0.3 < float((shown != tokens).float().mean()) < 0.7


def test_hiding_tracks_from_the_context_level_changes_that_level_alone(matrix, trained, tmp_path):
    plain, _ = train(matrix, tmp_path / "plain", context_track_dropout=0.0, **CONTEXT)
    hidden, _ = load_model(trained / "model")
    assert torch.equal(weights(bin_level_of(plain)), weights(bin_level_of(hidden)))
    assert not torch.equal(weights(context_level_of(plain)), weights(context_level_of(hidden)))


@pytest.mark.parametrize(
    "changes",
    [
        {"layer_norm": True}, {"carry_state": False}, {"track_dropout": 0.3}, {"peak_weight": 5.0},
        {"schedule": "constant"}, {"schedule": "trapezoid"}, {"neighbour_bins": 10}, {"train_bins": 1_000},
    ],
    ids=lambda change: "-".join(map(str, next(iter(change.items())))),
)  # fmt: skip
def test_every_option_trains_and_makes_a_difference(matrix, tmp_path, changes):
    plain, _ = train(matrix, tmp_path / "plain", epochs=1, rotation="none")
    other, manifest = train(matrix, tmp_path / "other", epochs=1, rotation="none", **changes)
    assert np.isfinite(manifest.training.validation_mse)
    assert not torch.equal(other.readout.weight, plain.readout.weight)
    if "train_bins" in changes:
        assert 0 < manifest.training.bins_seen <= 1_100


def test_neighbours_farther_than_a_step_are_refused(matrix, tmp_path, capsys):
    with pytest.raises(SystemExit):
        train(matrix, tmp_path / "run", neighbour_bins=100)
    assert "train.neighbour_bins (100) must be less than the 100 bins of a step" in capsys.readouterr().err


def test_training_frames_without_data_are_refused(matrix, tmp_path, capsys):
    copy = shutil.copytree(matrix, tmp_path / "matrix")
    masks = zarr.open_group(copy / "mask.zarr")
    masks["chr1"][:] = False
    masks["chr1"][2_490:2_500] = True  # the end of a region: none of the few frames that are trained on
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["bins_with_data"]["chr1"] = 10
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(SystemExit):
        train(copy, tmp_path / "run", **CONTEXT, train_bins=1, streams=1)
    assert "has data; raise train.train_bins (1), or set train.context_size to 0" in capsys.readouterr().err
