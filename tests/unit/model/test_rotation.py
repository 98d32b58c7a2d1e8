"""A rotated code says the same on other axes."""

import numpy as np
import pytest
import torch

from epilstm.model.config import ModelConfig
from epilstm.model.context import ContextLevel
from epilstm.model.networks import bin_level_of, build
from epilstm.model.rotation import rotate_bottleneck, rotate_context, rotation_of, varimax
from epilstm.store.moments import Moments

rng = np.random.default_rng(0)
MIXED = rng.normal(size=(4_000, 4)) @ rng.normal(size=(4, 4)) + 3


def moments_of(code, tracks) -> Moments:
    moments = Moments(code.shape[1], tracks.shape[1])
    for part in np.array_split(np.arange(len(code)), 3):
        moments.add(code[part], tracks[part])
    return moments


def criterion(loadings) -> float:
    """Kaiser's: variance of the squared loadings, summed over factors."""
    return float(np.square(loadings).var(axis=0).sum())


def test_varimax_finds_a_simple_structure_again():
    simple = np.kron(np.eye(3), [[2.0], [1.5], [1.0], [0.5]])
    turned = simple @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
    found = turned @ varimax(turned)
    order = np.abs(found).argmax(0) // 4
    np.testing.assert_allclose(np.abs(found), np.abs(simple[:, order]), atol=1e-5)


def test_varimax_is_orthogonal_and_no_other_rotation_of_a_sample_is_better():
    loadings = rng.normal(size=(20, 4))
    rotation = varimax(loadings)
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(4), atol=1e-12)
    others = [np.linalg.qr(rng.normal(size=(4, 4)))[0] for _ in range(200)]
    assert criterion(loadings @ rotation) >= max(criterion(loadings @ other) for other in others)


def test_the_rotated_code_is_uncorrelated_of_unit_variance_ordered_and_signed():
    tracks = MIXED @ rng.normal(size=(4, 9)) + rng.normal(size=(4_000, 9))
    rotation = rotation_of(moments_of(MIXED, tracks))
    code = (MIXED - rotation.mean) @ rotation.matrix
    np.testing.assert_allclose(np.cov(code.T, bias=True), np.eye(4), atol=1e-6)
    loadings = (tracks - tracks.mean(0)).T @ code / len(code)
    explained = np.square(loadings).sum(0)
    assert np.all(np.diff(explained) <= 0)
    assert np.all(loadings[np.abs(loadings).argmax(0), np.arange(4)] > 0)


def test_an_axis_without_variance_can_be_rotated_all_the_same():
    code = np.column_stack([MIXED[:, :2], np.full(len(MIXED), 2.0)])
    rotation = rotation_of(moments_of(code, MIXED))
    assert np.isfinite(rotation.matrix).all()
    assert np.linalg.matrix_rank(rotation.matrix) == 3


@pytest.mark.parametrize("more", [{}, {"layers": 2, "directions": 2, "layer_norm": True}, {"context_size": 1}])
def test_rotating_a_network_leaves_its_reconstruction_and_turns_its_code(more):
    config = ModelConfig(architecture="bottleneck", tracks=6, embedding_size=4, hidden_size=9, **more)
    network = bin_level_of(build(config, seed=1)).eval()
    x = torch.randn(50, 3, 6)
    with torch.inference_mode():
        before, reconstruction = network.encode(x)[0].flatten(0, 1).numpy(), network.reconstruct(x)
        rotation = rotation_of(moments_of(before, x.flatten(0, 1).numpy()))
        rotate_bottleneck(network, rotation)
        after = network.encode(x)[0].flatten(0, 1).numpy()
        torch.testing.assert_close(network.reconstruct(x), reconstruction, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(after, (before - rotation.mean) @ rotation.matrix, atol=1e-4)
    assert np.abs(after - before).max() > 0.1


def test_rotating_a_context_level_leaves_what_it_decodes():
    level = ContextLevel(tracks=4, size=3, hidden_size=5, frame_bins=10).eval()
    tokens = torch.randn(40, 2, 12)
    with torch.inference_mode():
        before = level.encode(tokens)
        decoded = level.decode(before)
        rotate_context(level, rotation_of(moments_of(before.flatten(0, 1).numpy(), tokens.flatten(0, 1).numpy())))
        after = level.encode(tokens).flatten(0, 1).numpy()
        torch.testing.assert_close(level.decode(level.encode(tokens)), decoded, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.cov(after.T, bias=True), np.eye(3), atol=1e-4)
