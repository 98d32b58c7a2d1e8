"""Gradients and the training loop on a tiny matrix."""

import json
import re
import shutil
import signal

import numpy as np
import pytest
import torch
import zarr

from epilstm.cli import main
from epilstm.console import progress as bar
from epilstm.errors import ParamsError
from epilstm.files.outputs import MANIFEST
from epilstm.model.config import ModelConfig
from epilstm.model.folder import load_model, untrained_model
from epilstm.model.networks import build
from epilstm.params import TrainParams, validate
from epilstm.runtime.code_fingerprint import CodeFingerprint
from epilstm.steps.train import checkpoint
from epilstm.steps.train.gradients import GradientWorkers
from epilstm.steps.train.loop import TrainingRun, learning_rate
from epilstm.steps.train.loop import train as loop_train
from epilstm.steps.train.streams import MemoryWindows, plan_epoch, windows_of
from epilstm.store.arrays import open_group
from epilstm.store.manifests import MatrixManifest, Split, read_manifest
from support.nonempty import nonempty
from support.train.step_gradients import step_gradients
from support.train.toy_matrix import write_matrix
from support.train.training_runs import PARAMS, command, interrupt, train, weights, write_params


@pytest.fixture(scope="module")
def trained(matrix, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    train(matrix, folder)
    return folder


@pytest.mark.parametrize("threads", [1, 3])
def test_gradients_are_those_of_the_mean_squared_error_over_bins_with_data(threads):
    config = ModelConfig(architecture="bottleneck", tracks=5, embedding_size=3, hidden_size=8)
    network = build(config, 1)
    x, mask = torch.randn(20, 7, 5), (torch.rand(20, 7) > 0.2).float()
    state = tuple(torch.randn_like(part) for part in network.zero_state(7))
    found = step_gradients(network, x, mask, state, threads)
    squares = (network.reconstruct(x, state) - x) ** 2
    plain = squares[mask.bool()].mean()
    for a, b in zip(found.gradients, torch.autograd.grad(plain, list(network.parameters())), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    assert float(found.squared_error / found.values) == pytest.approx(float(plain.detach()), rel=1e-5)
    assert not any(part.requires_grad for part in found.state), "the state is cut off from the step's graph"
    for a, b in zip(found.state, network.features(x, state)[1], strict=True):
        torch.testing.assert_close(a, b.detach(), rtol=1e-4, atol=1e-5)


def test_learning_rate_warms_up_then_decays_to_zero():
    params = TrainParams(learning_rate=0.1, warmup_steps=10, schedule="cosine")
    rates = [learning_rate(params, step, 1000) for step in range(1000)]
    assert rates[0] < 0.02
    assert max(rates) == pytest.approx(0.1, rel=0.01)
    assert np.all(np.diff(rates[:10]) > 0)
    assert np.all(np.diff(rates[11:]) < 0)
    assert rates[-1] < 1e-5


def test_a_trapezoid_is_flat_for_seven_tenths_and_falls_to_zero():
    params = TrainParams(learning_rate=0.1, warmup_steps=10, schedule="trapezoid")
    rates = np.array([learning_rate(params, step, 1000) for step in range(1000)])
    assert (rates[10:701] == 0.1).all()
    assert (np.diff(rates[701:]) < 0).all()
    assert rates[850] == pytest.approx(0.05)
    assert rates[-1] < 1e-5


@pytest.mark.parametrize("threads", [1, 2])
def test_the_state_is_carried_along_a_stream_and_starts_from_zero_at_a_region(matrix, threads):
    """Against a plain loop over the plan; the weights stay where they are, so only states make a difference."""
    params = TrainParams(**PARAMS | {"epochs": 1, "learning_rate": 1e-30, "streams": 3, "threads": threads})
    manifest = read_manifest(matrix, MatrixManifest)
    windows = windows_of(manifest.region_list(["chr1"]), 25, 50)
    config = ModelConfig(architecture="bottleneck", tracks=6, embedding_size=3, hidden_size=12)
    network, stopped_after = build(config, 1), 20
    ended = {}

    class Stop:
        steps = 0

        def __call__(self):
            self.steps += 1
            return self.steps == stopped_after

    def keep(folder, identity, progress, *rest):
        ended["progress"] = progress

    device = torch.device("cpu")
    run = TrainingRun(windows, MemoryWindows(matrix, windows, 50, device), slice(0, 3), lambda: (1.0, 0.0), print,
                      Stop(), matrix, "")  # fmt: skip
    with pytest.MonkeyPatch.context() as patch, GradientWorkers(device, threads) as workers, bar("", 1) as shown:
        patch.setattr(checkpoint, "save", keep)
        with pytest.raises(KeyboardInterrupt):
            loop_train(network, params, run, workers, False, shown)

    stored, masks = open_group(matrix / "matrix.zarr"), open_group(matrix / "mask.zarr")
    plan = plan_epoch(len(windows), 3, params.seed, 0)[:stopped_after]
    fresh_within = [windows[index].begins_region for index in plan[1:].ravel()]
    assert any(fresh_within), "a region begins in the middle of a stream"
    assert not all(fresh_within)
    error, states = 0.0, []
    for column in plan.T:
        state = network.zero_state(1)
        for index in column:
            w = windows[index]
            if w.begins_region:
                state = network.zero_state(1)
            bins = slice(w.first, w.first + w.bins)
            x = torch.from_numpy(stored["chr1"][bins].astype(np.float32))[:, None]
            mask = torch.from_numpy(masks["chr1"][bins])
            with torch.no_grad():
                features, state = network.features(x, state)
                error += float(((network.readout(features) - x)[mask] ** 2).sum())
        states.append(state)
    progress = ended["progress"]
    assert float(progress.squared_error) == pytest.approx(error, rel=1e-5)
    for part, batched in enumerate(progress.state):
        torch.testing.assert_close(batched, torch.cat([state[part] for state in states]), rtol=1e-4, atol=1e-5)


def test_training_learns_and_keeps_the_best_weights(trained):
    network, manifest = load_model(trained / "model")
    rows = (trained / "history.csv").read_text().splitlines()
    errors = [float(row.split(",")[4]) for row in rows[1:]]
    assert errors[-1] < errors[0]
    assert manifest.training.validation_mse == pytest.approx(min(errors), rel=1e-6)
    assert manifest.training.validation_r2 > 0.5
    assert manifest.training.weights_moved > 0.01
    assert not torch.equal(weights(network), weights(untrained_model(manifest)))
    assert json.loads((trained / "metrics.json").read_text())["validation_r2_per_track"].keys() == set(manifest.tracks)
    assert any((trained / "work" / "tensorboard").iterdir())


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(matrix, trained, tmp_path):
    again, _ = train(matrix, tmp_path / "again")
    other, _ = train(matrix, tmp_path / "other", seed=5, epochs=1)
    first, _ = load_model(trained / "model")
    assert torch.equal(weights(first), weights(again))
    assert not torch.equal(weights(first), weights(other))
    assert (trained / "history.csv").read_bytes() == (tmp_path / "again" / "history.csv").read_bytes()


def test_streaming_from_the_store_equals_training_from_memory(matrix, trained, tmp_path):
    streamed, _ = train(matrix, tmp_path / "streamed", memory_gb=0.0)
    assert torch.equal(weights(streamed), weights(load_model(trained / "model")[0]))


@pytest.mark.parametrize(
    "shape",
    [{"architecture": "published", "embedding_size": 12}, {"architecture": "published_softsign", "embedding_size": 12},
     {"directions": 2}, {"layers": 2, "dropout": 0.2}],
    ids=lambda shape: "-".join(map(str, shape.values())),
)  # fmt: skip
def test_every_architecture_trains(matrix, tmp_path, shape):
    _, manifest = train(matrix, tmp_path / "run", epochs=4, **shape)
    assert manifest.training.validation_r2 > 0.1


def test_patience_ends_a_run_that_no_longer_improves(matrix, tmp_path):
    _, manifest = train(matrix, tmp_path / "run", epochs=40, patience=1, learning_rate=0.3)
    assert manifest.training.epochs < 40


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_a_run_stopped_by_sigterm_and_resumed_has_the_weights_of_an_undisturbed_one(matrix, tmp_path, dropout):
    changes = {"layers": 2, "dropout": dropout, "epochs": 6}
    whole, _ = train(matrix, tmp_path / "whole", **changes)
    stopped_at = interrupt(matrix, tmp_path / "stopped", signal.SIGTERM, **changes)
    assert stopped_at is not None
    resumed, _ = train(matrix, tmp_path / "stopped", "resume", **changes)
    assert torch.equal(weights(whole), weights(resumed))


def test_a_checkpoint_of_another_run_is_not_resumed(matrix, trained, tmp_path):
    train(matrix, tmp_path / "run", seed=9, epochs=1)
    resumed, _ = train(matrix, tmp_path / "run", "resume")
    assert torch.equal(weights(resumed), weights(load_model(trained / "model")[0]))


@pytest.mark.parametrize("change", ["threads", "code"])
def test_a_checkpoint_of_other_code_or_other_shares_is_not_resumed(matrix, tmp_path, monkeypatch, capfd, change):
    train(matrix, tmp_path / "run", epochs=1)
    if change == "code":
        monkeypatch.setattr(
            "epilstm.steps.train.command.step_fingerprint", lambda step: CodeFingerprint({step: "other"})
        )
    folder = tmp_path / "run"
    params = write_params(folder, epochs=1, threads=1 if change == "threads" else 2)
    main(command(matrix, folder, params, "resume"))
    assert "of a run with other params, data or code" in capfd.readouterr().err


def test_a_damaged_checkpoint_is_said_and_training_starts_anew(matrix, trained, tmp_path):
    (tmp_path / "run" / "work").mkdir(parents=True)
    (tmp_path / "run" / "work" / checkpoint.CHECKPOINT).write_bytes(b"not a checkpoint")
    resumed, _ = train(matrix, tmp_path / "run", "resume")
    assert torch.equal(weights(resumed), weights(load_model(trained / "model")[0]))


def test_a_checkpoint_with_changed_weights_is_said_and_training_starts_anew(matrix, tmp_path, capfd):
    train(matrix, tmp_path / "run")
    path = tmp_path / "run" / "work" / checkpoint.CHECKPOINT
    content = bytearray(path.read_bytes())
    kept = torch.load(path, weights_only=True)["weights"]
    bytes_of = max(kept.values(), key=torch.numel).numpy().tobytes()
    place = content.find(bytes_of[:64])
    content[place : place + 64] = bytes(64)
    path.write_bytes(content)
    assert checkpoint.read(path, "any", torch.device("cpu")) is None
    assert "in it is damaged, training starts from the beginning" in capfd.readouterr().err


def test_training_on_a_damaged_matrix_is_one_line_with_file_and_chromosome(tmp_path, capsys):
    damaged = write_matrix(tmp_path / "matrix")
    file = damaged / "matrix.zarr" / "chr1" / "c" / "0" / "0"
    content = bytearray(file.read_bytes())
    content[500:700] = bytes(200)
    file.write_bytes(content)
    with pytest.raises(SystemExit) as stopped:
        train(damaged, tmp_path / "run")
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert stopped.value.code == 1
    assert re.search(rf"error: {file}: chr1, bins .* are damaged .*; pull the dataset again or run the step", error)
    assert not (tmp_path / "run" / "model").exists()


def test_a_loss_that_is_not_finite_stops_with_step_and_learning_rate(tmp_path, capsys):
    broken = write_matrix(tmp_path / "matrix")
    zarr.open_group(broken / "matrix.zarr", mode="a")["chr1"][1000:1100] = np.inf
    with pytest.raises(SystemExit) as stopped:
        train(broken, tmp_path / "run")
    err = capsys.readouterr().err
    assert stopped.value.code == 1
    assert re.search(r"the loss is not finite at epoch 1, step \d+ \(learning rate [\d.e-]+\)", err)
    assert not (tmp_path / "run" / "model" / MANIFEST).exists()
    kept = torch.load(tmp_path / "run" / "work" / checkpoint.CHECKPOINT, weights_only=True)
    assert all(torch.isfinite(tensor).all() for tensor in nonempty(kept["weights"].values()))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"streams": 5000}, "train.streams = 5000"),
        ({"architecture": "published"}, "must be equal"),
        ({"device": "cuda"}, "no CUDA GPU"),
        ({"device": "cpu", "precision": "bfloat16"}, "bfloat16 needs a GPU"),
    ],
)
def test_impossible_params_are_one_line(matrix, tmp_path, capsys, changes, message):
    if changes.get("device") == "cuda" and torch.cuda.is_available():
        pytest.skip("a CUDA GPU is present")
    with pytest.raises(SystemExit):
        train(matrix, tmp_path / "run", **changes)
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "lost", ["matrix.zarr/chr1", "matrix.zarr/chr1/c", "mask.zarr/chr1", "mask.zarr/chr1/c", "scaler.json"]
)
def test_a_matrix_that_lost_files_is_one_line_and_no_model(tmp_path, capsys, lost):
    broken = write_matrix(tmp_path / "matrix")
    if lost == "scaler.json":
        (broken / lost).write_text((broken / lost).read_text().replace("0.5", "5.0"))
    else:
        shutil.rmtree(broken / lost)
    with pytest.raises(SystemExit) as stopped:
        train(broken, tmp_path / "run")
    err = capsys.readouterr().err
    assert stopped.value.code == 1
    assert err.count("\n") == 1
    assert str(broken / lost.split("/")[0]) in err
    assert not (tmp_path / "run" / "model").exists()


def test_a_model_can_be_trained_without_other_chromosomes_than_the_matrix_holds_out(matrix, tmp_path, capsys):
    split = {"validation": ["chr1"], "test": ["chr2"]}
    _, manifest = train(matrix, tmp_path / "one", split=split, epochs=1)
    assert manifest.split == Split(train=["chr3"], validation=["chr1"], test=["chr2"])
    # chr3 alone trains: its ten windows of 100 bins are dealt to four streams, two to each.
    assert manifest.training.bins_seen == 800
    with pytest.raises(SystemExit):
        train(matrix, tmp_path / "two", split={"validation": ["chr1"], "test": ["chr20"]})
    assert "train.split.test: chromosome 'chr20' is not in the data" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ({"test": ["chr1"]}, "name chromosomes of both validation and test"),
        ({"validation": ["chr1"], "test": ["chr1"]}, "chr1 is both a validation and a test chromosome"),
        ({"validation": ["chr1"], "test": ["chr2", "chr2"]}, "chr2 is listed twice"),
    ],
)
def test_a_split_that_makes_no_sense_is_refused(split, message):
    with pytest.raises(ParamsError, match=message):
        validate(TrainParams, {"split": split}, "train")
