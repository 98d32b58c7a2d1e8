"""Recurrent layers against step-by-step numpy loops."""

import numpy as np
import pytest
import torch

from epilstm.model.recurrence import LSTMLayer, LSTMStack, SoftsignLSTM


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softsign(x):
    return x / (1 + np.abs(x))


def numpy_lstm(x, weights, h, c, squash, cells=None):
    """One direction, float64; gates in torch's order input, forget, candidate, output."""
    w_ih, w_hh, b_ih, b_hh = (w.detach().numpy().astype(np.float64) for w in weights)
    hidden_states, cell_states = [], []
    for step in range(len(x)):
        i, f, g, o = np.split(x[step] @ w_ih.T + h @ w_hh.T + b_ih + b_hh, 4, axis=1)
        before = c if cells is None else cells[step]
        c = sigmoid(f) * before + sigmoid(i) * squash(g)
        h = sigmoid(o) * squash(c)
        hidden_states.append(h)
        cell_states.append(c)
    return np.stack(hidden_states), np.stack(cell_states)


def weights_of(layer, suffix=""):
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    return [getattr(layer, name + suffix) for name in names]


@pytest.mark.parametrize("tracks", [5, 200])
@pytest.mark.parametrize("directions", [1, 2])
def test_lstm_layer_equals_a_numpy_loop_for_narrow_and_wide_input(tracks, directions):
    rng = np.random.default_rng(tracks)
    layer = LSTMLayer(tracks, 7, directions)
    x, h, c = rng.normal(size=(30, 4, tracks)), rng.normal(size=(4, 7)), rng.normal(size=(4, 7))
    y, (h_last, c_last) = layer(*(torch.from_numpy(x).float(), tuple(torch.from_numpy(s).float() for s in (h, c))))
    forward, cells = numpy_lstm(x, weights_of(layer), h, c, np.tanh)
    np.testing.assert_allclose(y[..., :7].detach(), forward, atol=1e-5)
    np.testing.assert_allclose(h_last.detach(), forward[-1], atol=1e-5)
    np.testing.assert_allclose(c_last.detach(), cells[-1], atol=1e-5)
    if directions == 2:
        zero = np.zeros((4, 7))
        backward, _ = numpy_lstm(x[::-1], weights_of(layer, "_reverse"), zero, zero, np.tanh)
        np.testing.assert_allclose(y[..., 7:].detach(), backward[::-1], atol=1e-5)


@pytest.mark.parametrize("directions", [1, 2])
def test_the_wide_input_path_has_the_gradients_of_torchs_lstm(directions):
    torch.manual_seed(0)
    layer = LSTMLayer(300, 6, directions)
    plain = torch.nn.LSTM(300, 6, bidirectional=directions == 2)
    plain.load_state_dict(layer.state_dict())
    x, zero = torch.randn(20, 3, 300), torch.zeros(3, 6)
    layer(x, (zero, zero))[0].square().sum().backward()
    plain(x)[0].square().sum().backward()
    for (name, parameter), expected in zip(layer.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, expected.grad, rtol=1e-4, atol=1e-4, msg=name)


def test_softsign_cell_equals_a_numpy_loop():
    rng = np.random.default_rng(1)
    layer = SoftsignLSTM(9, 5)
    x, h, c = rng.normal(size=(40, 3, 9)), rng.normal(size=(3, 5)), rng.normal(size=(3, 5))
    y, cells = layer(torch.from_numpy(x).float(), tuple(torch.from_numpy(s).float() for s in (h, c)))
    expected, expected_cells = numpy_lstm(x, weights_of(layer), h, c, softsign)
    np.testing.assert_allclose(y.detach(), expected, atol=1e-5)
    np.testing.assert_allclose(cells.detach(), expected_cells, atol=1e-5)


def test_softsign_cell_can_start_from_cells_given_at_each_step():
    rng = np.random.default_rng(2)
    layer = SoftsignLSTM(5, 5)
    x, h, given = rng.normal(size=(12, 2, 5)), rng.normal(size=(2, 5)), rng.normal(size=(12, 2, 5))
    y, _ = layer(*(torch.from_numpy(x).float(), (torch.from_numpy(h).float(), torch.zeros(2, 5))),
                 torch.from_numpy(given).float())  # fmt: skip
    expected, _ = numpy_lstm(x, weights_of(layer), h, np.zeros((2, 5)), softsign, given)
    np.testing.assert_allclose(y.detach(), expected, atol=1e-5)


def test_a_stack_run_in_two_pieces_equals_one_pass():
    stack = LSTMStack(6, 8, layers=2, directions=1, dropout=0.0)
    x = torch.randn(50, 3, 6)
    whole, end = stack(x, stack.zero_state(3, x))
    first, middle = stack(x[:20], stack.zero_state(3, x))
    second, last = stack(x[20:], middle)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    for state, expected in zip(last, end, strict=True):
        torch.testing.assert_close(state, expected)


def test_dropout_follows_its_generator_and_is_off_in_evaluation():
    stack = LSTMStack(4, 32, layers=2, directions=1, dropout=0.5)
    x = torch.randn(10, 2, 4)

    def run(seed):
        return stack(x, stack.zero_state(2, x), torch.Generator().manual_seed(seed))[0]

    assert torch.equal(run(1), run(1))
    assert not torch.equal(run(1), run(2))
    stack.eval()
    assert torch.equal(run(1), run(2))
