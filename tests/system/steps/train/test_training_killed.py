"""Training that was killed, and training by two processes."""

import signal
import subprocess
import sys

import pytest
import torch

from epilstm.model.folder import load_model
from epilstm.steps.train import checkpoint
from support.train.training_runs import command, interrupt, train, weights, write_params


@pytest.fixture(scope="module")
def trained(matrix, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    train(matrix, folder)
    return folder


def test_a_run_killed_and_resumed_has_the_weights_of_an_undisturbed_one(matrix, tmp_path):
    whole, _ = train(matrix, tmp_path / "whole", epochs=6)
    interrupt(matrix, tmp_path / "killed", signal.SIGKILL, epochs=6)
    assert not (tmp_path / "killed" / "model").exists()
    resumed, _ = train(matrix, tmp_path / "killed", "resume", epochs=6)
    assert torch.equal(weights(whole), weights(resumed))
    curves = [(tmp_path / run / "history.csv").read_bytes() for run in ("whole", "killed")]
    assert curves[0] == curves[1]


def test_two_processes_train_to_the_weights_of_one(matrix, trained, tmp_path):
    arguments = command(matrix, tmp_path, write_params(tmp_path))
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "epilstm"]
    subprocess.run([*launch, *arguments], check=True, timeout=300)
    one, two = (load_model(folder / "model") for folder in (trained, tmp_path))
    torch.testing.assert_close(weights(two[0]), weights(one[0]), rtol=1e-3, atol=1e-4)
    assert two[1].training.validation_r2 == pytest.approx(one[1].training.validation_r2, abs=1e-4)
    assert two[1].training.steps == one[1].training.steps

    # One process's checkpoint is lost: none resumes from a step of its own.
    (tmp_path / "work" / "rank-1" / checkpoint.CHECKPOINT).unlink()
    again = subprocess.run([*launch, *arguments, "--resume"], check=True, timeout=300, capture_output=True, text=True)
    assert "checkpoints are of different steps" in again.stderr
    assert torch.equal(weights(load_model(tmp_path / "model")[0]), weights(two[0]))
