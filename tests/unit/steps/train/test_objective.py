"""What the params add to the squared error."""

import numpy as np
import pytest
import torch

from epilstm.model.config import ModelConfig
from epilstm.model.networks import build
from epilstm.params import TrainParams
from epilstm.steps.train.objective import Objective

CONFIG = ModelConfig(architecture="bottleneck", tracks=40, embedding_size=3, hidden_size=8)


@pytest.fixture
def network():
    return build(CONFIG, 1)


def step(seed=0):
    torch.manual_seed(seed)
    return 2 * torch.randn(20, 4, 40), (torch.rand(20, 4) > 0.3).float()


def loss_of(objective, x, mask, seed=0):
    state = objective.network.zero_state(4)
    return objective(x, mask, state, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("architecture", ["bottleneck", "published", "published_softsign"])
def test_squared_error_counts_bins_with_data_alone(architecture):
    network = build(ModelConfig(architecture=architecture, tracks=40, embedding_size=8, hidden_size=8), 1)
    x, mask = step()
    loss = loss_of(Objective(network), x, mask)
    expected = ((network.reconstruct(x) - x) ** 2).sum(2)[mask.bool()].sum()
    torch.testing.assert_close(loss.squared_error, expected)
    torch.testing.assert_close(loss.total, expected)


def test_a_bin_with_a_peak_weighs_more(network):
    x, mask = step()
    loss = loss_of(Objective(network, TrainParams(track_dropout=0.0, peak_weight=4.0)), x, mask)
    errors = ((network.reconstruct(x) - x) ** 2).sum(2) * mask
    peaks = (x > 3).any(2)
    assert 0 < peaks.float().mean() < 1
    torch.testing.assert_close(loss.total, errors[~peaks].sum() + 5 * errors[peaks].sum())


def test_hidden_tracks_are_at_their_mean_for_the_encoder_and_still_reconstructed(network):
    x, mask = step()
    shown = []
    plain = network.features
    network.features = lambda rows, *rest: shown.append(rows) or plain(rows, *rest)
    loss = loss_of(Objective(network, TrainParams(track_dropout=0.25)), x, mask)
    hidden = (shown[0] == 0).all(0)
    assert hidden.float().mean() == pytest.approx(0.25, abs=0.1)
    assert not torch.equal(hidden[0], hidden[1]), "each stream has its own"
    torch.testing.assert_close(shown[0], x * ~hidden)
    torch.testing.assert_close(loss.total, (((network.reconstruct(x * ~hidden) - x) ** 2).sum(2) * mask).sum())


def test_no_track_is_hidden_outside_of_training(network):
    x, mask = step()
    objective = Objective(network, TrainParams(track_dropout=0.5)).eval()
    torch.testing.assert_close(loss_of(objective, x, mask).total, loss_of(Objective(network), x, mask).total)


def test_neighbours_add_the_error_of_the_tracks_so_many_bins_ahead_and_behind(network):
    x, mask = step()
    objective = Objective(network, TrainParams(track_dropout=0.0, neighbour_bins=3, seed=7))
    loss = loss_of(objective, x, mask)
    features = network.features(x)[0]
    guess = objective.neighbours(features)
    expected = loss.squared_error
    for time in range(20):
        for other, columns in ((time + 3, slice(0, 40)), (time - 3, slice(40, 80))):
            if 0 <= other < 20:
                expected = expected + (((guess[time, :, columns] - x[other]) ** 2).sum(1) * mask[other]).sum()
    torch.testing.assert_close(loss.total, expected)
    torch.testing.assert_close(loss.squared_error, loss_of(Objective(network), x, mask).total)
    assert {name for name, _ in objective.named_parameters() if "neighbours" in name}


def test_weights_of_the_neighbours_follow_from_the_seed(network):
    one, same, other = (
        Objective(network, TrainParams(track_dropout=0.0, neighbour_bins=3, seed=seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(one.neighbours.weight, same.neighbours.weight)
    assert not torch.equal(one.neighbours.weight, other.neighbours.weight)


def test_a_wide_readout_weighs_rows_as_the_plain_formula_does():
    network = build(CONFIG.model_copy(update={"tracks": 150}), 1)
    torch.manual_seed(1)
    x, mask = 2 * torch.randn(20, 4, 150), torch.ones(20, 4)
    objective = Objective(network, TrainParams(track_dropout=0.0, peak_weight=2.0))
    error = ((network.reconstruct(x) - x) ** 2).sum(2)
    expected = (error * (1 + 2 * (x > 3).any(2))).sum()
    loss = loss_of(objective, x, mask)
    torch.testing.assert_close(loss.total, expected, rtol=1e-5, atol=0)
    parameters = list(network.parameters())
    for gradient, expected_gradient in zip(
        torch.autograd.grad(loss.total, parameters), torch.autograd.grad(expected, parameters), strict=True
    ):
        np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-3, atol=1e-2)
