"""The context level against loops in numpy."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from epilstm.genome.frames import frame_weights, spread_codes
from epilstm.model.chunks import CONTEXT_BINS, CONTEXT_FRAMES, context_bins
from epilstm.model.config import ModelConfig
from epilstm.model.frames import frame_tokens
from epilstm.model.networks import build, context_level_of
from epilstm.model.windows import encode_bins

CONFIG = ModelConfig(
    architecture="bottleneck", tracks=5, embedding_size=5, hidden_size=8,
    context_size=2, context_hidden=6, frame_bins=20,
)  # fmt: skip
RAGGED = pytest.mark.parametrize("bins", [1, 7, 20, 21, 135, 140])


def tokens_by_loop(rows, frame_bins):
    tokens = []
    for first in range(0, len(rows), frame_bins):
        frame = rows[first : first + frame_bins].astype(np.float64)
        tokens.append(np.concatenate([frame.mean(0), frame.max(0), frame.std(0)]))
    return np.array(tokens)


def spread_by_numpy(codes, bins, frame_bins):
    place = (np.arange(bins) + 0.5) / frame_bins - 0.5
    return np.stack([np.interp(place, np.arange(len(codes)), column) for column in codes.T], axis=1)


def rows_of(bins, tracks=5):
    return np.random.default_rng(bins).normal(size=(bins, tracks)).astype(np.float16)


@RAGGED
def test_tokens_are_mean_maximum_and_deviation_of_each_track_in_a_frame(bins):
    rows = rows_of(bins)
    np.testing.assert_allclose(frame_tokens(rows, 20), tokens_by_loop(rows, 20), atol=2e-6)
    level = context_level_of(build(CONFIG, 1))
    by_torch = level.tokens(torch.from_numpy(rows.astype(np.float32))[:, None])[:, 0]
    np.testing.assert_allclose(by_torch, tokens_by_loop(rows, 20), atol=2e-6)


@RAGGED
def test_codes_are_interpolated_between_the_centres_of_frames(bins):
    codes = np.random.default_rng(1).normal(size=(-(-bins // 20), 3)).astype(np.float32)
    expected = spread_by_numpy(codes, bins, 20)
    np.testing.assert_allclose(spread_codes(codes, bins, 20), expected, atol=1e-5)
    level = context_level_of(build(CONFIG, 1))
    np.testing.assert_allclose(level.spread(torch.from_numpy(codes)[:, None], bins)[:, 0], expected, atol=1e-5)


def test_the_shares_of_frames_in_a_bin_add_up_to_one():
    for frame_bins in (1, 7, 100):
        np.testing.assert_allclose(frame_weights(frame_bins).sum(0), 1, atol=1e-6)


@RAGGED
def test_an_embedding_is_the_bins_code_then_that_of_its_context(bins):
    network = build(CONFIG, 1).eval()
    level = network.context_level
    level.token_mean.normal_()
    level.token_scale.uniform_(0.5, 2)
    rows = rows_of(bins)
    tokens = (tokens_by_loop(rows, 20) - level.token_mean.numpy()) / level.token_scale.numpy()
    lstm = torch.nn.LSTM(15, 6, bidirectional=True)
    lstm.load_state_dict(level.encoder.state_dict())
    with torch.inference_mode():
        x = torch.from_numpy(tokens.astype(np.float32))[:, None]
        codes = (level.code(lstm(x)[0]) + level.around_encoder(x))[:, 0].numpy()
        bin_code = network.bin_level.encode(torch.from_numpy(rows.astype(np.float32))[:, None])[0][:, 0].numpy()
        by_torch = network.encode(torch.from_numpy(rows.astype(np.float32))[:, None])[0][:, 0].numpy()
    expected = np.concatenate([bin_code, spread_by_numpy(codes, bins, 20)], axis=1)
    np.testing.assert_allclose(by_torch, expected, atol=1e-5)
    np.testing.assert_allclose(encode_bins(network, rows), expected, atol=1e-5)


def test_only_the_bin_level_reconstructs_and_it_is_what_it_would_be_alone():
    network = build(CONFIG, 1)
    alone = build(CONFIG.model_copy(update={"embedding_size": 3, "context_size": 0}), 1)
    x = torch.randn(30, 2, 5)
    torch.testing.assert_close(network.reconstruct(x), alone.reconstruct(x))


def test_context_needs_more_bins_around_than_a_bins_code():
    assert context_bins(CONFIG) == CONTEXT_FRAMES * 20
    assert context_bins(CONFIG.model_copy(update={"context_size": 0})) == CONTEXT_BINS


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"context_size": 5}, "context_size .5. is a part of embedding_size .5. and must be smaller"),
        ({"architecture": "published", "hidden_size": 5}, "'published' has no context level; set context_size to 0"),
    ],
)
def test_shapes_too_small_for_a_context_are_refused(wrong, message):
    with pytest.raises(ValidationError, match=message):
        ModelConfig(**CONFIG.model_dump() | wrong)
